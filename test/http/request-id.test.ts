import { expect, test } from 'bun:test'

import { RequestIds, requestIdOf } from '../../src/http/request-id.ts'

const UUID7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

test('an id that the caller gives is taken, and any other made anew', () => {
  const ids = new RequestIds()
  for (const of of [requestIdOf, (given: string | undefined) => ids.of(given, 0)]) {
    expect(of('abc-1')).toBe('abc-1')
    for (const given of ['', 'a b', 'a"b', 'x'.repeat(129), undefined]) {
      expect(of(given)).toMatch(UUID7)
    }
  }
})

test('ids are UUIDv7 and all different, however many a millisecond has', () => {
  const ids = new RequestIds()
  const made = Array.from({ length: 20_000 }, (_, index) => ids.of(undefined, index / 10_000))
  for (const id of made) expect(id).toMatch(UUID7)
  expect(new Set(made).size).toBe(made.length)
})

test('the time in an id is that of its making', async () => {
  const ids = new RequestIds()
  const timeOf = (id: string) => Number.parseInt(id.slice(0, 13).replace('-', ''), 16)
  ids.of(undefined, performance.now())
  await Bun.sleep(30)
  const before = Date.now()
  expect(timeOf(ids.of(undefined, performance.now()))).toBeGreaterThanOrEqual(before - 1)
})
