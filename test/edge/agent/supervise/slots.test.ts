/** Slots of the shared statistics. */

import { expect, test } from 'bun:test'

import { SlotTable } from '../../../../src/edge/agent/supervise/slots.ts'
import { restartDelayMs } from '../../../../src/edge/agent/supervise/restart-delay.ts'

test('a function that leaves and returns keeps its slot and so its counters', () => {
  const cleared: number[] = []
  const slots = new SlotTable({ slots_max: 100, clear: (slot) => void cleared.push(slot) })
  const a = slots.take('a')
  const b = slots.take('b')
  expect(a).not.toBe(b)
  slots.keepOnly(new Set(['b']))
  expect(slots.take('c')).not.toBe(a)
  expect(slots.used()).toHaveLength(3)
  expect(slots.take('a')).toBe(a)
  expect(cleared).toEqual([])
})

test('slots of others are cleared before they are given again, and only when none is unused', () => {
  const cleared: number[] = []
  const slots = new SlotTable({ slots_max: 100, clear: (slot) => void cleared.push(slot) })
  for (let index = 0; index < 100; index++) slots.take(`f${index}`)
  expect(slots.take('one more')).toBe(null)
  slots.keepOnly(new Set(['f0']))
  expect(slots.take('one more')).toBe(1)
  expect(cleared).toEqual([1])
})

test('a worker that dies once is replaced at once, one that keeps dying ever more slowly', () => {
  expect([1, 2, 3, 4, 100].map(restartDelayMs)).toEqual([0, 50, 100, 200, 5000])
})
