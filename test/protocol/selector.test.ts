/** Whether two selectors may select the same POP. */

import { expect, test } from 'bun:test'
import fc from 'fast-check'

import { overlapsPops, selectsPop } from '../../src/protocol/selector.ts'

const item = fc.stringMatching(/^!?[ab*][ab*-]{0,3}$/)
const selector = fc.option(
  fc.array(item, { minLength: 1, maxLength: 3 }).map((items) => items.join(',')),
)
const pop = fc.stringMatching(/^[ab][ab-]{0,4}$/)

test('a POP that both select means that they overlap', () => {
  fc.assert(
    fc.property(selector, selector, pop, (a, b, popId) => {
      if (selectsPop(a, popId) && selectsPop(b, popId)) expect(overlapsPops(a, b)).toBe(true)
      expect(overlapsPops(a, b)).toBe(overlapsPops(b, a))
    }),
    { numRuns: 5_000 },
  )
})

test('where one names its POPs, they overlap only if one of these is selected by both', () => {
  const names = fc.array(pop, { minLength: 1, maxLength: 4 })
  fc.assert(
    fc.property(names, selector, (popIds, b) => {
      const a = popIds.join(',')
      expect(overlapsPops(a, b)).toBe(popIds.some((popId) => selectsPop(b, popId)))
    }),
    { numRuns: 2_000 },
  )
})

test.each([
  ['tokyo-*', 'osaka-*', false],
  ['tokyo-*', '*-1', true],
  ['tokyo-*', '!tokyo-*', false],
  ['tokyo-1', '!tokyo-1', false],
  [null, null, true],
  ['*a*', '*b*', true],
  ['a*b', 'b*a', false],
])('%p and %p: %p', (a, b, overlap) => {
  expect(overlapsPops(a, b)).toBe(overlap)
})
