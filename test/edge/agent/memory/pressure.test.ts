/** The level of memory pressure: when it rises, when it falls, and who is told. */

import { expect, test } from 'bun:test'

import fc from 'fast-check'

import { PressureGauge } from '../../../../src/edge/agent/memory/pressure.ts'
import { PressureWatch } from '../../../../src/edge/agent/memory/pressure-watch.ts'
import type { MemoryReading } from '../../../../src/edge/agent/memory/reading.ts'
import { createLog } from '../../../../src/telemetry/log.ts'

const GIB = 2 ** 30
const reading = (available: number, stalled: number | null = null): MemoryReading => ({
  total_bytes: 100 * GIB,
  available_bytes: available,
  stalled_percent: stalled,
})

test('it rises at once, to the level that the reading asks for', () => {
  const level = (given: MemoryReading, reserve: number | null = null) =>
    new PressureGauge(reserve).update(given, 0)
  // A tenth of this machine would be 10 GiB; one is enough to keep free.
  expect([2 * GIB, 0.9 * GIB, 0.4 * GIB, 0].map((free) => level(reading(free)))).toEqual([
    0, 1, 2, 2,
  ])
  const small = { total_bytes: GIB, available_bytes: 0.09 * GIB, stalled_percent: null }
  expect([level(small), level({ ...small, available_bytes: 0.04 * GIB })]).toEqual([1, 2])
  expect([level(reading(50 * GIB), 60 * GIB), level(reading(20 * GIB), 60 * GIB)]).toEqual([1, 2])
  expect([14, 15, 40].map((stalled) => level(reading(50 * GIB, stalled)))).toEqual([0, 1, 2])
})

test('it falls only when it has been clearly better for 10 s', () => {
  const gauge = new PressureGauge(GIB)
  expect(gauge.update(reading(0.4 * GIB), 0)).toBe(2)
  // Out of level 2, but not by enough.
  expect(gauge.update(reading(0.7 * GIB), 20_000)).toBe(2)
  expect(gauge.update(reading(0.8 * GIB), 21_000)).toBe(2)
  expect(gauge.update(reading(0.8 * GIB), 30_999)).toBe(2)
  expect(gauge.update(reading(0.8 * GIB), 31_000)).toBe(1)
  expect(gauge.update(reading(9 * GIB), 32_000)).toBe(1)
  // A relapse starts the time again.
  expect(gauge.update(reading(1.2 * GIB), 41_000)).toBe(1)
  expect(gauge.update(reading(9 * GIB), 42_000)).toBe(1)
  expect(gauge.update(reading(9 * GIB), 52_000)).toBe(0)
})

test('whatever the readings, no level is left for a lower one within 10 s, and none is too low for its reading', () => {
  const step = fc.record({ ms: fc.integer({ min: 1, max: 4_000 }), free: fc.nat(300) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const gauge = new PressureGauge(100)
      let now = 0
      let reachedAt = 0
      let before = 0
      for (const { ms, free } of steps) {
        now += ms
        const level = gauge.update(reading(free), now)
        expect(level).toBeGreaterThanOrEqual(free < 50 ? 2 : free < 100 ? 1 : 0)
        if (level < before) expect(now - reachedAt).toBeGreaterThanOrEqual(10_000)
        if (level !== before) reachedAt = now
        before = level
      }
    }),
    { numRuns: 300 },
  )
})

test('the workers are told of a change, and again while memory is short; the log says each change once', () => {
  let now = 0
  let free: number | null = 9 * GIB
  const told: number[] = []
  const changes: number[] = []
  const lines: Record<string, unknown>[] = []
  const watch = new PressureWatch({
    read: () => (free === null ? null : reading(free)),
    reserve_bytes: GIB,
    now: () => now,
    tell: (level) => told.push(level),
    onChange: (level) => changes.push(level),
    log: createLog({
      component: 'edge-agent',
      level: 'info',
      pretty: false,
      write: (line) => void lines.push(JSON.parse(line)),
    }),
  })
  const lookAfter = (ms: number, bytes: number | null) => {
    now += ms
    free = bytes
    watch.look()
  }
  lookAfter(250, 9 * GIB)
  expect([told, watch.level]).toEqual([[], 0])
  lookAfter(250, 0.9 * GIB)
  lookAfter(250, 0.9 * GIB)
  expect(told).toEqual([1])
  lookAfter(2_000, 0.9 * GIB)
  lookAfter(250, 0.1 * GIB)
  lookAfter(250, null)
  expect([told, watch.level]).toEqual([[1, 1, 2], 2])
  lookAfter(250, 9 * GIB)
  lookAfter(10_000, 9 * GIB)
  lookAfter(5_000, 9 * GIB)
  expect([told.at(-1), watch.level, changes]).toEqual([0, 0, [1, 2, 0]])
  expect(lines.map(({ level, context }) => [level, (context as { level: number }).level])).toEqual([
    ['warn', 1],
    ['warn', 2],
    ['info', 0],
  ])
})
