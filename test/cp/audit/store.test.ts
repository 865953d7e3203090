/** The audit log on a real database: complete, append-only, tamper-evident. */

import { expect, test } from 'bun:test'
import fc from 'fast-check'

import type { AuditEntry } from '../../../src/cp/audit/audit.ts'
import { auditRowSchema } from '../../../src/protocol/audit.ts'
import { auditQuerySchema } from '../../../src/cp/audit/schema.ts'
import { createAuditStore } from '../../../src/cp/audit/store.ts'
import type { RequestContext } from '../../../src/cp/context.ts'
import type { Database } from '../../../src/cp/db/database.ts'
import { tempDatabase } from '../db/temp-database.ts'

const store = createAuditStore()

const context: RequestContext = {
  caller: { kind: 'user', key_id: 'k1', name: 'test', role: 'owner' },
  request_id: 'request-1',
  ip: '127.0.0.1',
}

const entryArbitrary: fc.Arbitrary<AuditEntry> = fc.record({
  resource_type: fc.constantFrom('function', 'version', 'route', 'deployment', 'node'),
  resource_id: fc.string({ minLength: 1 }),
  operation: fc.constantFrom('create', 'update', 'delete', 'deploy', 'register', 'denied'),
  before: fc.oneof(fc.constant(null), fc.jsonValue()),
  after: fc.oneof(fc.constant(null), fc.jsonValue()),
})

async function append(db: Database, count: number): Promise<void> {
  await db.write(async (tx) => {
    for (let i = 0; i < count; i += 1) {
      await store.record(tx, context, {
        resource_type: 'function',
        resource_id: `f${i % 3}`,
        operation: 'update',
        before: { i },
        after: { i: i + 1 },
      })
    }
  })
}

test('P32: any operation leaves a complete row, chained to the one before', async () => {
  await using temp = await tempDatabase()
  await fc.assert(
    fc.asyncProperty(entryArbitrary, async (entry) => {
      await temp.db.write((tx) => store.record(tx, context, entry))
      const { items } = await store.list(temp.db, auditQuerySchema.parse({ limit: '2' }))
      const [row, previous] = items
      expect(row).toMatchObject({
        actor: 'key:k1',
        resource_type: entry.resource_type,
        resource_id: entry.resource_id,
        operation: entry.operation,
        request_id: 'request-1',
        previous_hash: previous?.hash ?? '0'.repeat(64),
      })
      expect(row?.old_value).toEqual(JSON.parse(JSON.stringify(entry.before)))
      expect(row?.new_value).toEqual(JSON.parse(JSON.stringify(entry.after)))
    }),
    { numRuns: 100 },
  )
  expect(await store.verify(temp.db)).toMatchObject({ intact: true, problem: null })
})

test('P33: no row can be changed, deleted, replaced or slipped in', async () => {
  await using temp = await tempDatabase()
  await append(temp.db, 20)
  const columns =
    'id, actor, resource_type, resource_id, operation, request_id, created_at, previous_hash, hash'
  const attempts = [
    (seq: number) => `UPDATE audit_log SET actor = 'nobody' WHERE seq = ${seq}`,
    (seq: number) => `UPDATE audit_log SET hash = hash WHERE seq >= ${seq}`,
    (seq: number) => `DELETE FROM audit_log WHERE seq = ${seq}`,
    (seq: number) => `DELETE FROM audit_log WHERE seq >= ${seq}`,
    (
      seq: number,
    ) => `REPLACE INTO audit_log (seq, ${columns}) SELECT seq, ${columns.replace('actor', "'x'")}
       FROM audit_log WHERE seq = ${seq}`,
    (seq: number) => `INSERT OR REPLACE INTO audit_log (seq, ${columns})
       SELECT 21, ${columns} FROM audit_log WHERE seq = ${seq}`,
    (seq: number) => `INSERT INTO audit_log (seq, ${columns})
       SELECT seq + 100, ${columns.replace('id', "'new'")} FROM audit_log WHERE seq = ${seq}`,
    (seq: number) => `INSERT INTO audit_log (seq, ${columns}) SELECT seq, ${columns} FROM audit_log
       WHERE seq = ${seq} ON CONFLICT DO UPDATE SET actor = 'x'`,
  ]
  const before = await temp.db.all('SELECT * FROM audit_log ORDER BY seq')
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...attempts),
      fc.integer({ min: 1, max: 20 }),
      async (attempt, seq) => {
        await expect(temp.db.run(attempt(seq))).rejects.toThrow('append-only')
      },
    ),
    { numRuns: 100 },
  )
  expect(await temp.db.all('SELECT * FROM audit_log ORDER BY seq')).toEqual(before)
  expect(await store.verify(temp.db)).toEqual({ intact: true, entries: 20, problem: null })
})

const TAMPERINGS: readonly (readonly [string, string, number])[] = [
  ['a changed value', `UPDATE audit_log SET new_value = '{"i":99}' WHERE seq = 7`, 7],
  ['a changed actor', `UPDATE audit_log SET actor = 'key:x' WHERE seq = 1`, 1],
  ['a removed row', 'DELETE FROM audit_log WHERE seq = 5', 5],
  ['a removed first row', 'DELETE FROM audit_log WHERE seq = 1', 1],
  ['a cut-off tail', 'DELETE FROM audit_log WHERE seq > 15', 16],
  ['an emptied log', 'DELETE FROM audit_log', 1],
  [
    'two rows that changed places',
    `UPDATE audit_log SET seq = 999 WHERE seq = 3; UPDATE audit_log SET seq = 3 WHERE seq = 4;
     UPDATE audit_log SET seq = 4 WHERE seq = 999`,
    3,
  ],
]

test.each(TAMPERINGS)('%s is found once the triggers are gone', async (_name, sql, seq) => {
  await using temp = await tempDatabase()
  await append(temp.db, 20)
  for (const trigger of ['audit_log_no_update', 'audit_log_no_delete', 'audit_log_in_order']) {
    await temp.db.run(`DROP TRIGGER ${trigger}`)
  }
  for (const statement of sql.split(';')) await temp.db.run(statement)
  const verdict = await store.verify(temp.db)
  expect(verdict.intact).toBe(false)
  expect(verdict.problem?.seq).toBe(seq)
})

test('a rolled-back change leaves no row and no gap', async () => {
  await using temp = await tempDatabase()
  await append(temp.db, 2)
  const work = temp.db.write(async (tx) => {
    await store.record(tx, context, {
      resource_type: 'node',
      resource_id: 'n',
      operation: 'create',
      before: null,
      after: null,
    })
    throw new Error('no')
  })
  await work.catch(() => undefined)
  await append(temp.db, 1)
  expect(await store.verify(temp.db)).toEqual({ intact: true, entries: 3, problem: null })
})

test('the list pages newest first and filters by resource', async () => {
  await using temp = await tempDatabase()
  await append(temp.db, 7)
  const seen: number[] = []
  let cursor: string | undefined
  do {
    const query = auditQuerySchema.parse({
      limit: '3',
      ...(cursor === undefined ? {} : { cursor }),
    })
    const page = await store.list(temp.db, query)
    seen.push(...page.items.map((row) => row.seq))
    cursor = page.next_cursor ?? undefined
  } while (cursor !== undefined)
  expect(seen).toEqual([7, 6, 5, 4, 3, 2, 1])
  const one = await store.list(temp.db, auditQuerySchema.parse({ resource_id: 'f1' }))
  expect(one.items.map((row) => row.seq)).toEqual([5, 2])
})

/** As whoever has the file does it, whose tool does not mind what the driver minds. */
async function edit(db: Database, sql: string): Promise<void> {
  for (const { name } of await db.all(
    "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'audit_log'",
  )) {
    await db.run(`DROP TRIGGER ${String(name)}`)
  }
  for (const statement of sql.split(';')) await db.run(statement)
}

test.each(['new_value', 'actor', 'id', 'created_at', 'hash'])(
  'bytes that are no UTF-8 in %s are found and shown, and end nothing',
  async (column) => {
    await using temp = await tempDatabase()
    await append(temp.db, 9)
    await edit(temp.db, `UPDATE audit_log SET ${column} = CAST(x'41ff00fe' AS TEXT) WHERE seq = 4`)
    const problem = { seq: 4, reason: 'its text is not UTF-8' }
    expect(await store.verify(temp.db)).toEqual({ intact: false, entries: 3, problem })
    const { items } = await store.list(temp.db, auditQuerySchema.parse({}))
    expect(items.find(({ seq }) => seq === 4)).toMatchObject({ [column]: 'A\ufffd\0\ufffd' })
    for (const item of items) expect(auditRowSchema.safeParse(item).success).toBe(true)
  },
)

test('a last row whose hash is no UTF-8 keeps nobody from writing the next one', async () => {
  await using temp = await tempDatabase()
  await append(temp.db, 3)
  await edit(temp.db, `UPDATE audit_log SET hash = CAST(x'ff' AS TEXT) WHERE seq = 3`)
  expect(await store.head(temp.db)).toBeNull()
  await append(temp.db, 1)
  expect((await store.head(temp.db))?.seq).toBe(4)
  expect((await store.verify(temp.db)).problem?.seq).toBe(3)
})

test('a row that was slipped in before the first is found', async () => {
  await using temp = await tempDatabase()
  await append(temp.db, 3)
  const columns =
    'actor, resource_type, resource_id, operation, request_id, created_at, previous_hash, hash'
  await edit(
    temp.db,
    `INSERT INTO audit_log (seq, id, ${columns}) SELECT -5, 'zz', ${columns} FROM audit_log WHERE seq = 2`,
  )
  const problem = { seq: -5, reason: 'it stands before the first row' }
  expect(await store.verify(temp.db)).toMatchObject({ intact: false, problem })
})

test('a row with a number beyond what is exact is found and shown', async () => {
  await using temp = await tempDatabase()
  await append(temp.db, 3)
  const columns =
    'actor, resource_type, resource_id, operation, request_id, created_at, previous_hash, hash'
  await edit(
    temp.db,
    `INSERT INTO audit_log (seq, id, ${columns}) SELECT 9223372036854775806, 'zz', ${columns} FROM audit_log WHERE seq = 2`,
  )
  expect((await store.verify(temp.db)).problem?.seq).toBe(4)
  const { items } = await store.list(temp.db, auditQuerySchema.parse({}))
  expect(items.map((item) => auditRowSchema.safeParse(item).success)).toEqual([
    true,
    true,
    true,
    true,
  ])
})

test('a trigger that was disarmed, dropped or added is named', async () => {
  await using temp = await tempDatabase()
  expect(await store.triggersChanged(temp.db)).toEqual([])
  await temp.db.run('DROP TRIGGER audit_log_no_update')
  expect(await store.triggersChanged(temp.db)).toEqual(['audit_log_no_update'])
  await temp.db.run(`CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log WHEN 0
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END`)
  expect(await store.triggersChanged(temp.db)).toEqual(['audit_log_no_update'])
  await temp.db.run(
    'CREATE TRIGGER quiet BEFORE INSERT ON audit_log BEGIN SELECT RAISE(IGNORE); END',
  )
  expect(await store.triggersChanged(temp.db)).toEqual(['audit_log_no_update', 'quiet'])
})

test('times are compared as times: a second without fractions is where it begins', async () => {
  await using temp = await tempDatabase()
  await append(temp.db, 2)
  const { items } = await store.list(temp.db, auditQuerySchema.parse({}))
  const second = `${items[0]?.created_at.slice(0, 19)}Z`
  const seen = async (query: object) =>
    (await store.list(temp.db, auditQuerySchema.parse(query))).items.some(
      ({ seq }) => seq === items[0]?.seq,
    )
  expect([await seen({ since: second }), await seen({ until: second })]).toEqual([true, false])
})
