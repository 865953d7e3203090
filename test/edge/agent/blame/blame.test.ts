/** Blame over real shared files and a real index: what is remembered, what workers see, what ends when. */

import { afterEach, beforeEach, expect, test } from 'bun:test'
import { join } from 'node:path'

import { Blame, quarantineMs } from '../../../../src/edge/agent/blame/blame.ts'
import { createBlameStore } from '../../../../src/edge/agent/cache/blame-store.ts'
import type { IndexDatabase } from '../../../../src/edge/agent/cache/cache-index.ts'
import { openCacheIndex } from '../../../../src/edge/agent/cache/cache-index.ts'
import { Arms } from '../../../../src/edge/agent/supervise/arms.ts'
import { RunningFile } from '../../../../src/edge/running.ts'
import { VerdictFile } from '../../../../src/edge/verdicts.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'
import { makeDir, quietLog, removeDir } from '../fixtures/node.ts'

const seats = 2

let dir: string
let database: IndexDatabase
let nowMs: number
let opened: Blame[]

beforeEach(() => {
  dir = makeDir()
  database = openCacheIndex(join(dir, 'index.db'), quietLog)
  nowMs = 1_800_000_000_000
  opened = []
})

afterEach(() => {
  for (const blame of opened) blame.close()
  database.close()
  removeDir(dir)
})

/** An agent's part of it; `run` names the files, which each agent has anew. */
function open(run: string) {
  const running = new RunningFile(join(dir, `running.${run}`), seats)
  const verdicts = new VerdictFile(join(dir, `verdicts.${run}`))
  const arms = new Arms({
    stats: [],
    clearSlot: (slot) => verdicts.clear(slot),
    clearQuotaSlot: () => {},
    taken: (arm, slot) => blame.slotTaken(arm, slot),
    leaving: () => {},
  })
  const blame = new Blame({
    running,
    verdicts,
    arms: () => arms,
    store: createBlameStore(database),
    log: quietLog,
    now: () => nowMs,
    onChange: () => {},
  })
  opened.push(blame)
  const slotOf = (function_id: string, version: number) =>
    arms.take({ function_id, version })?.slot ?? -1
  const leave = () => arms.keepOnly(new Set())
  /** A worker dies while these run in it, each in a thread of its own. */
  function die(seat: number, ...fns: [string, number][]): void {
    for (const [thread, [id, version]] of fns.entries()) {
      running.begin(seat, thread, slotOf(id, version), version)
    }
    blame.workerEnded(seat, 'SIGSEGV')
  }
  const refusal = (id: string, version: number) =>
    verdicts.refusal({ slot: slotOf(id, version), version, name: id })?.code ?? null
  return { blame, running, verdicts, slotOf, leave, die, refusal }
}

test('the third death quarantines the version, which workers see in the shared file, and no other version', () => {
  const { blame, die, refusal } = open('1')
  die(0, ['k', 7])
  die(1, ['k', 7], ['a', 1])
  expect(refusal('k', 7)).toBeNull()
  die(0, ['k', 7])
  expect([refusal('k', 7), refusal('k', 8), refusal('a', 1)]).toEqual([
    'function_quarantined',
    null,
    null,
  ])
  expect(blame.quarantines()).toMatchObject([{ function_id: 'k', version: 7, deaths: 3, times: 1 }])
  expect(blame.deaths.get('SIGSEGV')).toBe(3)
  expect(blame.blamed).toEqual(
    new Map([
      ['k', 3],
      ['a', 1],
    ]),
  )
})

test('a clock that is set back does not make a quarantine longer than it may be', () => {
  const { blame, die } = open('1')
  for (let times = 0; times < 3; times += 1) die(0, ['k', 7])
  nowMs += quarantineMs(1) - 1_000
  expect(blame.quarantines()).toHaveLength(1)
  nowMs -= 24 * 3_600_000
  expect(blame.quarantines()).toEqual([])
  expect(blame.refusal({ function_id: 'k', version: 7, name: 'k' })).toBeNull()
  // Whoever goes on ending workers is quarantined again, and for longer.
  for (let times = 0; times < 3; times += 1) die(0, ['k', 7])
  expect(blame.quarantines()).toMatchObject([{ times: 2 }])
})

test('a worker that ended as told, with nothing running, or for what no guest can do, blames nobody', () => {
  const { blame, running, slotOf } = open('1')
  for (let times = 0; times < 5; times += 1) {
    running.begin(0, 0, slotOf('k', 1), 1)
    blame.workerEnded(0, null)
    running.begin(0, 0, slotOf('k', 1), 1)
    running.end(0, 0)
    blame.workerEnded(0, 'SIGKILL')
    running.begin(0, 0, slotOf('k', 1), 1)
    blame.workerEnded(0, 'hung')
  }
  expect(blame.quarantines()).toEqual([])
  expect(blame.blamed.size).toBe(0)
  expect(blame.deaths.get('SIGKILL')).toBe(5)
})

test('of a worker with a thread that was given up, only what that thread ran is to blame', () => {
  const { blame, running, slotOf } = open('1')
  running.begin(1, 0, slotOf('a', 1), 1)
  running.begin(1, 3, slotOf('k', 2), 2)
  running.lost(1, 3)
  blame.workerEnded(1, 'exit')
  expect([...blame.blamed.keys()]).toEqual(['k'])
  expect([...blame.deaths]).toEqual([['stuck', 1]])
  // Neither the mark nor the cells are there for the next process of the seat.
  expect(running.read(1)).toEqual([])
})

test('another agent on the same index goes on counting, and knows the quarantine before a slot is used', () => {
  const first = open('1')
  first.die(0, ['k', 1])
  first.die(0, ['k', 1])
  const second = open('2')
  expect(second.refusal('k', 1)).toBeNull()
  second.die(1, ['k', 1])
  expect(second.refusal('k', 1)).toBe('function_quarantined')
  expect(open('3').refusal('k', 1)).toBe('function_quarantined')
})

test('a quarantine ends after its time, the next is twice as long, and a day without one makes it short again', () => {
  const first = open('1')
  const thrice = (agent: typeof first) => {
    for (let death = 0; death < 3; death += 1) agent.die(0, ['k', 1])
    return (agent.blame.quarantines()[0]?.until ?? 0) - nowMs
  }
  expect(thrice(first)).toBe(LIMITS.quarantineMsMin)
  nowMs += LIMITS.quarantineMsMin
  expect(first.blame.quarantines()).toEqual([])
  const second = open('2')
  expect(second.refusal('k', 1)).toBeNull()
  expect(thrice(second)).toBe(2 * LIMITS.quarantineMsMin)
  nowMs += 2 * LIMITS.quarantineMsMin + LIMITS.quarantineMsMax + 1
  expect(thrice(open('3'))).toBe(LIMITS.quarantineMsMin)
  expect(quarantineMs(100)).toBe(LIMITS.quarantineMsMax)
})

test('a function that was away when its quarantine ended runs again when it returns', () => {
  const { die, leave, refusal } = open('1')
  for (let death = 0; death < LIMITS.workerDeathsMax; death++) die(0, ['k', 7])
  expect(refusal('k', 7)).toBe('function_quarantined')
  leave()
  expect(refusal('k', 7)).toBe('function_quarantined')
  leave()
  nowMs += LIMITS.quarantineMsMin + 1
  expect(refusal('k', 7)).toBeNull()
})

test('deaths that are not explained mark all that ran in them, also in a slot taken later, until they are', () => {
  const { verdicts, slotOf, die } = open('1')
  const marked = () => ['k', 'a'].map((id) => verdicts.apartMs(slotOf(id, 1), 1))
  die(0, ['k', 1], ['a', 1])
  expect(marked()).toEqual([0, 0])
  die(0, ['k', 1], ['a', 1])
  expect(marked()).toEqual([50, 50])
  const next = open('2')
  expect(next.verdicts.apartMs(next.slotOf('a', 1), 1)).toBe(50)
  die(0, ['k', 1])
  expect(marked()).toEqual([0, 0])
})

test('a damaged record is forgotten, and the node starts', () => {
  open('1').die(0, ['k', 1])
  database.run("UPDATE blame SET record = '{'")
  expect(open('2').blame.quarantines()).toEqual([])
})
