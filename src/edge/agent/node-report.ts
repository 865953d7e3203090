/** What a node tells of itself: its heartbeats and the figures behind `/metrics`. */

import type { NodeId } from '../../protocol/ids.ts'
import type { Heartbeat } from '../../protocol/messages.ts'
import { VERSION } from '../../version.ts'
import type { StatsFile } from '../stats.ts'
import type { FunctionHealth } from './blame/function-health.ts'
import type { ArtifactCache } from './cache/artifact-cache.ts'
import type { CompiledStore } from './compile/compiled-store.ts'
import type { Compiler } from './compile/compiler.ts'
import { buildHeartbeat } from './heartbeat/payload.ts'
import type { NodeMemory } from './memory/node-memory.ts'
import type { AgentFigures } from './metrics.ts'
import type { FunctionTotals } from './statistics.ts'
import { functionTotals } from './statistics.ts'
import { cpuPercent, cpuTimes, residentBytes } from './supervise/proc.ts'
import type { SlotTable } from './supervise/slots.ts'
import type { Supervisor } from './supervise/supervisor.ts'
import type { Syncer } from './sync/syncer.ts'

interface NodeReportDeps {
  readonly workers_wanted: number
  readonly stats: readonly StatsFile[]
  readonly slots: SlotTable
  readonly syncer: Syncer
  readonly supervisor: Supervisor
  readonly health: FunctionHealth
  readonly cache: ArtifactCache
  /** Null when the node does not compile. */
  readonly compiler: Compiler | null
  readonly compiledStore: CompiledStore
  readonly memory: NodeMemory
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
      totals: this.totals(),
      health: (fn) => this.#deps.health.of(fn),
      cpu_percent: cpuPercent(before, this.#cpu),
      mem_bytes: this.#residentBytes(),
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

  /** Statistics of every function that has any. */
  totals(): Map<string, FunctionTotals> {
    const totals = new Map<string, FunctionTotals>()
    for (const [functionId, slot] of this.#deps.slots.entries()) {
      totals.set(functionId, functionTotals(this.#deps.stats, slot))
    }
    return totals
  }

  #residentBytes(): number {
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
      resident_bytes: this.#residentBytes(),
      memory_pressure: this.#deps.memory.pressure,
    }
  }
}
