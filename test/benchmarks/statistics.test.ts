import { expect, test } from 'bun:test'

import {
  geometricMean,
  median,
  pairedRatio,
  quantile,
  spread,
} from '../../scripts/benchmarks/statistics.ts'

test('the median is the middle value, or the mean of the middle two', () => {
  expect(median([3, 1, 2])).toBe(2)
  expect(median([4, 1, 3, 2])).toBe(2.5)
  expect(median([7])).toBe(7)
  expect(median([])).toBeNaN()
})

test('a quantile between two values lies between them, and the outermost are the least and the most', () => {
  const values = [50, 10, 40, 20, 30]
  expect(quantile(values, 0)).toBe(10)
  expect(quantile(values, 1)).toBe(50)
  expect(quantile(values, 0.9)).toBeCloseTo(46, 10)
  expect(values).toEqual([50, 10, 40, 20, 30])
})

test('the geometric mean of a number and its inverse is one', () => {
  expect(geometricMean([4, 0.25])).toBeCloseTo(1, 12)
  expect(geometricMean([2, 8])).toBeCloseTo(4, 12)
  expect(geometricMean([])).toBeNaN()
})

test('a spread has the least and the most', () => {
  expect(spread([5, 1, 9])).toEqual({ median: 5, min: 1, max: 9 })
})

test('ratios are taken round by round, so that a drift of both changes nothing', () => {
  // The machine is half as fast in the second round and twice as fast in the third.
  expect(pairedRatio([90, 45, 180], [100, 50, 200])).toBeCloseTo(0.9, 12)
})

test('a round that one side lacks does not count', () => {
  expect(pairedRatio([2, 4, 600], [1, 2])).toBe(2)
  expect(pairedRatio([], [1])).toBeNaN()
})
