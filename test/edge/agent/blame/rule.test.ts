/** Who is to blame for the deaths of workers, in worlds with one killer and with two. */

import { describe, expect, test } from 'bun:test'

import fc from 'fast-check'

import type { Death } from '../../../../src/edge/agent/blame/rule.ts'
import { guilty, recent, separation } from '../../../../src/edge/agent/blame/rule.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'

/**
 * Deaths in a row, judged one after the other as the agent does: quarantined versions run no more and their deaths go. The
 * first of each row is what ended the worker, so there is no such death once it is quarantined.
 */
function judge(rows: readonly (readonly string[])[]): {
  quarantined: string[]
  deaths: Death[]
  apart: Set<string>
} {
  let deaths: Death[] = []
  const quarantined: string[] = []
  for (const [at, row] of rows.entries()) {
    if (quarantined.includes(row[0] ?? '')) continue
    const running = row.filter((key) => !quarantined.includes(key))
    deaths = [...deaths, { at, reason: 'SIGSEGV', running }]
    for (const key of guilty(deaths).keys()) {
      quarantined.push(key)
      deaths = deaths.filter((death) => !death.running.includes(key))
    }
  }
  return { quarantined, deaths, apart: new Set(separation(deaths).apart) }
}

describe('three deaths are enough', () => {
  const cases: [string, string[][]][] = [
    ['alone', [['k'], ['k'], ['k']]],
    ['once beside a neighbour', [['k', 'a'], ['k'], ['k']]],
    ['alone first', [['k'], ['k', 'a'], ['k', 'a']]],
    ['alone last', [['k', 'a'], ['k', 'a'], ['k']]],
    [
      'beside others each time',
      [
        ['k', 'a'],
        ['k', 'b'],
        ['k', 'c', 'd'],
      ],
    ],
  ]
  for (const [name, rows] of cases) {
    test(name, () => expect(judge(rows).quarantined).toEqual(['k']))
  }
})

test('two deaths are not', () => {
  expect(judge([['k'], ['k']]).quarantined).toEqual([])
})

test('two that ran in the same three deaths are both suspects, are kept apart, and the next death tells', () => {
  const rows = Array.from({ length: 3 }, () => ['k', 'a'])
  const { quarantined, apart } = judge(rows)
  expect(quarantined).toEqual([])
  expect(apart).toEqual(new Set(['k', 'a']))
  expect(judge([...rows, ['k']]).quarantined).toEqual(['k'])
})

test('a neighbour that is busy in the deaths of two killers is not taken for one', () => {
  const before = [
    ['k', 'a'],
    ['l', 'a'],
  ]
  expect(judge(before).apart).toEqual(new Set(['k', 'l', 'a']))
  const { quarantined } = judge([...before, ['k'], ['l'], ['k'], ['l'], ['k'], ['l']])
  expect(quarantined.toSorted()).toEqual(['k', 'l'])
})

test('a function that was proven by one death is not blamed for what another proven one did', () => {
  // `a` was alone in a worker that the system killed; beside `k` nothing is known of it.
  const { quarantined } = judge([['a'], ['k', 'a'], ['k'], ['k', 'a'], ['k'], ['k']])
  expect(quarantined).toEqual(['k'])
})

test('suspects wait four times as long with each death that tells nothing, up to a limit', () => {
  const waits = [0, 1, 2, 3, 4, 5, 9].map((count) => {
    const death: Death = { at: 0, reason: 'exit', running: ['k', 'a'] }
    return separation(Array.from({ length: count }, () => death)).waitMs
  })
  expect(waits).toEqual([0, 0, 50, 200, 800, 3200, 3200])
})

test('deaths stop to count after the window, and a clock that was set back loses none', () => {
  const death = (at: number): Death => ({ at, reason: 'exit', running: ['k'] })
  const now = 1_000_000_000
  const kept = recent(
    [death(now - LIMITS.workerDeathsWindowMs), death(now - 1), death(now + 60_000)],
    now,
  )
  expect(kept.map(({ at }) => at)).toEqual([now - 1, now + 60_000])
})

const innocents = ['a', 'b', 'c', 'd']
const neighbours = fc.subarray(innocents)

test('one killer, any neighbours: no neighbour is ever quarantined, and one death alone after two is enough', () => {
  fc.assert(
    fc.property(fc.array(neighbours, { maxLength: 20 }), (rows) => {
      const beside = rows.map((row) => ['k', ...row])
      const { quarantined } = judge(beside)
      expect(quarantined.filter((key) => key !== 'k')).toEqual([])
      if (rows.length >= 2) expect(judge([...beside, ['k']]).quarantined).toEqual(['k'])
    }),
    { numRuns: 1000 },
  )
})

test('one killer whose suspects are kept apart is quarantined within a bounded number of deaths', () => {
  fc.assert(
    fc.property(fc.infiniteStream(neighbours), (stream) => {
      const rows: string[][] = []
      for (const row of stream) {
        const { quarantined, apart } = judge(rows)
        expect(quarantined.filter((key) => key !== 'k')).toEqual([])
        if (quarantined.includes('k')) break
        // As the workers do: beside the killer no other suspect.
        rows.push(['k', ...row.filter((key) => !apart.has('k') || !apart.has(key))])
        expect(rows.length).toBeLessThanOrEqual(2 + innocents.length)
      }
    }),
    { numRuns: 1000 },
  )
})

test('two killers and busy neighbours: no neighbour is quarantined while suspects are kept apart', () => {
  const deaths = fc.array(fc.tuple(fc.constantFrom('k', 'l'), neighbours), { maxLength: 20 })
  fc.assert(
    fc.property(deaths, (list) => {
      const rows: string[][] = []
      for (const [killer, row] of list) {
        const { quarantined, apart } = judge(rows)
        if (quarantined.includes(killer)) continue
        rows.push([killer, ...row.filter((key) => !apart.has(killer) || !apart.has(key))])
      }
      expect(judge(rows).quarantined.filter((key) => innocents.includes(key))).toEqual([])
    }),
    { numRuns: 1000 },
  )
})
