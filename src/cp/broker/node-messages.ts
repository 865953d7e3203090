/** Reads what nodes publish: decoded once, checked against who sent it, handed on. */

import type { NodeId } from '../../protocol/ids.ts'
import {
  decodeMessage,
  heartbeatSchema,
  nodeStatusMessageSchema,
  noticeAckSchema,
  type Heartbeat,
  type NodeStatus,
} from '../../protocol/messages.ts'
import { telemetryUploadSchema, type TelemetryUpload } from '../../protocol/telemetry.ts'
import { parseNodeTopic } from '../../protocol/topics.ts'

/** All are quick and do not throw for the sender's faults. */
export interface NodeMessageHandlers {
  readonly onHeartbeat: (beat: Heartbeat) => void
  readonly onNoticeAck: (nodeId: NodeId, noticeId: string) => void
  readonly onStatus: (nodeId: NodeId, status: NodeStatus) => void
  readonly onTelemetry: (nodeId: NodeId, upload: TelemetryUpload) => void
}

/** False when the message is not what its channel carries, or speaks for another node. */
export function readNodeMessage(
  nodeId: NodeId,
  topic: string,
  payload: Buffer | string,
  handlers: NodeMessageHandlers,
): boolean {
  const channel = parseNodeTopic(topic)?.channel
  switch (channel) {
    case 'heartbeat': {
      const beat = decodeMessage(heartbeatSchema, payload)
      if (beat?.node_id !== nodeId) return false
      handlers.onHeartbeat(beat)
      return true
    }
    case 'acks': {
      const ack = decodeMessage(noticeAckSchema, payload)
      if (ack === null) return false
      handlers.onNoticeAck(nodeId, ack.notice_id)
      return true
    }
    case 'status': {
      const message = decodeMessage(nodeStatusMessageSchema, payload)
      if (message?.node_id !== nodeId) return false
      handlers.onStatus(nodeId, message.status)
      return true
    }
    case 'telemetry': {
      const upload = decodeMessage(telemetryUploadSchema, payload)
      if (upload?.node_id !== nodeId) return false
      handlers.onTelemetry(nodeId, upload)
      return true
    }
    default:
      // The other channels are a node's to use, and nothing here reads them.
      return true
  }
}
