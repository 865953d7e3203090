import { afterEach, beforeEach, expect, test } from 'bun:test'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { openLibc } from '../../../../../ffi/libc.ts'
import { NodeLog } from '../../../../../src/edge/worker/host/node-log.ts'
import { SqlKeeper } from '../../../../../src/edge/worker/host/sql/keeper.ts'
import { SqlDatabases } from '../../../../../src/edge/worker/host/sql/open-databases.ts'
import { connect } from '../../../../../src/sql/connect.ts'
import {
  sqlDamagedDir,
  sqlDatabaseDir,
  sqlDatabaseFile,
  sqlLogFile,
} from '../../../../../src/sql/database-files.ts'
import { quietLog } from '../../../agent/fixtures/node.ts'

const ID = '01890000-0000-7000-8000-000000000001'
const libc = openLibc()
let dir: string
let functionDir: string

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'edgefn-sql-'))
  functionDir = sqlDatabaseDir(dir, ID)
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

function make(sql: string): void {
  mkdirSync(functionDir, { recursive: true })
  const path = sqlDatabaseFile(functionDir)
  const connection = connect({ path, create: true, who: 'schema', stops: () => false }, libc)
  connection.run(`PRAGMA journal_mode = WAL; ${sql}`)
  connection.close()
}

const tenMib =
  'CREATE TABLE t (b); INSERT INTO t SELECT zeroblob(100000) FROM (VALUES (1),(2),(3),(4),(5)), (VALUES (1),(2),(3),(4),(5)), (VALUES (1),(2),(3),(4))'

test('who closes a database last leaves its log to the keeper, who writes it back', () => {
  make(tenMib)
  expect(statSync(sqlLogFile(functionDir)).size).toBeGreaterThan(9_000_000)
  new SqlKeeper(dir, quietLog, libc).look()
  expect(statSync(sqlLogFile(functionDir)).size).toBe(0)
  expect(statSync(sqlDatabaseFile(functionDir)).size).toBeGreaterThan(9_000_000)
})

/** `onLook` is called while statements run. */
function thread(onLook = () => {}): { run(sql: string): string; close(): void } {
  const log = new NodeLog(quietLog, () => libc.monotonicMs())
  const databases = new SqlDatabases({ dir, log, libc, sleeping: (_, wait) => wait() })
  const leftMs = () => {
    onLook()
    return 5000
  }
  return {
    run: (sql) => {
      const bytes = new TextEncoder().encode(sql)
      const request = { kind: 'query', sql: bytes, values: [], format: 'json' } as const
      const answer = databases.run(ID, { leftMs, stopped: () => false }, request)
      return typeof answer === 'string' ? answer : new TextDecoder().decode(answer)
    },
    close: () => databases.close(),
  }
}

test('of two threads at the same damage one puts it aside, and what was made anew stays', () => {
  make(tenMib)
  new SqlKeeper(dir, quietLog, libc).look()
  const first = thread()
  let looked = 0
  const second = thread(() => {
    looked += 1
    if (looked > 1) return
    // While its statement runs, the other finds the damage, and the agent makes the database anew.
    expect(first.run('SELECT sum(length(b)) FROM t')).toBe('unavailable')
    expect(existsSync(functionDir)).toBe(false)
    make('CREATE TABLE t (b); INSERT INTO t VALUES (7)')
  })
  for (const each of [first, second]) expect(each.run('SELECT 1')).toContain('[[1]]')
  const bytes = readFileSync(sqlDatabaseFile(functionDir))
  writeFileSync(sqlDatabaseFile(functionDir), bytes.fill(0x55, 4096, 4 * 4096))
  const numbers =
    'WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 9000) SELECT max(n) FROM r'
  expect(second.run(`SELECT (${numbers}), (SELECT sum(length(b)) FROM t)`)).toBe('unavailable')
  expect(looked).toBeGreaterThan(0)
  expect(second.run('SELECT b FROM t')).toContain('[[7]]')
  const aside = sqlDatabaseFile(sqlDamagedDir(dir, ID))
  expect(statSync(aside).size).toBeGreaterThan(9_000_000)
  for (const each of [first, second]) each.close()
})
