/**
 * A node without workers: what the agent has for its side of the protocol, put together as in `src/edge/agent/parts/`, with its state
 * in memory. Modules are fetched and their digests checked, and nothing runs them.
 */

import { NO_MQTT_ACCOUNT } from '../../src/config/mqtt-options.ts'
import { createHash } from 'node:crypto'

import { createCpClient, type CpClient } from '../../src/edge/agent/cp-client.ts'
import { CpProbe } from '../../src/edge/agent/cp-probe.ts'
import { HeartbeatSender } from '../../src/edge/agent/heartbeat/heartbeat.ts'
import { MqttConnection } from '../../src/edge/agent/mqtt/connection.ts'
import { EMPTY_STATE, NO_PREVIEWS } from '../../src/edge/agent/node-state.ts'
import { NO_SCHEMAS } from '../../src/edge/agent/schemas/schema-keeper.ts'
import { Syncer } from '../../src/edge/agent/sync/syncer.ts'
import type { NodeCredentials } from '../../src/protocol/api.ts'
import { backoffMs } from '../../src/protocol/backoff.ts'
import type { Manifest } from '../../src/protocol/manifest.ts'
import type { Heartbeat } from '../../src/protocol/messages.ts'
import type { SyncAck } from '../../src/protocol/plan.ts'
import { createLog } from '../../src/telemetry/log.ts'

const log = createLog({ component: 'fleet', level: 'error' })
/** How often a node asks for its plan though nobody told it to; the agent's own default. */
const syncMs = 60_000

export interface SimulatedNodeOptions {
  readonly cp: string
  readonly credentials: NodeCredentials
  readonly heartbeat_ms: number
  /** Whether it syncs and fetches; without, it only beats. */
  readonly syncs: boolean
  /** The control plane has taken an acknowledgement of this node. */
  onAcknowledged(node: SimulatedNode, ack: SyncAck): void
}

export class SimulatedNode {
  readonly id: string
  readonly credentials: NodeCredentials
  readonly cp: CpClient
  readonly mqtt: MqttConnection
  readonly syncer: Syncer | null
  readonly #heartbeat: HeartbeatSender
  readonly #probe: CpProbe
  readonly #closing = new AbortController()
  readonly #options: SimulatedNodeOptions
  readonly #startedAt = performance.now()

  constructor(options: SimulatedNodeOptions) {
    this.#options = options
    const { credentials, heartbeat_ms } = options
    this.id = credentials.node_id
    this.credentials = credentials
    this.#probe = new CpProbe(options.cp, () => this.#isBack())
    this.cp = createCpClient({
      cp: options.cp,
      credentials: () => credentials,
      closing: this.#closing.signal,
      onOutcome: (reachable) => {
        if (!reachable) this.#probe.lost()
      },
    })
    this.mqtt = new MqttConnection({
      credentials: () => credentials,
      account: NO_MQTT_ACCOUNT,
      onCommand: () => undefined,
      onNotice: () => this.syncer?.poke(),
      onTelemetryAck: () => undefined,
      onConnected: () => this.syncer?.poke(),
      onLost: () => this.#heartbeat.beatNow(),
      heartbeat_ms,
      log,
      retryDelayMs,
    })
    this.syncer = options.syncs ? this.#createSyncer() : null
    this.#heartbeat = new HeartbeatSender({
      heartbeat_ms,
      payload: () => this.#beat(),
      mqtt: this.mqtt,
      postHttp: (beat) => this.cp.heartbeat(beat),
      onCommands: () => undefined,
      onBehind: () => this.syncer?.poke(),
      onMqttPlace: () => {},
      log,
      retryDelayMs,
    })
  }

  open(): void {
    this.syncer?.poke()
    this.mqtt.open()
    this.#heartbeat.open()
  }

  async close(): Promise<void> {
    this.#closing.abort()
    this.#probe.close()
    await Promise.all([this.mqtt.close(), this.#heartbeat.close(), this.syncer?.close()])
  }

  #isBack(): void {
    this.cp.abandonUnanswered()
    this.syncer?.poke()
    this.#heartbeat.beatNow()
    this.mqtt.reconnectNow()
  }

  #createSyncer(): Syncer {
    const { cp } = this
    const files = new Set<string>()
    return new Syncer(
      {
        cp: {
          plan: (revision) => cp.plan(revision),
          acknowledge: async (ack) => {
            await cp.acknowledge(ack)
            this.#options.onAcknowledged(this, ack)
          },
        },
        store: { load: () => EMPTY_STATE, save: () => {} },
        cache: {
          setInService: () => {},
          path: (manifest) => manifest.sha256,
          freeSpace: () => false,
        },
        arms: { take: () => ({ slot: 0, quota_slot: 0 }), keepOnly: () => {} },
        previews: NO_PREVIEWS,
        schemas: NO_SCHEMAS,
        workers: { prepare: async () => {}, assign: async () => {} },
        ensureArtifact: (manifest) => fetchModule(manifest, files, this.#closing.signal),
        compiledOf: () => null,
        onAssigned: () => {},
        onRemoved: () => {},
        log,
        sync_ms: syncMs,
        retryDelayMs,
      },
      EMPTY_STATE,
    )
  }

  #beat(): Heartbeat {
    return {
      node_id: this.#options.credentials.node_id,
      status: 'online',
      cpu_percent: 12.5,
      mem_bytes: 512 * 2 ** 20,
      functions: [...(this.syncer?.state.functions.values() ?? [])].flatMap(({ serving }) =>
        serving === null
          ? []
          : {
              function_id: serving.function_id,
              version: serving.version,
              state: 'serving' as const,
              breaker: 'closed' as const,
              reason: null,
              invocation_count: 1_000,
              error_count: 1,
              avg_latency_ms: 0.25,
            },
      ),
      revision: this.syncer?.state.revision ?? 0,
      version: 'simulated',
      uptime_seconds: (performance.now() - this.#startedAt) / 1000,
      cache_bytes: 0,
      workers: 2,
      sent_at: new Date().toISOString(),
    }
  }
}

async function fetchModule(
  manifest: Manifest,
  files: Set<string>,
  signal: AbortSignal,
): Promise<string> {
  const { sha256, artifact_url } = manifest
  if (!files.has(sha256)) {
    const bytes = await (await fetch(artifact_url, { signal })).bytes()
    const digest = createHash('sha256').update(bytes).digest('hex')
    if (digest !== sha256) throw new Error(`The module has the digest ${digest}, not ${sha256}.`)
    files.add(sha256)
  }
  return sha256
}

function retryDelayMs(attempt: number): number {
  return backoffMs(attempt, Math.random())
}
