/** Whether what a step's nodes report lets a rollout go on; pure [R11 P26]. */

import { LATENCY_BUCKETS } from '../../../telemetry/metrics.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { Evidence, FullGates } from '../../../protocol/rollout.ts'
import type { VersionSample } from '../../lookup.ts'

/** Sorts a time that is not known, because it is beyond the last bucket, after all that are. */
const slowest = Number.MAX_VALUE

export type Verdict =
  | { readonly passed: true }
  /** Too few requests to judge. */
  | { readonly passed: null; readonly evidence: Evidence }
  | { readonly passed: false; readonly evidence: Evidence }

/**
 * Judges the nodes together, and each node by itself that has requests enough: one bad node of fifty must not hide in the sum.
 * Without a request nothing is judged.
 */
export function judge(step: number, gates: FullGates, samples: readonly VersionSample[]): Verdict {
  const requests = sum(samples.map((sample) => sample.requests))
  if (requests < gates.min_samples) {
    const reason = `${requests} of the ${gates.min_samples} requests that are needed to judge the step have come.`
    const evidence = evidenceOf('min_samples', step, samples, requests, gates.min_samples, reason)
    return { passed: null, evidence }
  }
  const all = { name: 'the nodes together', samples }
  const single = Math.max(gates.min_samples, LIMITS.rolloutSamplesDefault)
  const alone = samples
    .filter((sample) => sample.requests >= single)
    .map((sample) => ({ name: `node ${sample.node_id}`, samples: [sample] }))
  for (const group of [all, ...alone]) {
    const evidence = failure(step, gates, group.name, group.samples)
    if (evidence !== null) return { passed: false, evidence }
  }
  return { passed: true }
}

/** Requests enough have come and no gate is broken, but no node that has the version is online any more. */
export function unseen(
  step: number,
  { min_samples }: FullGates,
  samples: readonly VersionSample[],
): Evidence {
  const requests = sum(samples.map((sample) => sample.requests))
  const reason = `No node that has the version is online, so nobody sees how it does there; ${requests} requests had come.`
  return evidenceOf('min_samples', step, samples, requests, min_samples, reason)
}

function failure(
  step: number,
  gates: FullGates,
  name: string,
  samples: readonly VersionSample[],
): Evidence | null {
  const requests = sum(samples.map((sample) => sample.requests))
  if (requests === 0) return null
  const rate = sum(samples.map((sample) => sample.errors)) / requests
  const { error_rate_max: rateMax, p95_ms_max: p95Max } = gates
  if (rateMax !== null && rate > rateMax) {
    const reason = `${percent(rate)} of the requests to ${name} failed; ${percent(rateMax)} may.`
    return evidenceOf('error_rate', step, samples, rate, rateMax, reason)
  }
  const p95 = p95Ms(addBuckets(samples))
  if (p95Max !== null && p95 !== null && p95 > p95Max) {
    const reason = `95 of 100 requests to ${name} took up to ${said(p95)} ms; ${p95Max} ms are allowed.`
    return evidenceOf('p95_ms', step, samples, p95, p95Max, reason)
  }
  return null
}

/**
 * The time within which 95 of 100 requests were answered, in milliseconds, taking those of a bucket to lie evenly in it; null
 * without a request. Beyond the last bucket nothing is known but that it is more: Infinity.
 */
export function p95Ms(buckets: readonly number[]): number | null {
  const rank = 0.95 * sum(buckets)
  if (rank === 0) return null
  let below = 0
  for (const [index, count] of buckets.entries()) {
    if (below + count >= rank) {
      const to = LATENCY_BUCKETS[index]
      if (to === undefined) return Infinity
      const from = LATENCY_BUCKETS[index - 1] ?? 0
      return 1000 * (from + (to - from) * ((rank - below) / count))
    }
    below += count
  }
  return Infinity
}

function addBuckets(samples: readonly VersionSample[]): number[] {
  const total = Array.from({ length: LATENCY_BUCKETS.length + 1 }, () => 0)
  for (const { buckets } of samples) {
    for (const [index, count] of buckets.entries()) total[index] = (total[index] ?? 0) + count
  }
  return total
}

function evidenceOf(
  gate: Evidence['gate'],
  step: number,
  samples: readonly VersionSample[],
  measured: number,
  threshold: number,
  reason: string,
): Evidence {
  return {
    gate,
    step,
    reason,
    measured: finite(measured),
    threshold,
    requests: sum(samples.map((sample) => sample.requests)),
    errors: sum(samples.map((sample) => sample.errors)),
    nodes: samples
      .map(({ node_id, requests, errors, buckets }) => {
        const p95 = p95Ms(buckets)
        return { node_id, requests, errors, p95_ms: p95 === null ? null : finite(p95), error: null }
      })
      .sort((a, b) => b.errors - a.errors || (b.p95_ms ?? slowest) - (a.p95_ms ?? slowest))
      .slice(0, LIMITS.rolloutEvidenceNodesMax),
  }
}

/** JSON has no infinity. */
function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null
}

function said(ms: number): string {
  if (Number.isFinite(ms)) return String(Math.round(ms * 10) / 10)
  return `more than ${1000 * (LATENCY_BUCKETS.at(-1) ?? 0)}`
}

function percent(part: number): string {
  return `${Math.round(part * 10_000) / 100} %`
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
