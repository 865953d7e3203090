/** What a node tells of itself: its heartbeats and the figures behind `/metrics`. */

import type { NodeId } from '../../protocol/ids.ts'
import type { Heartbeat } from '../../protocol/messages.ts'
import { VERSION } from '../../version.ts'
import { type StatsFile, Tally } from '../stats.ts'
import type { FunctionHealth } from './blame/function-health.ts'
import type { ArtifactCache } from './cache/artifact-cache.ts'
import type { CompiledStore } from './compile/compiled-store.ts'
import type { Compiler } from './compile/compiler.ts'
import { buildHeartbeat } from './heartbeat/payload.ts'
import type { NodeMemory } from './memory/node-memory.ts'
import type { AgentFigures } from './metrics.ts'
import { artifactKey, servedArms } from './node-state.ts'
import type { FunctionTotals, VersionTotals } from './statistics.ts'
import { functionTotals, versionTotals } from './statistics.ts'
import type { Arm, Arms } from './supervise/arms.ts'
import { cpuPercent, cpuTimes, residentBytes } from './supervise/proc.ts'
import type { Supervisor } from './supervise/supervisor.ts'
import type { Syncer } from './sync/syncer.ts'
import type { TelemetryStore } from './telemetry/store.ts'

interface NodeReportDeps {
  readonly workers_wanted: number
  readonly stats: readonly StatsFile[]
  readonly arms: Arms
  readonly syncer: Syncer
  readonly supervisor: Supervisor
  readonly health: FunctionHealth
  readonly cache: ArtifactCache
  /** Null when the node does not compile. */
  readonly compiler: Compiler | null
  readonly compiledStore: CompiledStore
  readonly memory: NodeMemory
  readonly telemetry: TelemetryStore
  identity(): { readonly node_id: NodeId; readonly pop_id: string }
  cpConnected(): boolean
  mqttConnected(): boolean
}

export class NodeReport {
  readonly #deps: NodeReportDeps
  readonly #startedAt = performance.now()
  #cpu = cpuTimes()

  constructor(deps: NodeReportDeps) {
    this.#deps = deps
  }

  heartbeat(): Heartbeat {
    const before = this.#cpu
    this.#cpu = cpuTimes()
    return buildHeartbeat({
      node_id: this.#deps.identity().node_id,
      state: this.#deps.syncer.state,
      cached: this.#deps.cache.rows(),
      totals: new Map([...this.totals(), ...this.#splitTotals()]),
      health: (fn) => this.#deps.health.of(fn),
      cpu_percent: cpuPercent(before, this.#cpu),
      mem_bytes: this.residentBytes(),
      version: VERSION,
      uptime_seconds: (performance.now() - this.#startedAt) / 1000,
      workers: this.#deps.supervisor.serving,
      workers_wanted: this.#deps.workers_wanted,
      memory_pressure: this.#deps.memory.pressure,
      now: new Date(),
    })
  }

  /** Calls of every function so far. */
  invocations(): Map<string, number> {
    return new Map([...this.totals()].map(([id, { invocations }]) => [id, invocations]))
  }

  /** Statistics of every function that is on the node, whichever versions it had. */
  totals(): Map<string, FunctionTotals> {
    const totals = new Map<string, FunctionTotals>()
    for (const functionId of this.#deps.arms.functionIds()) {
      totals.set(functionId, functionTotals(this.#deps.arms.tallyOf(functionId)))
    }
    return totals
  }

  /** Statistics of the versions between which traffic is split. */
  #splitTotals(): [string, FunctionTotals][] {
    const { arms, stats, syncer } = this.#deps
    const served = [...syncer.state.functions.values()].map(servedArms)
    return served.flatMap((manifests) =>
      manifests.flatMap((manifest): [string, FunctionTotals][] => {
        const slot = manifests.length > 1 ? (arms.find(manifest)?.slot ?? null) : null
        if (slot === null) return []
        return [[artifactKey(manifest), functionTotals(new Tally().add(stats, slot))]]
      }),
    )
  }

  /** Statistics of every version that was called or refused since the agent's start; of those that left too, which still end calls. */
  versionTotals(): VersionTotals[] {
    const { arms } = this.#deps
    return this.#totalsOf(arms.everSeen()).filter(
      ({ invocations, errors }) => invocations > 0 || errors.size > 0,
    )
  }

  /** Statistics of the versions that are on the node. */
  servedTotals(): VersionTotals[] {
    return this.#totalsOf(this.#deps.arms.entries())
  }

  #totalsOf(arms: Iterable<readonly [Arm, number]>): VersionTotals[] {
    const { stats } = this.#deps
    return [...arms].map(([arm, slot]) => versionTotals(arm, new Tally().add(stats, slot)))
  }

  /** Of the agent and its workers. */
  residentBytes(): number {
    const workers = this.#deps.supervisor.pids.map((pid) => residentBytes(pid) ?? 0)
    return workers.reduce((sum, bytes) => sum + bytes, residentBytes('self') ?? 0)
  }

  figures(): AgentFigures {
    const { node_id, pop_id } = this.#deps.identity()
    const { user, system } = process.cpuUsage()
    return {
      node_id,
      pop_id,
      version: VERSION,
      workers: this.#deps.supervisor.serving,
      worker_restarts: this.#deps.supervisor.restarts,
      revision: this.#deps.syncer.state.revision,
      syncs: this.#deps.syncer.counts,
      cp_connected: this.#deps.cpConnected(),
      mqtt_connected: this.#deps.mqttConnected(),
      cache: this.#deps.cache.usage(),
      compiles: this.#deps.compiler?.counts ?? null,
      compiled: this.#deps.compiledStore.usage(),
      cpu_seconds: (user + system) / 1e6,
      resident_bytes: this.residentBytes(),
      memory_pressure: this.#deps.memory.pressure,
      telemetry: this.#deps.telemetry.usage,
    }
  }
}
