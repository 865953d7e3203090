/** Prometheus metrics: the only file that knows prom-client. */

import { AggregatorRegistry, Counter, Gauge, Histogram, Registry } from 'prom-client'

export { Counter, Gauge, Histogram, Registry }

/** Seconds; the buckets of every latency histogram, so that they can be summed over processes. */
export const LATENCY_BUCKETS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
] as const

/** A metric as `Registry.getMetricsAsJSON` gives it; samples of histograms carry their `_bucket`, `_sum`, `_count` names. */
export interface MetricJson {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly aggregator: 'sum'
  readonly values: readonly {
    readonly value: number
    readonly labels: Readonly<Record<string, string | number>>
    readonly metricName?: string
  }[]
}

/** The text exposition of a registry and of metrics counted elsewhere (shared memory) together. */
export async function renderMetrics(
  registry: Registry,
  others: readonly MetricJson[],
): Promise<{ contentType: string; text: string }> {
  const text = await registry.metrics()
  // The cast is the border: prom-client types the argument of aggregate() as a plain object.
  const summed = AggregatorRegistry.aggregate([others as unknown as object])
  return { contentType: registry.contentType, text: `${text}\n${await summed.metrics()}` }
}
