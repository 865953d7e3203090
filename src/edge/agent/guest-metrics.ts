/** The counters of guests as `/metrics` shows them, read from the files that the executor threads add to. */

import { existsSync } from 'node:fs'
import { join } from 'node:path'

import { LIMITS } from '../../protocol/limits.ts'
import type { MetricJson } from '../../telemetry/metrics.ts'
import { GuestMetricsFile, readSeriesKey } from '../guest-metrics.ts'

type Values = MetricJson['values'][number][]

/**
 * All under one name, so that a guest can neither invent metric names nor take those of the node: its own name is a label.
 * Of the series shown, each function has an equal share.
 */
export function guestMetrics(dir: string, functionIds: readonly string[]): MetricJson[] {
  const values: Values = []
  const dropped: Values = []
  let hidden = 0
  const counting = functionIds.filter((function_id) => existsSync(join(dir, function_id)))
  const shareMax = Math.floor(LIMITS.guestSeriesShownMax / Math.max(counting.length, 1))
  for (const function_id of counting) {
    // One after the other: all of them together may be a gigabyte.
    const file = GuestMetricsFile.read(join(dir, function_id))
    if (file === null) continue
    const series = summed(file.series())
    for (const [key, value] of [...series].slice(0, shareMax)) {
      const { name, labels } = readSeriesKey(key)
      values.push({ value, labels: { function_id, name, ...labels } })
    }
    hidden += Math.max(series.size - shareMax, 0)
    dropped.push({ value: file.dropped, labels: { function_id } })
  }
  return [
    counter('edgefn_guest_metric_total', 'Counters of functions (metrics_increment).', values),
    counter(
      'edgefn_guest_metrics_dropped_total',
      'Increments refused because the function has all the series it may have.',
      dropped,
    ),
    {
      name: 'edgefn_guest_series_hidden',
      type: 'gauge',
      help: 'Series of functions that are not shown here, because there are too many.',
      aggregator: 'sum',
      values: [{ value: hidden, labels: {} }],
    },
  ]
}

function counter(name: string, help: string, values: Values): MetricJson {
  return { name, type: 'counter', help, aggregator: 'sum', values }
}

/** Two threads that met may each have a record of the same series. */
function summed(series: readonly { key: string; value: number }[]): Map<string, number> {
  const sums = new Map<string, number>()
  for (const { key, value } of series) sums.set(key, (sums.get(key) ?? 0) + value)
  return sums
}
