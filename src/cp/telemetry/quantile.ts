/** Quantiles estimated from a histogram; pure. */

import { LATENCY_BUCKETS } from '../../telemetry/metrics.ts'

/**
 * Milliseconds below which the share `quantile` of the calls stayed; null without calls. Within its bucket a call is taken to be anywhere
 * alike, so that the estimate is off by the width of a bucket at most; of calls slower than the last limit only that is known.
 */
export function quantileMs(buckets: readonly number[], quantile: number): number | null {
  const total = buckets.reduce((sum, count) => sum + count, 0)
  if (total === 0) return null
  const rank = quantile * total
  let below = 0
  for (const [index, limit] of LATENCY_BUCKETS.entries()) {
    const count = buckets[index] ?? 0
    if (count > 0 && below + count >= rank) {
      const floor = LATENCY_BUCKETS[index - 1] ?? 0
      return rounded(floor + (limit - floor) * Math.max(0, (rank - below) / count))
    }
    below += count
  }
  return rounded(LATENCY_BUCKETS.at(-1) ?? 0)
}

/** Seconds as milliseconds to the microsecond. */
function rounded(seconds: number): number {
  return Math.round(seconds * 1e6) / 1e3
}
