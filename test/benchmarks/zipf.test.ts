import { expect, test } from 'bun:test'

import { zipfDraws } from '../../scripts/benchmarks/zipf.ts'

test('the n-th is drawn in proportion to 1/n, and the draws are the same each time', () => {
  const draws = zipfDraws(1000, 100_000)
  const count = (index: number) => draws.filter((each) => each === index).length
  // The sum of 1/n up to 1000 is 7.485.
  expect(count(0) / draws.length).toBeCloseTo(1 / 7.485, 2)
  expect(count(0) / count(9)).toBeGreaterThan(8)
  expect(count(0) / count(9)).toBeLessThan(12)
  expect(Math.min(...draws)).toBe(0)
  expect(Math.max(...draws)).toBeLessThan(1000)
  expect(zipfDraws(1000, 100_000)).toEqual(draws)
})

test('of one there is only one', () => {
  expect(zipfDraws(1, 5)).toEqual([0, 0, 0, 0, 0])
})
