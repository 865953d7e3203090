/** The parts of a node that talk to the control plane besides the sync. */

import { join } from 'node:path'

import type { Heartbeat } from '../../../protocol/messages.ts'
import { AuditHeadFile } from '../audit-head.ts'
import { HeartbeatSender } from '../heartbeat/heartbeat.ts'
import { MqttConnection } from '../mqtt/connection.ts'
import { NodeReport } from '../node-report.ts'
import type { NodeParts } from './node-parts.ts'

export function makeMqtt(parts: NodeParts): MqttConnection | null {
  const { config, enrolment, log, retryDelayMs } = parts.options
  if (!config.mqtt) return null
  return new MqttConnection({
    credentials: () => enrolment.current(),
    account: config.mqtt_account,
    onNotice: () => parts.syncer.poke(),
    onTelemetryAck: (ack) => parts.telemetrySender.acknowledged(ack),
    onCommand: () => parts.commands.poke(),
    onConnected: () => {
      parts.syncer.poke()
      parts.commands.poke()
    },
    isolated: () => parts.options.modes.isolated,
    onLost: () => parts.heartbeat.beatNow(),
    heartbeat_ms: config.heartbeat_ms,
    log,
    retryDelayMs,
  })
}

export function makeReport(parts: NodeParts): NodeReport {
  const { config, cache, enrolment, cpConnected } = parts.options
  return new NodeReport({
    identity: () => enrolment.current(),
    workers_wanted: config.workers,
    stats: parts.shared.stats,
    arms: parts.arms,
    syncer: parts.syncer,
    supervisor: parts.supervisor,
    health: parts.health,
    cache,
    compiler: parts.compiler,
    memory: parts.memory,
    compiledStore: parts.compiledStore,
    telemetry: parts.options.telemetry,
    cpConnected,
    mqttConnected: () => parts.mqtt?.connected ?? false,
  })
}

export function makeHeartbeat(parts: NodeParts): HeartbeatSender {
  const { config, cp, enrolment, log, retryDelayMs } = parts.options
  const auditHead = new AuditHeadFile(join(config.data_dir, 'audit-head.json'), log)
  return new HeartbeatSender({
    heartbeat_ms: config.heartbeat_ms,
    payload: () => ({ ...parts.report.heartbeat(), ...headOf(auditHead) }),
    mqtt: parts.mqtt,
    postHttp: async (beat) => {
      const answer = await cp.heartbeat(beat)
      if (answer.audit_head !== undefined) auditHead.take(answer.audit_head)
      return answer
    },
    onBehind: () => parts.syncer.poke(),
    onMqttPlace: (place) => {
      if (enrolment.takeMqttPlace(place)) parts.mqtt?.moved()
    },
    onCommands: () => parts.commands.poke(),
    log,
    retryDelayMs,
  })
}

function headOf({ current }: AuditHeadFile): Pick<Heartbeat, 'audit_head'> {
  return current === undefined ? {} : { audit_head: current }
}
