/** What was counted of a version so far, and what is new of it since a moment before; pure. */

import { z } from 'zod'

import { functionIdSchema } from '../../../protocol/ids.ts'
import type { CallDeltas } from '../../../protocol/telemetry.ts'
import type { CallErrorCode } from '../../stats.ts'
import type { VersionTotals } from '../statistics.ts'

const countSchema = z.int().min(0)

export const callCountsSchema = z.strictObject({
  requests: countSchema,
  errors: z.record(z.string(), countSchema),
  server_errors: countSchema,
  buckets: z.array(countSchema),
})
export type CallCounts = z.infer<typeof callCountsSchema>

/** Requests that end so have never come to be calls, and are counted as errors only. */
const REFUSED: ReadonlySet<CallErrorCode> = new Set([
  'function_quarantined',
  'circuit_open',
  'rate_limited',
  'body_too_large',
])

export function countsOf(totals: VersionTotals): CallCounts {
  let requests = totals.invocations
  for (const [code, count] of totals.errors) if (REFUSED.has(code)) requests += count
  const within = totals.buckets.reduce((sum, count) => sum + count, 0)
  return {
    requests,
    errors: Object.fromEntries(totals.errors),
    server_errors: totals.server_errors,
    // The processes that count go on while they are read.
    buckets: [...totals.buckets, Math.max(0, totals.latency_count - within)],
  }
}

/**
 * What `now` has more than `before`; null when that is nothing. A count that stepped back is of a record that began anew: all it has is
 * news.
 */
export function newsOf(
  { function_id, version }: { readonly function_id: string; readonly version: number },
  now: CallCounts,
  before: CallCounts | null,
): CallDeltas | null {
  const base = before === null || now.requests < before.requests ? null : before
  const errors: Record<string, number> = {}
  for (const [code, count] of Object.entries(now.errors)) {
    const more = count - (base?.errors[code] ?? 0)
    if (more > 0) errors[code] = more
  }
  const requests = now.requests - (base?.requests ?? 0)
  const server_errors = Math.max(0, now.server_errors - (base?.server_errors ?? 0))
  const buckets = now.buckets.map((count, index) =>
    Math.max(0, count - (base?.buckets[index] ?? 0)),
  )
  const nothing =
    requests === 0 &&
    server_errors === 0 &&
    Object.keys(errors).length === 0 &&
    !buckets.some(Boolean)
  if (nothing) return null
  const parsed = functionIdSchema.parse(function_id)
  return { function_id: parsed, version, requests, errors, server_errors, buckets }
}
