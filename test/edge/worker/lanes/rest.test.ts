import { expect, test } from 'bun:test'
import fc from 'fast-check'

import { RestBoard, restBytes, ThreadRest } from '../../../../src/edge/worker/lanes/rest.ts'

const LIMITS = { awakeMax: 3, ownerAwakeMax: 2, totalAwakeMax: 5 }

function rested(count: number) {
  const memory = new SharedArrayBuffer(restBytes(count))
  const board = new RestBoard(memory, LIMITS)
  board.started(count)
  const told: number[] = []
  const threads = Array.from(
    { length: count },
    (_, index) => new ThreadRest(memory, index, () => told.push(index)),
  )
  /** Begins a call of `owner` on a thread. */
  const begin = (index: number, owner: number) => {
    threads[index]?.begin(owner)
    return threads[index] as ThreadRest
  }
  const asleep = () => threads.map((_, index) => board.isAsleep(index))
  return { board, begin, asleep, told }
}

/** Whether a sleep of the thread goes on at once when it is over: one that must wait first asks what is left to it. */
function goesOn(thread: ThreadRest): boolean {
  let asked = false
  thread.during(
    () => {
      asked = true
      return 0
    },
    () => {},
  )
  return !asked
}

test('a thread is asleep exactly while its guest waits', () => {
  const { begin, asleep } = rested(2)
  const thread = begin(0, 1)
  expect(asleep()).toEqual([false, false])
  const seen = thread.during(() => 1000, asleep)
  expect(seen).toEqual([true, false])
  expect(asleep()).toEqual([false, false])
  expect(() =>
    thread.during(
      () => 1000,
      () => {
        throw new Error('The wait failed.')
      },
    ),
  ).toThrow('The wait failed.')
  expect(asleep()).toEqual([false, false])
})

test('who wakes up goes on while its function and all of them have room', () => {
  const { begin } = rested(8)
  const sleeper = begin(0, 1)
  begin(1, 1)
  expect(goesOn(sleeper)).toBeTrue()
  begin(2, 1)
  expect(goesOn(sleeper)).toBeFalse()
})

test('a function that is awake nowhere goes on beside more than the others may', () => {
  const { begin } = rested(8)
  const sleeper = begin(0, 1)
  for (const index of [1, 2, 3]) begin(index, index + 10)
  expect(goesOn(sleeper)).toBeTrue()
  begin(4, 1)
  expect(goesOn(sleeper)).toBeFalse()
})

test('no more than the total are awake, whoever they are', () => {
  const { begin } = rested(8)
  const sleeper = begin(0, 1)
  for (const index of [1, 2, 3, 4]) begin(index, index + 10)
  expect(goesOn(sleeper)).toBeTrue()
  begin(5, 15)
  expect(goesOn(sleeper)).toBeFalse()
})

test('whoever ends or falls asleep wakes one that waits for its turn', () => {
  for (const makeRoom of [
    (thread: ThreadRest) => thread.end(),
    (thread: ThreadRest) =>
      thread.during(
        () => 0,
        () => {},
      ),
  ]) {
    const { begin, asleep } = rested(8)
    const sleeper = begin(0, 1)
    const others = [1, 2].map((index) => begin(index, 1))
    let left = 0
    // Without being woken it would ask for its time again.
    sleeper.during(
      () => {
        left += 1
        if (left === 1) makeRoom(others[0] as ThreadRest)
        return 1000
      },
      () => {},
    )
    expect(left).toBe(1)
    expect(asleep()[0]).toBeFalse()
  }
})

test('the main thread is told of the next sleep only, and only when it asked', () => {
  const { board, begin, told } = rested(3)
  const [first, second] = [begin(0, 1), begin(1, 2)]
  const nap = (thread: ThreadRest) =>
    thread.during(
      () => 1000,
      () => {},
    )
  const before = board.naps
  nap(first)
  expect([told, board.naps - before]).toEqual([[], 1])
  board.want(true)
  nap(second)
  nap(first)
  expect([told, board.naps - before]).toEqual([[1], 3])
  board.want(true)
  board.want(false)
  nap(first)
  expect(told).toEqual([1])
})

test('however threads begin, sleep and end, a wake-up never makes more awake than the limits', () => {
  const step = fc.record({ thread: fc.nat(7), owner: fc.nat(3), ends: fc.boolean() })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { begin } = rested(8)
      /** Owners of the threads that are awake. */
      const awake = new Map<number, number>()
      for (const { thread, owner, ends } of steps) {
        const rest = begin(thread, owner)
        awake.set(thread, owner)
        const own = [...awake.values()].filter((each) => each === owner).length
        const fits =
          own === 1
            ? awake.size <= LIMITS.totalAwakeMax
            : awake.size <= LIMITS.awakeMax && own <= LIMITS.ownerAwakeMax
        expect(goesOn(rest)).toBe(fits)
        if (!ends) continue
        rest.end()
        awake.delete(thread)
      }
    }),
    { numRuns: 300 },
  )
})
