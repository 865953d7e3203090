import { expect, test } from 'bun:test'
import fc from 'fast-check'

import type { Database } from '../../../src/cp/db/database.ts'
import { openDatabase } from '../../../src/cp/db/libsql.ts'
import { MIGRATIONS } from '../../../src/cp/db/migrations.ts'
import { versionSamples } from '../../../src/cp/telemetry/calls.ts'
import { TelemetryIntake } from '../../../src/cp/telemetry/intake.ts'
import type { Taken } from '../../../src/cp/telemetry/store.ts'
import { takeBatches } from '../../../src/cp/telemetry/store.ts'
import { EdgefnError } from '../../../src/errors.ts'
import { LIMITS } from '../../../src/protocol/limits.ts'
import { tempDatabase } from '../db/temp-database.ts'
import { batchOf, BOOT, deltas, FUNCTION, nodeId, OTHER_BOOT } from './batches.ts'

const now = Date.parse('2026-03-01T12:34:56.789Z')

interface Sum {
  readonly step: number
  readonly requests: number
  readonly faults: number
  readonly b3: number
}

/** What each step says in all. */
async function sums(db: Database): Promise<Sum[]> {
  const rows = await db.all(
    `SELECT step, sum(requests) AS requests, sum(server_faults) AS faults, sum(b3) AS b3
     FROM telemetry_calls GROUP BY step ORDER BY step`,
  )
  return rows as unknown as Sum[]
}

const everyStep = (requests: number, faults: number) =>
  [0, 60, 3600].map((step) => ({ step, requests, faults, b3: requests }))

test('batches that come again, in any mixture of transactions, are counted once in every step', async () => {
  await using temp = await tempDatabase()
  const { db } = temp
  const upload = fc.record({
    node: fc.constantFrom('a', 'b'),
    boot: fc.constantFrom(BOOT, OTHER_BOOT),
    times: fc.integer({ min: 1, max: 3 }),
    requests: fc.integer({ min: 0, max: 50 }),
    traps: fc.integer({ min: 1, max: 5 }),
    age: fc.integer({ min: 0, max: 100_000_000 }),
  })
  const property = fc.asyncProperty(fc.array(upload, { maxLength: 12 }), async (uploads) => {
    for (const table of ['boots', 'series', 'calls', 'errors', 'nodes']) {
      await db.run(`DELETE FROM telemetry_${table}`)
    }
    const seqs = new Map<string, number>()
    let requests = 0
    let traps = 0
    for (const each of uploads) {
      const key = `${each.node} ${each.boot}`
      const seq = (seqs.get(key) ?? 0) + 1
      seqs.set(key, seq)
      const errors = { function_trap: each.traps, rate_limited: 2 }
      const batch = batchOf(seq, [deltas(each.requests, { errors })], { boot_id: each.boot })
      const placed = { node_id: nodeId(each.node), from_ms: now - each.age, batch }
      for (let time = 0; time < each.times; time += 1) {
        // The second time in the same transaction, the third in another.
        const again = time === 0 ? [placed, placed] : [placed]
        await db.write((tx) => takeBatches(tx, again, now))
      }
      requests += each.requests
      traps += each.traps
    }
    expect(await sums(db)).toEqual(uploads.length === 0 ? [] : everyStep(requests, traps))
  })
  await fc.assert(property, { numRuns: 100 })
})

test('two control planes on one database count a batch once between them', async () => {
  await using temp = await tempDatabase()
  const second = await openDatabase({ url: temp.url, auth_token: null, migrations: MIGRATIONS })
  const placed = [1, 2, 3, 4].map((seq) => ({
    ...{ node_id: nodeId('a'), from_ms: now },
    batch: batchOf(seq, [deltas(10)]),
  }))
  const taken: number[] = []
  for (const [db, upTo] of [
    [temp.db, 2],
    [second, 4],
    [temp.db, 4],
  ] as const) {
    const { batches } = await db.write((tx) => takeBatches(tx, placed.slice(0, upTo), now))
    taken.push(batches)
  }
  expect(taken).toEqual([2, 2, 0])
  expect(await sums(temp.db)).toEqual(everyStep(40, 0))
  await second.close()
})

test('uploads that come together are one transaction, acknowledged after it; one that cannot be written harms no other', async () => {
  await using temp = await tempDatabase()
  let transactions = 0
  const db: Database = {
    ...temp.db,
    write: (work) => {
      transactions += 1
      return temp.db.write(work)
    },
  }
  const counted: Taken[] = []
  const intake = new TelemetryIntake({ db, count: (taken) => counted.push(taken), now: () => now })
  const upload = (node: string, requests: number) => ({
    node_id: nodeId(node),
    batches: [1, 2].map((seq) => ({ age_ms: 0, batch: batchOf(seq, [deltas(requests)]) })),
  })
  const nodes = Array.from({ length: 20 }, (_, index) => `node-${index}`)
  const acks = await Promise.all(nodes.map((node) => intake.take(nodeId(node), upload(node, 1))))
  expect(transactions).toBe(1)
  expect(acks).toEqual(nodes.map(() => ({ boot_id: BOOT, seq: 2 })))
  expect(counted.map(({ batches, duplicates }) => [batches, duplicates])).toEqual([[40, 0]])

  // Not what the border lets through: a count that is no whole number.
  const broken = {
    node_id: nodeId('broken'),
    batches: [{ age_ms: 0, batch: { ...batchOf(1), functions: [deltas(0.5)] } }],
  }
  const settled = await Promise.allSettled([
    intake.take(nodeId('broken'), broken),
    intake.take(nodeId('whole'), upload('whole', 5)),
  ])
  expect(settled.map(({ status }) => status)).toEqual(['rejected', 'fulfilled'])
  expect((await sums(temp.db))[0]?.requests).toBe(50)
  await intake.close()
  await expect(intake.take(nodeId('late'), upload('late', 1))).rejects.toThrow('ending')
})

test('uploads that wait are bounded by what is in them, also while they are written', async () => {
  await using temp = await tempDatabase()
  const held = Promise.withResolvers<void>()
  const db: Database = {
    ...temp.db,
    write: async (work) => {
      await held.promise
      return temp.db.write(work)
    },
  }
  const intake = new TelemetryIntake({ db, count: () => undefined, now: () => now })
  // As large as an upload gets; the counts of one version serve for all.
  const functions = Array.from({ length: 700 }, () => deltas(1))
  const batches = [1, 2, 3].map((seq) => ({ age_ms: 0, batch: batchOf(seq, functions) }))
  const take = (node: string) => intake.take(nodeId(node), { node_id: nodeId(node), batches })
  const fitting = Math.floor(LIMITS.telemetryWaitingRowsMax / (3 * 701))
  const taken = Array.from({ length: fitting }, (_, index) => take(`node-${index}`))
  await expect(take('late')).rejects.toMatchObject({ code: 'overloaded' })
  // By now the first transaction waits for the database.
  await Bun.sleep(300)
  await expect(take('late')).rejects.toMatchObject({ code: 'overloaded' })
  held.reject(new EdgefnError('database_unavailable', 'away'))
  await Promise.allSettled(taken)
  const again = take('late')
  await expect(again).rejects.toMatchObject({ code: 'database_unavailable' })
  await intake.close()
})

test('samples for gates are of the version, the nodes and the time asked for, and know whose fault an error was', async () => {
  await using temp = await tempDatabase()
  const { db } = temp
  const errors = { rate_limited: 5, client_gone: 1, body_too_large: 2, execution_timeout: 3 }
  const take = (node: string, seq: number, ageMs: number, version: number) =>
    db.write((tx) =>
      takeBatches(
        tx,
        [
          {
            ...{ node_id: nodeId(node), from_ms: Date.now() - ageMs },
            batch: batchOf(seq, [deltas(100, { version, errors, server_errors: 4 }, 16)]),
          },
        ],
        now,
      ),
    )
  await take('a', 1, 60_000, 2)
  await take('a', 2, 5_000, 2)
  await take('a', 3, 2_000, 2)
  await take('b', 1, 2_000, 1)
  await take('c', 1, 2_000, 2)
  const since = new Date(Date.now() - 30_000).toISOString()
  const node_ids = ['a', 'b'].map(nodeId)
  const query = { function_id: FUNCTION, version: 2, node_ids, since }
  const buckets = Array.from({ length: 17 }, (_, index) => (index === 16 ? 200 : 0))
  expect(await versionSamples(db, query)).toEqual([
    { node_id: nodeId('a'), requests: 200, errors: 14, buckets },
  ])
  const plan = await db.all(
    `EXPLAIN QUERY PLAN SELECT 1 FROM json_each('["a"]') n
     CROSS JOIN telemetry_series s ON s.function_id = 'f' AND s.version = 1 AND s.node_id = n.value
     CROSS JOIN telemetry_calls c ON c.series_id = s.id AND c.step = 0 AND c.at >= 1`,
  )
  expect(plan.slice(1).every((row) => String(row['detail']).startsWith('SEARCH'))).toBe(true)
})
