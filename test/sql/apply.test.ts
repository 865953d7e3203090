import { afterEach, beforeEach, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { openLibc } from '../../ffi/libc.ts'
import type { Sha256 } from '../../src/protocol/ids.ts'
import type { SchemaBody } from '../../src/protocol/schemas.ts'
import { sqlCommand } from '../../src/sql/command.ts'
import { connect } from '../../src/sql/connect.ts'
import type { SqlAnswer } from '../../src/sql/job.ts'
import { runSqlProcess, SqlProcessFailed } from '../../src/sql/sql-process.ts'

let dir: string
let path: string

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'edgefn-schemas-'))
  path = join(dir, 'f', 'function.db')
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

function body(number: number, sql: string): SchemaBody {
  const sha256 = new Bun.CryptoHasher('sha256').update(sql).digest('hex') as Sha256
  return { number, sha256, sql }
}

function apply(schemas: SchemaBody[], schema_ms_max = 20_000): Promise<SqlAnswer[]> {
  return runSqlProcess(sqlCommand, { path, schemas, schema_ms_max }, { ms_max: 30_000 })
}

function rows(sql: string): unknown[][] {
  const options = { path, create: false, who: 'schema', stops: () => false } as const
  const connection = connect(options, openLibc())
  try {
    return connection.run(sql)
  } finally {
    connection.close()
  }
}

test('each is applied once, in order, and noted where it was applied', async () => {
  const first = body(1, 'CREATE TABLE t (x); INSERT INTO t VALUES (1); -- the end')
  const second = body(3, 'INSERT INTO t SELECT x + 1 FROM t;')
  expect(await apply([first])).toEqual([{ number: 1, error: null }])
  for (let time = 0; time < 2; time += 1) {
    expect(await apply([first, second])).toEqual([
      { number: 1, error: null },
      { number: 3, error: null },
    ])
  }
  expect(rows('SELECT x FROM t')).toEqual([[1], [2]])
  expect(rows('SELECT number, sha256 FROM edgefn_schemas')).toEqual([
    [1, first.sha256],
    [3, second.sha256],
  ])
})

test('one that fails leaves nothing, and those after it are not tried', async () => {
  const answers = await apply([
    body(1, 'CREATE TABLE t (x)'),
    body(2, 'INSERT INTO t VALUES (1); CREATE TABLE u (y); INSERT INTO v VALUES (1)'),
    body(3, 'CREATE TABLE w (z)'),
  ])
  expect(answers).toEqual([
    { number: 1, error: null },
    { number: 2, error: { code: 'sql_error', message: 'line 1: no such table: v' } },
  ])
  expect(rows("SELECT name FROM sqlite_schema WHERE type = 'table'")).toEqual([
    ['edgefn_schemas'],
    ['t'],
  ])
  expect(rows('SELECT count(*) FROM t')).toEqual([[0]])
})

test('another text under an applied number is an error', async () => {
  await apply([body(1, 'CREATE TABLE t (x)')])
  const [answer] = await apply([body(1, 'CREATE TABLE t (y)')])
  expect(answer?.error?.code).toBe('conflict')
})

test('one that takes too long is stopped and undone', async () => {
  const endless =
    'WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) INSERT INTO t SELECT n FROM r'
  const answers = await apply([body(1, 'CREATE TABLE t (x)'), body(2, endless)], 500)
  expect(answers[1]?.error?.code).toBe('timeout')
  expect(rows('SELECT count(*) FROM t')).toEqual([[0]])
})

test.each([
  'COMMIT',
  'ROLLBACK; CREATE TABLE u (x)',
  'SAVEPOINT s',
  "ATTACH ':memory:' AS other",
  "VACUUM INTO 'never.db'",
  'PRAGMA writable_schema = ON',
  'CREATE TEMP TABLE u (x)',
  'DROP TABLE edgefn_schemas',
  'ALTER TABLE edgefn_schemas RENAME TO mine',
  'UPDATE edgefn_schemas SET number = 9',
  'CREATE TRIGGER g AFTER INSERT ON edgefn_schemas BEGIN SELECT 1; END',
  "SELECT load_extension('x')",
  "CREATE VIRTUAL TABLE d USING dbstat('main')",
])('%p is refused', async (sql) => {
  const [, answer] = await apply([body(1, 'CREATE TABLE t (x)'), body(2, sql)])
  expect(answer?.error?.code).toBe('sql_error')
  expect(answer?.error?.message).toMatch(/not authorized|prohibited|within a transaction/)
})

test('what is refused is said with the line of its statement, and what a schema may not do', async () => {
  const [refused] = await apply([body(1, 'CREATE TABLE t (x);\n\n-- The end.\nCOMMIT;\nSELECT 1')])
  expect(refused?.error?.message).toMatch(/^line 4: not authorized; a schema may not begin or end/)
  const again = 'CREATE TABLE t (x); -- What „t“ is for.\n/* Once\nmore: */ CREATE TABLE t (x)'
  const [wrong] = await apply([body(1, again)])
  expect(wrong?.error?.message).toBe('line 3: table t already exists')
})

test('full-text search, indexes, views, triggers and changes of tables are allowed', async () => {
  const answers = await apply([
    body(
      1,
      "CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT); CREATE VIRTUAL TABLE f USING fts5(x, content='t', content_rowid='id')",
    ),
    body(
      2,
      'CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO f (rowid, x) VALUES (new.id, new.x); END',
    ),
    body(
      3,
      "INSERT INTO t (x) VALUES ('some words'); ALTER TABLE t ADD COLUMN y; CREATE INDEX i ON t (y); CREATE VIEW v AS SELECT x FROM t",
    ),
    body(4, 'ALTER TABLE t RENAME COLUMN y TO z; DROP INDEX i; ANALYZE'),
  ])
  expect(answers.map(({ error }) => error)).toEqual([null, null, null, null])
  expect(rows("SELECT x FROM f WHERE f MATCH 'words'")).toEqual([['some words']])
})

test('who cannot even begin is told so', async () => {
  const job = { path: '/proc/nowhere/x.db', schemas: [body(1, 'SELECT 1')], schema_ms_max: 1000 }
  const failed = runSqlProcess(sqlCommand, job, { ms_max: 10_000 })
  await expect(failed).rejects.toBeInstanceOf(SqlProcessFailed)
})
