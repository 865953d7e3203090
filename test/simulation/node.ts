/** An edge node without workers: the agent's own sync and heartbeats, on a disk that outlives it. */

import { HeartbeatSender } from '../../src/edge/agent/heartbeat/heartbeat.ts'
import { EMPTY_STATE, NO_PREVIEWS, type NodeState } from '../../src/edge/agent/node-state.ts'
import { NO_SCHEMAS } from '../../src/edge/agent/schemas/schema-keeper.ts'
import { Syncer } from '../../src/edge/agent/sync/syncer.ts'
import type { WorkerFunction } from '../../src/edge/ipc.ts'
import type { Assignment } from '../../src/edge/table-parts.ts'
import { EdgefnError } from '../../src/errors.ts'
import { backoffMs } from '../../src/protocol/backoff.ts'
import type { NodeId } from '../../src/protocol/ids.ts'
import { heartbeatAnswerSchema, type Heartbeat } from '../../src/protocol/messages.ts'
import { planSchema } from '../../src/protocol/plan.ts'
import { createLog } from '../../src/telemetry/log.ts'
import type { SimulatedControlPlane } from './control-plane.ts'
import type { Network } from './network.ts'
import type { Plant } from './plants.ts'
import { Traffic } from './traffic.ts'
import type { Owner, VirtualTime } from './virtual-time.ts'

const log = createLog({ component: 'edge', level: 'error' })
const syncMs = 60_000
/** How long it takes until a node that lost its broker, or begins, is connected, at most. */
const connectMsMax = 3_000

export interface NodeSurroundings {
  readonly time: VirtualTime
  readonly network: Network
  cp(): SimulatedControlPlane | null
  /** Whether the version can be loaded on the node, as long as it is asked. */
  loads(nodeId: NodeId, version: number): boolean
  /** Which share of the calls of the version fails on the node; null when nobody calls anything. */
  faults(nodeId: NodeId, version: number): number | null
  /** What may go wrong with a disk, when it is planted. */
  readonly plant: Pick<Plant, 'found' | 'saved'>
  /** The node's workers have a new table. */
  onServing(node: SimulatedNode, before: NodeState): void
  /** The node's workers are given this. */
  onTable(node: SimulatedNode, table: Assignment): void
}

export class SimulatedNode {
  readonly id: NodeId
  #disk: NodeState = EMPTY_STATE
  #owner: Owner
  #syncer: Syncer | null = null
  readonly #around: NodeSurroundings

  constructor(id: NodeId, around: NodeSurroundings) {
    this.id = id
    this.#around = around
    this.#owner = { name: id, alive: false }
  }

  /** What it serves, also while it is down: it comes back with that. */
  get state(): NodeState {
    return this.#disk
  }

  get alive(): boolean {
    return this.#owner.alive
  }

  get owner(): Owner {
    return this.#owner
  }

  start(): void {
    const { time } = this.#around
    this.#owner = { name: this.id, alive: true }
    this.#disk = this.#around.plant.found(this.#disk)
    time.as(this.#owner, () => {
      this.#syncer = this.#createSyncer()
      const heartbeat = new HeartbeatSender({
        heartbeat_ms: 30_000,
        payload: () => this.#beat(),
        mqtt: null,
        postHttp: async (beat) =>
          heartbeatAnswerSchema.parse(
            await this.#ask('POST', '/nodes/:id/heartbeat', { body: beat }),
          ),
        onMqttPlace: () => {},
        onCommands: () => undefined,
        onBehind: () => this.#syncer?.poke(),
        log,
        retryDelayMs: (attempt) => backoffMs(attempt, time.random()),
      })
      this.#syncer.poke()
      heartbeat.open()
      this.#openTraffic()
      this.connect()
    })
  }

  /** As a power cut does it. */
  crash(): void {
    this.#owner.alive = false
    this.#syncer = null
    this.#around.cp()?.relay.disconnected(this.id)
  }

  /** Its session with the broker begins, some time from now. */
  connect(): void {
    const { time, network } = this.#around
    time.at(
      time.random() * connectMsMax,
      () =>
        network.send(
          this.#owner,
          () => this.#cpOwner(),
          () => {
            this.#around.cp()?.relay.connected(this.id)
          },
        ),
      this.#owner,
    )
  }

  /** A notice has come: it is acknowledged, and the node asks for its plan. */
  noticed(noticeId: string): void {
    const { network } = this.#around
    network.send(
      this.#owner,
      () => this.#cpOwner(),
      () => {
        this.#around.cp()?.relay.acknowledge(this.id, noticeId)
      },
    )
    this.#syncer?.poke()
  }

  #openTraffic(): void {
    const { time, faults } = this.#around
    if (faults(this.id, 1) === null) return
    new Traffic({
      node_id: this.id,
      state: () => this.#disk,
      faults: (version) => faults(this.id, version) ?? 0,
      random: time.random,
      send: (body) => this.#ask('POST', '/nodes/:id/telemetry', { body }),
    }).open()
  }

  #cpOwner(): Owner | null {
    return this.#around.cp()?.owner ?? null
  }

  #ask(
    method: 'GET' | 'POST',
    path: string,
    { query = {}, body }: { query?: Record<string, string>; body?: unknown },
  ): Promise<unknown> {
    const { network, cp } = this.#around
    return network.call(
      this.#owner,
      () => this.#cpOwner(),
      async () => {
        const call = { params: { id: this.id }, query, body }
        return cp()?.call(method, path, { ...call, caller: { kind: 'node', node_id: this.id } })
      },
    )
  }

  #createSyncer(): Syncer {
    const { time } = this.#around
    return new Syncer(
      {
        cp: {
          plan: async (revision) =>
            planSchema.parse(
              await this.#ask('GET', '/nodes/:id/sync', { query: { revision: String(revision) } }),
            ),
          acknowledge: async (ack) => {
            await this.#ask('POST', '/nodes/:id/sync/ack', { body: ack })
          },
        },
        store: {
          load: () => this.#disk,
          save: (next) => {
            const before = this.#disk
            this.#disk = this.#around.plant.saved(this.id, next)
            this.#around.onServing(this, before)
          },
        },
        cache: { setInService: () => {}, path: ({ sha256 }) => sha256, freeSpace: () => false },
        arms: { take: () => ({ slot: 0, quota_slot: 0 }), keepOnly: () => {} },
        previews: NO_PREVIEWS,
        schemas: NO_SCHEMAS,
        workers: {
          prepare: (fn) => this.#prepare(fn),
          assign: async (table) => this.#around.onTable(this, table),
        },
        ensureArtifact: async ({ sha256 }) => sha256,
        compiledOf: () => null,
        onAssigned: () => {},
        onRemoved: () => {},
        log,
        sync_ms: syncMs,
        retryDelayMs: (attempt) => backoffMs(attempt, time.random()),
      },
      this.#disk,
    )
  }

  /** Loading takes its time, in which the node may crash. */
  #prepare({ version }: WorkerFunction): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const { time, loads } = this.#around
    time.at(
      time.random() * 500,
      () => {
        if (loads(this.id, version)) resolve()
        else reject(new EdgefnError('function_load_failed', 'It cannot be loaded.'))
      },
      this.#owner,
    )
    return promise
  }

  #beat(): Heartbeat {
    return {
      node_id: this.id,
      status: 'online',
      cpu_percent: 1,
      mem_bytes: 1,
      functions: [],
      revision: this.#disk.revision,
      version: 'simulated',
      uptime_seconds: 1,
      cache_bytes: 0,
      workers: 1,
      sent_at: new Date().toISOString(),
    }
  }
}
