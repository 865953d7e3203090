import { expect, test } from 'bun:test'
import fc from 'fast-check'

import { WaitingList } from '../../../../src/edge/worker/pool/waiting-list.ts'

const LIMITS = { itemsMax: 6, groupItemsMax: 4 }
const waitMs = 60_000
const always = () => true

function taken(
  list: WaitingList<string, string>,
  running: Record<string, number>,
  count: number,
): string[] {
  const order: string[] = []
  const take = (item: string) => {
    order.push(item)
    const group = item.slice(0, 1)
    running[group] = (running[group] ?? 0) + 1
    return true
  }
  list.takeFair(
    (group) => running[group] ?? 0,
    take,
    () => order.length < count,
  )
  return order
}

test('within a group the first to come is the first to go', () => {
  const list = new WaitingList<string, string>(LIMITS, () => {})
  for (const item of ['a1', 'a2', 'a3']) list.add('a', item, waitMs)
  expect(taken(list, {}, 3)).toEqual(['a1', 'a2', 'a3'])
  expect(list.length).toBe(0)
})

test('the group with the least running goes first', () => {
  const list = new WaitingList<string, string>(LIMITS, () => {})
  for (const item of ['a1', 'a2', 'a3']) list.add('a', item, waitMs)
  for (const item of ['b1', 'b2']) list.add('b', item, waitMs)
  expect(taken(list, { a: 2, b: 0 }, 5)).toEqual(['b1', 'b2', 'a1', 'a2', 'a3'])
})

test('a group whose first item cannot run does not hold up the others', () => {
  const list = new WaitingList<string, string>(LIMITS, () => {})
  list.add('a', 'a1', waitMs)
  list.add('b', 'b1', waitMs)
  const seen: string[] = []
  const take = (item: string) => {
    seen.push(item)
    return item !== 'a1'
  }
  list.takeFair(() => 0, take, always)
  expect(list.drain()).toEqual(['a1'])
  expect(seen).toContain('b1')
})

test('the list and each group are bounded', () => {
  const list = new WaitingList<string, string>(LIMITS, () => {})
  const added = ['a1', 'a2', 'a3', 'a4', 'a5'].map((item) => list.add('a', item, waitMs))
  expect(added).toEqual([true, true, true, true, false])
  expect(['b1', 'b2', 'b3'].map((item) => list.add('b', item, waitMs))).toEqual([true, true, false])
  expect(list.drain().length).toBe(6)
})

test('what waits too long is given up, once', async () => {
  const late: string[] = []
  const list = new WaitingList<string, string>(LIMITS, (item) => late.push(item))
  list.add('a', 'a1', 5)
  list.add('a', 'a2', 5)
  taken(list, {}, 1)
  while (late.length === 0) await Bun.sleep(1)
  expect(late).toEqual(['a2'])
  expect(list.length).toBe(0)
})

test('each item waits as long as it may itself, and one that is taken out is neither taken nor late', async () => {
  const late: string[] = []
  const list = new WaitingList<string, string>(LIMITS, (item) => late.push(item))
  list.add('a', 'patient', waitMs)
  list.add('a', 'hasty', 5)
  list.add('a', 'gone', 1)
  list.add('b', 'past its time already', -1)
  expect([list.remove('a', 'gone'), list.remove('a', 'gone')]).toEqual([true, false])
  expect(list.remove('b', 'hasty')).toBe(false)
  while (late.length < 2) await Bun.sleep(1)
  expect(late.toSorted()).toEqual(['hasty', 'past its time already'])
  expect(list.drain()).toEqual(['patient'])
})

test('whatever comes, goes or is taken out, nothing is lost, doubled or over the bounds', () => {
  const group = fc.constantFrom('a', 'b', 'c')
  const steps = fc.array(
    fc.record({ do: fc.constantFrom('add', 'take', 'remove'), group, pick: fc.nat(9) }),
    { maxLength: 60 },
  )
  fc.assert(
    fc.property(steps, (actions) => {
      const list = new WaitingList<string, string>(LIMITS, () => {})
      const model = new Map<string, string[]>([
        ['a', []],
        ['b', []],
        ['c', []],
      ])
      let made = 0
      for (const action of actions) {
        const waiting = model.get(action.group) ?? []
        const size = [...model.values()].flat().length
        if (action.do === 'add') {
          const item = `${action.group}${(made += 1)}`
          const fits = size < LIMITS.itemsMax && waiting.length < LIMITS.groupItemsMax
          expect(list.add(action.group, item, waitMs)).toBe(fits)
          if (fits) waiting.push(item)
        } else if (action.do === 'remove') {
          const item = waiting[action.pick]
          if (item !== undefined) waiting.splice(action.pick, 1)
          expect(list.remove(action.group, item ?? 'nothing')).toBe(item !== undefined)
        } else {
          const [item] = taken(list, { a: 3, b: 2, c: 1 }, 1)
          // The group with the least running that has something waiting, and of it the first.
          const first = ['c', 'b', 'a'].find((name) => (model.get(name)?.length ?? 0) > 0)
          expect(item).toBe(first === undefined ? undefined : model.get(first)?.shift())
        }
        expect(list.length).toBe([...model.values()].flat().length)
      }
      expect(list.drain().toSorted()).toEqual([...model.values()].flat().toSorted())
    }),
    { numRuns: 300 },
  )
})
