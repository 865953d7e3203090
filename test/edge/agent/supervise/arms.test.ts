/** Records of versions: what is counted of a version is its own, and a function's sums never step back. */

import { afterEach, beforeEach, expect, test } from 'bun:test'
import { join } from 'node:path'

import fc from 'fast-check'

import { versionTotals } from '../../../../src/edge/agent/statistics.ts'
import { StatsFile, Tally } from '../../../../src/edge/stats.ts'
import { armsOf } from '../fixtures/arms.ts'
import { makeDir, removeDir } from '../fixtures/node.ts'

let dir: string
let stats: StatsFile[]

beforeEach(() => {
  dir = makeDir()
  stats = [0, 1].map((seat) => new StatsFile(join(dir, `worker-${seat}.stats`)))
})

afterEach(() => removeDir(dir))

const slotsMax = 4
const FUNCTIONS = ['a', 'b'] as const

test('versions of a function have records of their own and one of its quotas', () => {
  const arms = armsOf(stats)
  const one = arms.take({ function_id: 'a', version: 41 })
  const two = arms.take({ function_id: 'a', version: 42 })
  const other = arms.take({ function_id: 'b', version: 41 })
  expect(one?.slot).not.toBe(two?.slot)
  expect(one?.quota_slot).toBe(two?.quota_slot)
  expect(other?.quota_slot).not.toBe(one?.quota_slot)
  expect(arms.take({ function_id: 'a', version: 41 })).toEqual(one)
  expect(arms.armAt(two?.slot ?? -1)).toEqual({ function_id: 'a', version: 42 })
  arms.keepOnly(new Set(['a/42']))
  expect(arms.find({ function_id: 'a', version: 41 })).toBeNull()
  expect([...arms.functionIds()]).toEqual(['a'])
})

test('the totals of a version are those of all workers, and the guest’s own errors are apart', () => {
  const arms = armsOf(stats)
  const arm = { function_id: 'a', version: 3 }
  const slot = arms.take(arm)?.slot ?? -1
  for (const file of stats) {
    file.add(slot, 'invocations', 2)
    file.add(slot, 'server_errors', 1)
    file.addError(slot, 'function_trap')
    file.observe(slot, 0.0004)
  }
  const totals = versionTotals(arm, new Tally().add(stats, slot))
  expect(totals).toMatchObject({ ...arm, invocations: 4, server_errors: 2, latency_count: 2 })
  expect(totals.errors).toEqual(new Map([['function_trap', 2]]))
  expect(totals.buckets.slice(0, 4)).toEqual([0, 0, 2, 0])
})

test('P16: the sums of a function never step back and miss no call, whichever versions come and go', () => {
  const step = fc.oneof(
    fc.record({ call: fc.constantFrom(...FUNCTIONS), version: fc.integer({ min: 1, max: 6 }) }),
    fc.record({ serve: fc.constantFrom(...FUNCTIONS), version: fc.integer({ min: 1, max: 6 }) }),
  )
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
      const arms = armsOf(stats, slotsMax)
      for (let slot = 0; slot < slotsMax; slot += 1) for (const file of stats) file.clear(slot)
      const served = new Map(FUNCTIONS.map((id) => [id, 1]))
      const made = new Map<string, number>()
      for (const id of FUNCTIONS) arms.take({ function_id: id, version: 1 })
      for (const [index, each] of steps.entries()) {
        if ('serve' in each) {
          // As a sync does: the new version has its record before the old one gives its own up.
          if (arms.take({ function_id: each.serve, version: each.version }) === null) continue
          served.set(each.serve, each.version)
          arms.keepOnly(new Set([...served].map(([id, version]) => `${id}/${version}`)))
          continue
        }
        const slots = arms.find({ function_id: each.call, version: each.version })
        if (slots === null) continue
        stats[index % 2]?.add(slots.slot, 'invocations', 1)
        made.set(each.call, (made.get(each.call) ?? 0) + 1)
        for (const id of FUNCTIONS) {
          expect(arms.tallyOf(id).get('invocations')).toBe(made.get(id) ?? 0)
        }
      }
    }),
    { numRuns: 200 },
  )
})
