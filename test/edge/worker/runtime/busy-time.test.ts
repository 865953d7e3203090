import { expect, test } from 'bun:test'

import { BusyTime } from '../../../../src/edge/worker/runtime/busy-time.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'

function meter() {
  const clock = { cpuMs: 1_000, asked: 0 }
  const busy = new BusyTime(() => {
    clock.asked += 1
    return clock.cpuMs
  })
  return { busy, clock }
}

test('a short call is as long as it took, and the system is not asked unless it is due', () => {
  const { busy, clock } = meter()
  expect(busy.of(LIMITS.inlineMeanMsMax, 0, false)).toBe(LIMITS.inlineMeanMsMax)
  expect(clock.asked).toBe(0)
  busy.of(0.01, 0, true)
  expect(clock.asked).toBe(1)
})

test('a long call is what the thread has worked since it was last asked, and what the guest has slept', () => {
  const { busy, clock } = meter()
  busy.of(0.01, 0, true)
  clock.cpuMs += 3
  expect(busy.of(50, 0, false)).toBe(3)
  clock.cpuMs += 3
  expect(busy.of(50, 20, false)).toBe(23)
  clock.cpuMs += 300
  expect(busy.of(5, 0, false)).toBe(5)
})
