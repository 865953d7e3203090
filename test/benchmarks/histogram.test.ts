import { expect, test } from 'bun:test'

import {
  bucketsBetween,
  countOf,
  histogramQuantile,
  parseHistogram,
} from '../../scripts/benchmarks/histogram.ts'

const METRICS = `# TYPE edgefn_dispatch_seconds histogram
edgefn_dispatch_seconds_bucket{le="0.000001",part="enter"} 10
edgefn_dispatch_seconds_bucket{le="0.000002",part="enter"} 90
edgefn_dispatch_seconds_bucket{le="0.00001",part="enter"} 98
edgefn_dispatch_seconds_bucket{le="+Inf",part="enter"} 100
edgefn_dispatch_seconds_sum{part="enter"} 1
edgefn_dispatch_seconds_count{part="enter"} 100
edgefn_dispatch_seconds_bucket{le="0.000001",part="leave"} 7
edgefn_dispatch_seconds_bucket{le="+Inf",part="leave"} 7
`
const enter = parseHistogram(METRICS, 'edgefn_dispatch_seconds', 'part="enter"')

test('buckets are read by their label, in the order of their bounds', () => {
  expect(enter).toEqual([
    { upTo: 1e-6, count: 10 },
    { upTo: 2e-6, count: 90 },
    { upTo: 1e-5, count: 98 },
    { upTo: Number.POSITIVE_INFINITY, count: 100 },
  ])
  expect(countOf(parseHistogram(METRICS, 'edgefn_dispatch_seconds', 'part="leave"'))).toBe(7)
})

test('a quantile lies within its bucket as its rank does', () => {
  expect(histogramQuantile(enter, 0.5)).toBeCloseTo(1.5e-6, 12)
  expect(histogramQuantile(enter, 0.05)).toBeCloseTo(0.5e-6, 12)
  expect(histogramQuantile(enter, 0.94)).toBeCloseTo(6e-6, 12)
  // Beyond the last bound nothing more is known.
  expect(histogramQuantile(enter, 0.99)).toBe(1e-5)
  expect(histogramQuantile([], 0.5)).toBeNaN()
})

test('what was counted before does not count', () => {
  const before = enter.map(({ upTo, count }) => ({ upTo, count: Math.min(count, 10) }))
  const between = bucketsBetween(before, enter)
  expect(between.map(({ count }) => count)).toEqual([0, 80, 88, 90])
  expect(bucketsBetween([], enter)).toEqual(enter)
})
