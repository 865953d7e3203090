/** Sums over the workers' shared statistics: what heartbeats, telemetry and metrics are made of. */

import type {
  CallErrorCode,
  DispatchPart,
  HistogramTotals,
  StatsFile,
  Tally,
  WorkerStatCell,
} from '../stats.ts'
import { CALL_ERROR_CODES, DISPATCH_BUCKETS } from '../stats.ts'

export interface FunctionTotals {
  readonly invocations: number
  readonly errors: ReadonlyMap<CallErrorCode, number>
  readonly latency_seconds_sum: number
  readonly latency_count: number
}

/**
 * What a version was seen to do since the agent's start. A version that leaves and returns goes on counting, unless its
 * record was given to another one meanwhile (`armsMax`): then it begins at 0 again, like one of an agent that was restarted.
 */
export interface VersionTotals extends FunctionTotals {
  readonly function_id: string
  readonly version: number
  /** Answers of 500 and above that the guest gave itself; what failed otherwise is in `errors`. */
  readonly server_errors: number
  /** Calls in each bucket of LATENCY_BUCKETS, not cumulative; the slower ones are in `latency_count` only. */
  readonly buckets: readonly number[]
}

export function sumWorkerCell(files: readonly StatsFile[], cell: WorkerStatCell): number {
  return files.reduce((sum, file) => sum + file.getWorker(cell), 0)
}

export function functionTotals(tally: Tally): FunctionTotals {
  const errors = new Map<CallErrorCode, number>()
  for (const code of CALL_ERROR_CODES) {
    const count = tally.getError(code)
    if (count > 0) errors.set(code, count)
  }
  return {
    invocations: tally.get('invocations'),
    errors,
    latency_seconds_sum: tally.get('latency_seconds_sum'),
    latency_count: tally.get('latency_count'),
  }
}

export function versionTotals(
  { function_id, version }: { readonly function_id: string; readonly version: number },
  tally: Tally,
): VersionTotals {
  return {
    function_id,
    version,
    ...functionTotals(tally),
    server_errors: tally.get('server_errors'),
    buckets: tally.buckets(),
  }
}

/** Observations up to each bucket's limit, as Prometheus wants them. */
export function cumulativeBuckets(tally: Tally): number[] {
  let sum = 0
  return tally.buckets().map((count) => (sum += count))
}

/** What all workers observed of one part of their requests' way; the buckets cumulative. */
export function dispatchTotals(files: readonly StatsFile[], part: DispatchPart): HistogramTotals {
  const totals = files.map((file) => file.dispatch(part))
  let sum = 0
  return {
    seconds_sum: totals.reduce((all, { seconds_sum }) => all + seconds_sum, 0),
    count: totals.reduce((all, { count }) => all + count, 0),
    buckets: DISPATCH_BUCKETS.map((_limit, index) => {
      for (const { buckets } of totals) sum += buckets[index] ?? 0
      return sum
    }),
  }
}
