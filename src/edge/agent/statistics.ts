/** Sums over the workers' shared statistics: what heartbeats and metrics are made of. */

import { LATENCY_BUCKETS } from '../../telemetry/metrics.ts'
import type {
  CallErrorCode,
  DispatchPart,
  HistogramTotals,
  StatCell,
  StatsFile,
  WorkerStatCell,
} from '../stats.ts'
import { CALL_ERROR_CODES, DISPATCH_BUCKETS } from '../stats.ts'

export interface FunctionTotals {
  readonly invocations: number
  readonly errors: ReadonlyMap<CallErrorCode, number>
  readonly latency_seconds_sum: number
  readonly latency_count: number
}

export function sumCell(files: readonly StatsFile[], slot: number, cell: StatCell): number {
  return files.reduce((sum, file) => sum + file.get(slot, cell), 0)
}

export function sumWorkerCell(files: readonly StatsFile[], cell: WorkerStatCell): number {
  return files.reduce((sum, file) => sum + file.getWorker(cell), 0)
}

export function functionTotals(files: readonly StatsFile[], slot: number): FunctionTotals {
  const errors = new Map<CallErrorCode, number>()
  for (const code of CALL_ERROR_CODES) {
    const count = files.reduce((sum, file) => sum + file.getError(slot, code), 0)
    if (count > 0) errors.set(code, count)
  }
  return {
    invocations: sumCell(files, slot, 'invocations'),
    errors,
    latency_seconds_sum: sumCell(files, slot, 'latency_seconds_sum'),
    latency_count: sumCell(files, slot, 'latency_count'),
  }
}

/** Observations up to each bucket's limit, as Prometheus wants them. */
export function cumulativeBuckets(files: readonly StatsFile[], slot: number): number[] {
  let sum = 0
  return LATENCY_BUCKETS.map((_limit, index) => {
    for (const file of files) sum += file.bucket(slot, index)
    return sum
  })
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
