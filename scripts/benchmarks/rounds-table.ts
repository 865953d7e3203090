/** What servers came to under one load, as a table. */

import { summarise, type Sample, type Summary } from './rounds.ts'
import { figure, mebibytes, ratio, type Table } from './table.ts'

/** One row per server; × is against the reference, the median of the rounds' ratios. */
export function roundsTable(
  samples: readonly Sample[],
  load: string,
  reference: string,
  title: string,
): Table {
  const summaries = summarise(samples, load, reference)
  const withWorkers = summaries.some(({ workerCpuMicros }) => workerCpuMicros !== null)
  const workerHead = withWorkers ? ['workers: CPU µs', '×', 'RSS MiB'] : []
  return {
    title,
    head: [
      'server',
      'req/s',
      'min',
      'max',
      `× ${reference}`,
      'CPU µs/req',
      '×',
      'p50 µs',
      'p99 µs',
      'RSS MiB',
      'errors',
      ...workerHead,
    ],
    rows: summaries.map((summary) => [
      ...row(summary),
      ...(withWorkers ? workerCells(summary) : []),
    ]),
  }
}

function row(summary: Summary): string[] {
  const { requestsPerSecond } = summary
  return [
    summary.server,
    figure(requestsPerSecond.median),
    figure(requestsPerSecond.min),
    figure(requestsPerSecond.max),
    ratio(summary.rateRatio),
    figure(summary.cpuMicros),
    ratio(summary.cpuRatio),
    figure(summary.p50Micros),
    figure(summary.p99Micros),
    mebibytes(summary.rssBytes),
    summary.errors === 0 ? '0' : `${summary.errors} ERRORS`,
  ]
}

function workerCells({ workerCpuMicros, workerCpuRatio, workerRssBytes }: Summary): string[] {
  return [figure(workerCpuMicros), ratio(workerCpuRatio), mebibytes(workerRssBytes)]
}
