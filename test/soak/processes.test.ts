import { expect, test } from 'bun:test'

import fc from 'fast-check'

import { percentPerHour, ProcessRecord } from './processes.ts'

test('the slope of a line is its own, whatever the points', () => {
  const line = fc.record({
    start: fc.integer({ min: 1000, max: 1_000_000 }),
    perSecond: fc.integer({ min: -1, max: 1000 }),
    seconds: fc.uniqueArray(fc.nat(900), { minLength: 2, maxLength: 50 }),
  })
  fc.assert(
    fc.property(line, ({ start, perSecond, seconds }) => {
      const values = seconds.map((second) => start + perSecond * second)
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length
      const slope = percentPerHour(seconds, values)
      expect((slope / 100) * mean).toBeCloseTo(perSecond * 3600, 2)
    }),
    { numRuns: 200 },
  )
})

test('a process that is there has memory and open files, one that is gone has neither', () => {
  const own = new ProcessRecord('test', process.pid)
  const sample = own.take(0)
  expect(sample?.rss_bytes).toBeGreaterThan(2 ** 20)
  expect(sample?.files).toBeGreaterThan(2)
  expect(own.slopes(0)).toBeNull()
  const ended = Bun.spawnSync(['true'])
  expect(new ProcessRecord('gone', ended.pid).take(0)).toBeNull()
})
