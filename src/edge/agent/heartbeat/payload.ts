/** Puts a heartbeat together [R7.2 P13]. Pure: whatever the parts say, the result satisfies the protocol. */

import type { NodeId } from '../../../protocol/ids.ts'
import type { FunctionStatus, Heartbeat } from '../../../protocol/messages.ts'
import type { ArtifactRow } from '../cache/artifact-cache.ts'
import { armsOf, type Manifest } from '../../../protocol/manifest.ts'
import type { Health } from '../blame/function-health.ts'
import { functionIdSchema } from '../../../protocol/ids.ts'
import type { NodeState } from '../node-state.ts'
import { artifactKey, visibleManifest } from '../node-state.ts'
import type { FunctionTotals } from '../statistics.ts'

/** Functions in one heartbeat: with more, the payload would pass the packet limit of the broker (about 200 bytes each). */
const functionsMax = 4_000

export interface HeartbeatParts {
  readonly node_id: NodeId
  readonly state: NodeState
  readonly cached: readonly ArtifactRow[]
  /** Statistics of the functions that have any, by function id; of the versions of a split by `artifactKey`. */
  readonly totals: ReadonlyMap<string, FunctionTotals>
  health(fn: Manifest): Health
  readonly cpu_percent: number
  readonly mem_bytes: number
  readonly version: string
  readonly uptime_seconds: number
  readonly workers: number
  readonly workers_wanted: number
  /** 0 is none. */
  readonly memory_pressure: number
  readonly now: Date
}

export function buildHeartbeat(parts: HeartbeatParts): Heartbeat {
  const functions = functionStatuses(parts)
  const unwell = functions.some(({ reason }) => reason !== null)
  return {
    node_id: parts.node_id,
    status: unwell || isPressed(parts) ? 'degraded' : 'online',
    cpu_percent: Math.min(100, finite(parts.cpu_percent)),
    mem_bytes: count(parts.mem_bytes),
    functions,
    revision: parts.state.revision,
    version: parts.version.slice(0, 100),
    uptime_seconds: finite(parts.uptime_seconds),
    cache_bytes: count(parts.cached.reduce((sum, row) => sum + row.size_bytes, 0)),
    workers: count(parts.workers),
    sent_at: parts.now.toISOString(),
  }
}

function isPressed({ workers, workers_wanted, memory_pressure }: HeartbeatParts): boolean {
  return workers < workers_wanted || memory_pressure > 0
}

/** What is not well, then what is served, then what failed, then what is only cached: in this order if not all fit. */
function functionStatuses(parts: HeartbeatParts): FunctionStatus[] {
  const unwell: FunctionStatus[] = []
  const serving: FunctionStatus[] = []
  const failed: FunctionStatus[] = []
  const named = new Set<string>()
  for (const [functionId, entry] of parts.state.functions) {
    for (const manifest of armsOf(visibleManifest(entry))) {
      named.add(artifactKey(manifest))
      const { quarantined, breaker, reason } = parts.health(manifest)
      const totals = parts.totals.get(artifactKey(manifest)) ?? parts.totals.get(functionId)
      const status = {
        function_id: manifest.function_id,
        version: manifest.version,
        breaker,
        reason: reason === null ? null : reason.slice(0, 500),
        ...usage(totals),
      }
      const held = entry.serving === null ? 'failed' : 'serving'
      const state = quarantined ? 'quarantined' : held
      if (reason !== null) unwell.push({ ...status, state })
      else if (entry.serving === null) failed.push({ ...status, state })
      else serving.push({ ...status, state })
    }
  }
  const cached = parts.cached
    .filter((row) => !named.has(artifactKey(row)))
    .map((row): FunctionStatus => ({
      function_id: functionIdSchema.parse(row.function_id),
      version: row.version,
      state: 'cached',
      breaker: 'closed',
      reason: null,
      ...usage(undefined),
    }))
  return [...unwell, ...serving, ...failed, ...cached].slice(0, functionsMax)
}

function usage(totals: FunctionTotals | undefined) {
  if (totals === undefined) return { invocation_count: 0, error_count: 0, avg_latency_ms: 0 }
  const errors = [...totals.errors.values()].reduce((sum, value) => sum + value, 0)
  const seconds = totals.latency_count > 0 ? totals.latency_seconds_sum / totals.latency_count : 0
  return {
    invocation_count: count(totals.invocations),
    error_count: count(errors),
    avg_latency_ms: Math.round(finite(seconds) * 1e6) / 1e3,
  }
}

/** Shared memory may be read while it is reset; a heartbeat never carries what JSON cannot. */
function finite(value: number): number {
  return Number.isFinite(value) && value > 0 ? Math.min(value, Number.MAX_SAFE_INTEGER) : 0
}

function count(value: number): number {
  return Math.round(finite(value))
}
