/** Claims on a real database: no delivery is had by two, none is lost with who had it, the old and the many are given up. */

import { expect, test } from 'bun:test'

import type { Database } from '../../../src/cp/db/database.ts'
import { claimDeliveries, nextDueMs, settleDelivery } from '../../../src/cp/webhooks/outbox.ts'
import { signDelivery } from '../../../src/cp/webhooks/signature.ts'
import {
  enqueueDeliveries,
  insertWebhook,
  pruneDeliveries,
} from '../../../src/cp/webhooks/store.ts'
import type { NodeId, PopId } from '../../../src/protocol/ids.ts'
import { LIMITS } from '../../../src/protocol/limits.ts'
import { tempDatabase } from '../db/temp-database.ts'

const now = Date.now()

async function addWebhooks(db: Database, count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    await db.write((tx) =>
      insertWebhook(tx, {
        id: `w${index}`,
        url: 'http://127.0.0.1:9/',
        events: [],
        function_id: null,
        secret_sealed: '',
        created_by: 'key:k',
        created_at: new Date().toISOString(),
      }),
    )
  }
}

async function addEvent(db: Database, seq: number): Promise<void> {
  const at = new Date().toISOString()
  const status = 'offline' as const
  const event = { type: 'node' as const, node_id: 'n' as NodeId, pop_id: 'p' as PopId, status, at }
  await db.write((tx) => enqueueDeliveries(tx, seq, event))
}

const states = async (db: Database) =>
  Object.fromEntries(
    (await db.all('SELECT state, count(*) AS rows FROM webhook_deliveries GROUP BY state')).map(
      (row) => [row['state'], row['rows']],
    ),
  ) as Record<string, number>

test('a claim is had by one, runs out, and what came of it late changes nothing', async () => {
  await using temp = await tempDatabase()
  const { db } = temp
  await addWebhooks(db, 2)
  await addEvent(db, 1)
  await addEvent(db, 2)
  const claim = (atMs: number) => db.write((tx) => claimDeliveries(tx, atMs, []))
  const first = await claim(now + 1_000)
  // The oldest of each, and meanwhile nothing but the next ones is due.
  expect(first.map((item) => item.event_seq)).toEqual([1, 1])
  expect((await claim(now + 1_000)).map((item) => item.event_seq)).toEqual([2, 2])
  expect(await claim(now + 1_000)).toEqual([])
  const again = await claim(now + 1_000 + LIMITS.webhookAttemptMsMax + 5_000)
  expect(again.map(({ event_seq, attempts }) => [event_seq, attempts])).toEqual([
    [1, 2],
    [1, 2],
  ])
  const [late] = first
  const [owned] = again
  if (late === undefined || owned === undefined) throw new Error('nothing was claimed')
  const taken = { status: 200, error: null, ms: 1 }
  await db.write((tx) => settleDelivery(tx, late, taken, now + 20_000, 0))
  expect(await states(db)).toEqual({ pending: 4 })
  await db.write((tx) => settleDelivery(tx, owned, taken, now + 20_000, 0))
  expect(await states(db)).toEqual({ pending: 3, delivered: 1 })
})

test('a webhook that is busy is left alone, others are not', async () => {
  await using temp = await tempDatabase()
  await addWebhooks(temp.db, 2)
  await addEvent(temp.db, 1)
  const claims = await temp.db.write((tx) => claimDeliveries(tx, now + 1_000, ['w0']))
  expect(claims.map((item) => item.webhook_id)).toEqual(['w1'])
})

test('a delivery is put off with backoff and given up when it is too old', async () => {
  await using temp = await tempDatabase()
  const { db } = temp
  await addWebhooks(db, 1)
  await addEvent(db, 1)
  const refused = { status: 500, error: 'no', ms: 1 }
  const due: number[] = []
  let atMs = now + 1_000
  for (let attempt = 1; attempt <= 9; attempt += 1) {
    const [claim] = await db.write((tx) => claimDeliveries(tx, atMs, []))
    if (claim === undefined) throw new Error('not due')
    await db.write((tx) => settleDelivery(tx, claim, refused, atMs, 0))
    const row = await db.get('SELECT next_attempt_at FROM webhook_deliveries')
    const next = Date.parse(String(row?.['next_attempt_at']))
    due.push((next - atMs) / 1000)
    atMs = next
  }
  expect(due).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60])
  atMs = now + LIMITS.webhookRetryMsMax + 10_000
  const [last] = await db.write((tx) => claimDeliveries(tx, atMs, []))
  if (last === undefined) throw new Error('not due')
  await db.write((tx) => settleDelivery(tx, last, refused, atMs, 0))
  expect(await states(db)).toEqual({ failed: 1 })
})

test('what is due next is the first that waits for a webhook that is not busy', async () => {
  await using temp = await tempDatabase()
  const { db } = temp
  await addWebhooks(db, 3)
  expect(await nextDueMs(db, now, [])).toBeNull()
  await addEvent(db, 1)
  await addEvent(db, 2)
  const due = (id: string, seq: number, ms: number) =>
    db.run(
      'UPDATE webhook_deliveries SET next_attempt_at = ? WHERE webhook_id = ? AND event_seq = ?',
      [new Date(now + ms).toISOString(), id, seq],
    )
  await due('w0', 1, 9_000)
  await due('w0', 2, 2_000)
  await due('w1', 1, 4_000)
  await due('w1', 2, 5_000)
  await db.run(`UPDATE webhook_deliveries SET state = 'delivered' WHERE webhook_id = 'w2'`)
  expect(await nextDueMs(db, now, [])).toBe(2_000)
  expect(await nextDueMs(db, now, ['w0'])).toBe(4_000)
  expect(await nextDueMs(db, now, ['w0', 'w1'])).toBeNull()
  expect(await nextDueMs(db, now + 3_000, [])).toBe(0)
  const claims = await db.write((tx) => claimDeliveries(tx, now + 6_000, []))
  expect(claims.map((item) => [item.webhook_id, item.event_seq]).toSorted()).toEqual([
    ['w0', 2],
    ['w1', 1],
  ])
})

test('after the clock was set back nothing waits for the old time', async () => {
  await using temp = await tempDatabase()
  const { db } = temp
  await addWebhooks(db, 1)
  await addEvent(db, 1)
  expect(await nextDueMs(db, now - 86_400_000, [])).toBe(0)
  expect(await db.write((tx) => claimDeliveries(tx, now - 3_600_000, []))).toHaveLength(1)
})

test('what is too much is given up or forgotten, the oldest first', async () => {
  await using temp = await tempDatabase()
  const { db } = temp
  await addWebhooks(db, 1)
  const at = new Date().toISOString()
  const fill = (state: string, from: number, count: number) =>
    db.run(
      `WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i + 1 FROM n WHERE i < ?)
       INSERT INTO webhook_deliveries
         (id, webhook_id, event_seq, kind, payload, state, next_attempt_at, created_at, updated_at)
       SELECT 'd' || i, 'w0', i, 'node.offline', '{}', ?, ?, ?, ? FROM n`,
      [from, from + count - 1, state, at, at, at],
    )
  await fill('delivered', 1, LIMITS.webhookHistoryMax + 5)
  await fill('pending', 50_000, LIMITS.webhookPendingMax + 3)
  await db.write((tx) => pruneDeliveries(tx, now))
  expect(await states(db)).toEqual({
    pending: LIMITS.webhookPendingMax,
    failed: 3,
    delivered: LIMITS.webhookHistoryMax - 3,
  })
  await db.write((tx) => pruneDeliveries(tx, now + LIMITS.webhookHistoryMsMax + 60_000))
  expect(await states(db)).toEqual({ pending: LIMITS.webhookPendingMax })
})

test('the signature is the one that openssl makes', async () => {
  const header = signDelivery('secret-of-the-hook', 1_700_000_000, '{"a":1}')
  const made = Bun.spawn(['openssl', 'dgst', '-sha256', '-hmac', 'secret-of-the-hook', '-r'], {
    stdin: new TextEncoder().encode('1700000000.{"a":1}'),
    stdout: 'pipe',
  })
  const [hex = ''] = (await made.stdout.text()).split(' ')
  expect(header).toBe(`t=1700000000,v1=${hex}`)
})
