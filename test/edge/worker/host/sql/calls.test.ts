import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import { openLibc } from '../../../../../ffi/libc.ts'
import { LIMITS } from '../../../../../src/protocol/limits.ts'
import { CborWriter } from '../../../../../src/edge/worker/host/sql/cbor.ts'
import { connect } from '../../../../../src/sql/connect.ts'
import { sqlDatabaseDir, sqlDatabaseFile } from '../../../../../src/sql/database-files.ts'
import type { WorkerFunction } from '../../../../../src/edge/ipc.ts'
import { hostOptionsIn } from '../../runtime/host-options.ts'
import { failure, request, startRuntime } from '../../runtime/harness.ts'
import type { RuntimeHarness } from '../../runtime/harness.ts'

let runtime: RuntimeHarness
let guest: WorkerFunction
/** Another connection to the guest's database. */
let other: ReturnType<typeof connect>

beforeAll(async () => {
  runtime = await startRuntime(3)
  const bytes = readFileSync(join(import.meta.dir, '../../../../guests/build/sql-c.wasm'))
  guest = runtime.module(new Uint8Array(bytes), { max_execution_ms: 3000, memory_pages: 64 })
  const dir = sqlDatabaseDir(hostOptionsIn(runtime.dir).sql_dir, guest.function_id)
  mkdirSync(dir, { recursive: true })
  const database = { path: sqlDatabaseFile(dir), create: true, who: 'schema' } as const
  other = connect({ ...database, stops: () => false }, openLibc())
  other.run('PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, v)')
  other.run('CREATE TABLE edgefn_schemas (number INTEGER PRIMARY KEY)')
})
afterAll(async () => {
  other.close()
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

interface Said {
  readonly code: number
  readonly rest: string
}

async function bytesOf(query: string, body: Uint8Array<ArrayBuffer>): Promise<Buffer | string> {
  const outcome = await runtime.invoker.invoke(
    guest,
    request(`/?${query}`, { method: 'POST', body }),
  )
  if (!outcome.ok) return failure(outcome)
  expect(outcome.response.status).toBe(200)
  return Buffer.from(outcome.response.body)
}

async function say(query: string, sql: string, params = ''): Promise<Said | string> {
  const said = await bytesOf(query, new TextEncoder().encode(`${sql}\n${params}`))
  if (typeof said === 'string') return said
  const text = said.toString()
  const newline = text.indexOf('\n')
  return { code: Number(text.slice(0, newline)), rest: text.slice(newline + 1) }
}

test.each([
  ['null,1,-2,1.5,"é"', '[null,1,-2,1.5,"é"]'],
  ['true,false,1e3', '[1,0,1000]'],
  ['0.5e-3', '[0.0005]'],
  [
    '{"int":"9223372036854775807"},{"int":"-9223372036854775808"}',
    '[9223372036854775807,-9223372036854775808]',
  ],
  ['{"blob":"AAEC"},{"blob":""},""', '[{"blob":"AAEC"},{"blob":""},""]'],
])('parameters %p come back as %p', async (params, row) => {
  const marks = JSON.parse(`[${params}]`).map(() => '?')
  const said = await say(
    'op=query',
    `SELECT ${marks.map((m: string, i: number) => `${m} AS c${i}`)}`,
    `[${params}]`,
  )
  expect((said as Said).rest).toEndWith(`"rows":[${row}]}`)
})

test.each([
  ['op=query', 'SELECT 1', '[1]', -13, 'the statement has 0 parameters, and 1 were given'],
  ['op=query', 'SELECT 1; SELECT 2', '', -13, 'there is more than one statement'],
  ['op=query', '-- nothing', '', -13, 'there is no statement'],
  ['op=query', 'SELECT', '', -13, 'incomplete input'],
  [
    'op=query',
    "INSERT INTO t VALUES (77, 'x')",
    '',
    -13,
    'sql_query takes statements that change nothing; sql_exec takes others',
  ],
  ['op=exec', "ATTACH 'never.db' AS x", '', -13, 'not authorized'],
  ['op=exec', 'BEGIN', '', -13, 'not authorized'],
  ['op=exec', 'PRAGMA user_version = 7', '', -13, 'not authorized'],
  ['op=exec', "VACUUM INTO 'never.db'", '', -13, 'authorization denied'],
  ['op=exec', 'DELETE FROM edgefn_schemas', '', -13, 'not authorized'],
  ['op=exec', 'DROP TABLE t', '', -13, 'not authorized'],
  ['op=exec', 'CREATE TEMP TABLE x (y)', '', -13, 'not authorized'],
  [
    'op=query',
    "SELECT load_extension('x')",
    '',
    -13,
    'not authorized to use function: load_extension',
  ],
  ['op=query', 'SELECT zeroblob(300000)', '', -13, 'string or blob too big'],
  ['op=query', 'SELECT ?', '{"a":1}', -2, ''],
  ['op=query', 'SELECT ?', '[{"int":"9223372036854775808"}]', -2, ''],
  ['op=query&format=2', 'SELECT 1', '', -2, ''],
  ['op=query', '', '', -2, ''],
])('%s %p %p is %d', async (query, sql, params, code, rest) => {
  expect(await say(query, sql, params)).toEqual({ code, rest })
})

test('a result that does not fit is kept, and the statement has run once', async () => {
  const said = await say('op=exec&cap=5', 'INSERT INTO t (v) VALUES (?) RETURNING v', '["once"]')
  const document = '{"changes":1,"last_insert_rowid":1,"columns":["v"],"rows":[["once"]]}'
  expect(said).toEqual({ code: document.length, rest: `{"cha\n${document}` })
  expect(other.run('SELECT count(*) FROM t')).toEqual([[1]])
})

test('what brings too much is undone, and says so', async () => {
  const numbers = `WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT ${LIMITS.sqlRowsMax + 1})`
  const before = other.run('SELECT count(*) FROM t')
  const said = await say('op=exec', `INSERT INTO t (v) ${numbers} SELECT n FROM r RETURNING v`)
  expect(said).toEqual({ code: -3, rest: `the result has over ${LIMITS.sqlRowsMax} rows` })
  expect(other.run('SELECT count(*) FROM t')).toEqual(before)
  const wide = await say('op=query', `${numbers} SELECT hex(zeroblob(100)) FROM r`)
  expect(wide).toEqual({ code: -3, rest: `the result has over ${LIMITS.sqlResultBytesMax} bytes` })
})

test('whoever writes all the time is waited for so long and no longer', async () => {
  other.run('BEGIN IMMEDIATE')
  try {
    expect(await say('op=exec', 'INSERT INTO t (v) VALUES (1)')).toEqual({ code: -12, rest: '' })
    expect(await say('op=query', 'SELECT 1')).toMatchObject({ code: 30 })
  } finally {
    other.run('ROLLBACK')
  }
})

test('a statement is stopped by the deadline of its call, and undone', async () => {
  const endless = 'WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r)'
  const before = other.run('SELECT count(*) FROM t')
  expect(await say('op=query', `${endless} SELECT count(*) FROM r`)).toBe('execution_timeout')
  expect(await say('op=exec', `INSERT INTO t (v) ${endless} SELECT n FROM r WHERE n < 9`)).toBe(
    'execution_timeout',
  )
  expect(other.run('SELECT count(*) FROM t')).toEqual(before)
}, 120_000)

test('a statement that searches long values for others ends by its deadline, and its neighbours are served', async () => {
  const search = `WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c)
    SELECT sum(instr(hex(zeroblob(8000 + i % 9)), hex(zeroblob(4000)) || '1')) FROM c`
  const slow = say('op=query', search.replace('\n', ' '))
  expect(await say('op=query', 'SELECT 1')).toMatchObject({ code: 30 })
  expect(await slow).toBe('execution_timeout')
}, 120_000)

test('the share of a function ends at its pages', async () => {
  other.run('CREATE TABLE big (b)')
  const rows = `WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 400) SELECT zeroblob(200000) FROM r`
  expect(await say('op=exec', `INSERT INTO big ${rows}`)).toEqual({ code: -4, rest: '' })
  expect(other.run('SELECT count(*) FROM big')).toEqual([[0]])
}, 120_000)

test('results and parameters may be CBOR', async () => {
  const params = Uint8Array.of(
    0x84,
    0x01,
    0xf6,
    0x42,
    0x01,
    0x02,
    0xfb,
    0x3f,
    0xf8,
    0,
    0,
    0,
    0,
    0,
    0,
  )
  const sql = new TextEncoder().encode('SELECT ? AS a, ? AS b, ? AS c, ? AS d\n')
  const said = await bytesOf('op=query&format=1', new Uint8Array([...sql, ...params]))
  const document = (said as Buffer).subarray((said as Buffer).indexOf(10) + 1).toString('hex')
  const columns = '67636f6c756d6e738461616162616361' + '64'
  expect(document).toBe(`a2${columns}64726f777381${Buffer.from(params).toString('hex')}`)
})

test.each([
  ['5.0', 'f94500', [2.5, 'real']],
  ['-0.0', 'f98000', [-0, 'real']],
  ['5', '05', [2, 'integer']],
])('the CBOR parameter %s is of its type', async (_, hex, row) => {
  const sql = new TextEncoder().encode('SELECT ?1 / 2, typeof(?1)\n')
  const said = await bytesOf(
    'op=query&format=1',
    new Uint8Array([...sql, ...Uint8Array.fromHex(`81${hex}`)]),
  )
  const rows = new CborWriter()
  rows.array(2)
  if (row[1] === 'real') rows.real(row[0] as number)
  else rows.integer(row[0] as number)
  rows.text(row[1] as string)
  expect((said as Buffer).toString('hex')).toEndWith(Buffer.from(rows.take()).toString('hex'))
})

test('an index of full-text search beside its content is the statement’s error, and the rows stay', async () => {
  other.run(`CREATE TABLE pages (id INTEGER PRIMARY KEY, x TEXT);
    CREATE VIRTUAL TABLE words USING fts5(x, content='pages', content_rowid='id');
    CREATE TRIGGER noted AFTER INSERT ON pages BEGIN
      INSERT INTO words (rowid, x) VALUES (new.id, new.x); END`)
  await say('op=exec', "INSERT INTO pages (x) VALUES ('one'), ('two')")
  await say('op=exec', 'DELETE FROM pages WHERE id = 1')
  const check = "INSERT INTO words (words, rank) VALUES ('integrity-check', 1)"
  expect(await say('op=exec', check)).toMatchObject({ code: -13 })
  expect(await say('op=query', 'SELECT x FROM pages')).toMatchObject({
    rest: '{"columns":["x"],"rows":[["two"]]}',
  })
})
