/** The parts of a node that keep and forward its telemetry. */

import type { MqttConnection } from '../mqtt/connection.ts'
import { createNodeFigures } from '../telemetry/figures.ts'
import { TelemetryCollector } from '../telemetry/collector.ts'
import { TelemetrySender, type SenderDeps } from '../telemetry/sender.ts'
import type { NodeParts } from './node-parts.ts'

/** Made before the records of versions are given, of which it is told. */
export function makeTelemetryCollector(parts: NodeParts): TelemetryCollector {
  const { config, cache, telemetry, leftovers, log } = parts.options
  const { stats, stamp } = parts.shared
  const figures = createNodeFigures({
    data_dir: config.data_dir,
    stats,
    arms: { used: () => parts.arms.used() },
    cache,
    residentBytes: () => parts.report.residentBytes(),
    serving: () => parts.supervisor.serving,
  })
  return new TelemetryCollector({
    store: telemetry,
    stamp,
    stats,
    arms: { everSeen: () => parts.arms.everSeen() },
    interval_ms: config.telemetry_ms,
    figures,
    onStored() {
      leftovers.storeWorks()
      parts.telemetrySender.wake()
    },
    log,
    random: Math.random,
  })
}

/** Rollouts are judged by telemetry, so it takes only ways on which the node has proved who it is. */
function telemetryBroker(mqtt: MqttConnection | null): SenderDeps['mqtt'] {
  if (mqtt === null) return null
  return {
    get connected() {
      return mqtt.isOwn
    },
    publish: (channel, payload) => mqtt.publish(channel, payload),
  }
}

export function makeTelemetrySender(parts: NodeParts): TelemetrySender {
  const { cp, enrolment, telemetry, log, retryDelayMs } = parts.options
  return new TelemetrySender({
    store: telemetry,
    nodeId: () => enrolment.current().node_id,
    mqtt: telemetryBroker(parts.mqtt),
    postHttp: (upload) => cp.telemetry(upload),
    log,
    retryDelayMs,
    random: Math.random,
  })
}
