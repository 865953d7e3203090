/**
 * What the control plane asks of MQTT, whoever runs the broker: `embedded-broker.ts` is one itself, `external-broker.ts` is a
 * client of an operator's. Either carries hints only: what is true stands in SQL, so nothing it loses matters (DESIGN 7).
 */

import type { NodeId } from '../../protocol/ids.ts'
import type { EventMessage, Notice } from '../../protocol/messages.ts'
import type { NodeChannelDown } from '../../protocol/topics.ts'
import type { Log } from '../../telemetry/log.ts'
import type { NodeMessageHandlers } from './node-messages.ts'

/** What either broker tells the rest of the control plane. */
export interface BrokerEvents extends NodeMessageHandlers {
  readonly log: Log
  /** The node can receive notices from now on. */
  readonly onListening: (nodeId: NodeId) => void
  readonly onGone: (nodeId: NodeId) => void
  /** Counts messages, for the metrics. */
  readonly countMessage: (outcome: 'accepted' | 'invalid' | 'refused') => void
}

export interface Broker {
  /** Throws `invalid_config` when what is configured cannot be had. */
  open(): Promise<void>
  close(): Promise<void>
  /** Throws why messages do not pass at present; for /ready. */
  check(): void
  /** Where nodes connect, by the name under which they reach the control plane when the broker is a part of it. */
  nodeUrl(apiHost: string): string
  /** Nodes that can receive, and whoever else is connected as far as it is known. */
  readonly connections: number
  /** Sends to a node at QoS 1. Resolves when the broker has it; rejects when the node is not there. */
  send(nodeId: NodeId, channel: NodeChannelDown, payload: string): Promise<void>
  /** A notice by `send`. */
  publishNotice(nodeId: NodeId, notice: Notice): Promise<void>
  /** Tells watchers, at QoS 0; a failure is logged, not thrown. */
  publishEvent(event: EventMessage): void
  /** Ends the session of a node, if it has one here. */
  disconnect(nodeId: NodeId): void
  /** The node was deleted: ends its session and drops its retained status. */
  forget(nodeId: NodeId): void
}
