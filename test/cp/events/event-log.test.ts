/** The log of events on a real database: its order, what it keeps, and what a reader is told who comes too late. */

import { expect, test } from 'bun:test'

import { EventLog } from '../../../src/cp/events/event-log.ts'
import { EventReader } from '../../../src/cp/events/reader.ts'
import { appendEvents, eventsAfter, newestSeq, pruneEvents } from '../../../src/cp/events/store.ts'
import type { Database } from '../../../src/cp/db/database.ts'
import type { NodeId, PopId } from '../../../src/protocol/ids.ts'
import { LIMITS } from '../../../src/protocol/limits.ts'
import type { EventMessage } from '../../../src/protocol/messages.ts'
import { createLog } from '../../../src/telemetry/log.ts'
import { tempDatabase } from '../db/temp-database.ts'

const silent = createLog({ component: 'cp', level: 'error', pretty: false, write: () => undefined })
const everything = { kinds: null, function_id: null, deployment_id: null }

function nodeEvent(index: number, status: 'online' | 'offline' = 'online'): EventMessage {
  const at = new Date().toISOString()
  return { type: 'node', node_id: `n${index}` as NodeId, pop_id: 'p' as PopId, status, at }
}

function logOf(db: Database, published: EventMessage[]) {
  return new EventLog({
    db,
    log: silent,
    publish: (event) => void published.push(event),
    enqueue: async () => false,
    wakeDeliveries: () => undefined,
    now: Date.now,
  })
}

test('an event is told of after the commit, and is not there when the transaction failed', async () => {
  await using temp = await tempDatabase()
  const published: EventMessage[] = []
  const events = logOf(temp.db, published)
  const failed = temp.db.write(async (tx) => {
    await events.record(tx, nodeEvent(1))
    throw new Error('no')
  })
  await expect(failed).rejects.toThrow('no')
  expect(await newestSeq(temp.db)).toBe(0)
  const tell = await temp.db.write((tx) => events.record(tx, nodeEvent(2)))
  expect(published).toEqual([])
  tell()
  expect(published).toHaveLength(1)
  expect((await eventsAfter(temp.db, 0, everything, 10)).rows).toMatchObject([
    { kind: 'node.online' },
  ])
})

test('events of no transaction are written together, in their order', async () => {
  await using temp = await tempDatabase()
  const published: EventMessage[] = []
  const events = logOf(temp.db, published)
  for (let index = 0; index < 500; index += 1) events.publish(nodeEvent(index))
  await events.close()
  const { rows } = await eventsAfter(temp.db, 0, everything, 1000)
  const ids = rows.map((row) => (JSON.parse(row.payload) as { node_id: string }).node_id)
  expect(ids).toEqual(Array.from({ length: 500 }, (_, index) => `n${index}`))
  expect(published).toHaveLength(500)
})

test('old events go by age and by number, the newest stays, and a number is never given twice', async () => {
  await using temp = await tempDatabase()
  await temp.db.write((tx) => appendEvents(tx, [nodeEvent(1), nodeEvent(2), nodeEvent(3)]))
  const later = Date.now() + LIMITS.eventsKeptMsMax + 1000
  expect(await temp.db.write((tx) => pruneEvents(tx, later))).toBe(2)
  expect(await newestSeq(temp.db)).toBe(3)
  await temp.db.run('UPDATE sqlite_sequence SET seq = ? WHERE name = ?', [
    LIMITS.eventsKeptMax + 2,
    'events',
  ])
  await temp.db.write((tx) => appendEvents(tx, [nodeEvent(4)]))
  expect(await temp.db.write((tx) => pruneEvents(tx, Date.now()))).toBe(1)
  expect(await newestSeq(temp.db)).toBe(LIMITS.eventsKeptMax + 3)
})

test('a filter takes types and kinds, and looks no second time at what it does not want', async () => {
  await using temp = await tempDatabase()
  const { db } = temp
  await db.write((tx) => appendEvents(tx, [nodeEvent(1), nodeEvent(2, 'offline'), nodeEvent(3)]))
  const kindsOf = async (...kinds: string[]) =>
    (await eventsAfter(db, 0, { ...everything, kinds }, 10)).rows.map((row) => row.seq)
  expect(await kindsOf('node')).toEqual([1, 2, 3])
  expect(await kindsOf('node.offline', 'rollout')).toEqual([2])
  expect(await kindsOf('deployment')).toEqual([])
  expect((await eventsAfter(db, 0, { ...everything, kinds: ['rollout'] }, 10)).seq).toBe(3)
  expect((await eventsAfter(db, 0, everything, 2)).seq).toBe(2)
})

test('a reader that comes too late is told which are gone, and goes on with the oldest', async () => {
  await using temp = await tempDatabase()
  const { db } = temp
  await db.write((tx) => appendEvents(tx, [nodeEvent(1), nodeEvent(2), nodeEvent(3)]))
  await db.write((tx) => pruneEvents(tx, Date.now() + LIMITS.eventsKeptMsMax + 1000))
  const textOf = async (after: number, pieces: number) => {
    const reader = new EventReader({
      db,
      log: silent,
      after,
      filter: everything,
      keep_alive_ms: LIMITS.eventKeepAliveMs,
      mayRead: () => Promise.resolve(true),
      ended: () => undefined,
    })
    const source = reader.body.getReader()
    let text = ''
    for (let piece = 0; piece < pieces; piece += 1) {
      text += new TextDecoder().decode((await source.read()).value)
    }
    reader.close()
    return text
  }
  expect(await textOf(1, 2)).toMatch(
    /id: 2\nevent: gap\ndata: {"after":1,"next":3}\n\nid: 3\nevent: node\n/,
  )
  // Whoever has 2 has missed nothing.
  expect(await textOf(2, 2)).toMatch(/^retry: \d+\nid: 2\n\nid: 3\nevent: node\n/)
})

test('a reader that is woken for nothing again and again is still told that the connection lives', async () => {
  await using temp = await tempDatabase()
  const reader = new EventReader({
    ...{ db: temp.db, log: silent, after: null, filter: everything, keep_alive_ms: 200 },
    mayRead: () => Promise.resolve(true),
    ended: () => undefined,
  })
  // As the stream does for what other control planes write.
  const looks = setInterval(() => reader.changed(), 20)
  const source = reader.body.getReader()
  const next = async () => new TextDecoder().decode((await source.read()).value)
  expect(await next()).toContain('retry:')
  expect(await next()).toContain(': nothing new')
  clearInterval(looks)
  reader.close()
})
