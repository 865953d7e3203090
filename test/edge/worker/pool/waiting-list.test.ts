import { expect, test } from 'bun:test'

import { WaitingList } from '../../../../src/edge/worker/pool/waiting-list.ts'

const LIMITS = { itemsMax: 6, groupItemsMax: 4, waitMsMax: 60_000 }
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
  for (const item of ['a1', 'a2', 'a3']) list.add('a', item)
  expect(taken(list, {}, 3)).toEqual(['a1', 'a2', 'a3'])
  expect(list.length).toBe(0)
})

test('the group with the least running goes first', () => {
  const list = new WaitingList<string, string>(LIMITS, () => {})
  for (const item of ['a1', 'a2', 'a3']) list.add('a', item)
  for (const item of ['b1', 'b2']) list.add('b', item)
  expect(taken(list, { a: 2, b: 0 }, 5)).toEqual(['b1', 'b2', 'a1', 'a2', 'a3'])
})

test('a group whose first item cannot run does not hold up the others', () => {
  const list = new WaitingList<string, string>(LIMITS, () => {})
  list.add('a', 'a1')
  list.add('b', 'b1')
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
  const added = ['a1', 'a2', 'a3', 'a4', 'a5'].map((item) => list.add('a', item))
  expect(added).toEqual([true, true, true, true, false])
  expect(['b1', 'b2', 'b3'].map((item) => list.add('b', item))).toEqual([true, true, false])
  expect(list.drain().length).toBe(6)
})

test('what waits too long is given up, once', async () => {
  const late: string[] = []
  const list = new WaitingList<string, string>({ ...LIMITS, waitMsMax: 5 }, (item) =>
    late.push(item),
  )
  list.add('a', 'a1')
  list.add('a', 'a2')
  taken(list, {}, 1)
  while (late.length === 0) await Bun.sleep(1)
  expect(late).toEqual(['a2'])
  expect(list.length).toBe(0)
})
