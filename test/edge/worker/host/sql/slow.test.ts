import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { openLibc } from '../../../../../ffi/libc.ts'
import { SqliteError } from '../../../../../ffi/sqlite.ts'
import { NodeLog } from '../../../../../src/edge/worker/host/node-log.ts'
import { SqlRefused } from '../../../../../src/edge/worker/host/sql/function-database.ts'
import { SqlDatabases } from '../../../../../src/edge/worker/host/sql/open-databases.ts'
import { LIMITS } from '../../../../../src/protocol/limits.ts'
import { connect } from '../../../../../src/sql/connect.ts'
import { sqlDatabaseDir, sqlDatabaseFile } from '../../../../../src/sql/database-files.ts'
import { quietLog } from '../../../agent/fixtures/node.ts'

const ID = '01890000-0000-7000-8000-000000000001'
const libc = openLibc()
const dir = mkdtempSync(join(tmpdir(), 'edgefn-slow-'))
const log = new NodeLog(quietLog, () => libc.monotonicMs())
const databases = new SqlDatabases({ dir, log, libc, sleeping: (_, wait) => wait() })
let other: ReturnType<typeof connect>

beforeAll(() => {
  const functionDir = sqlDatabaseDir(dir, ID)
  mkdirSync(functionDir)
  const path = sqlDatabaseFile(functionDir)
  other = connect({ path, create: true, who: 'schema', stops: () => false }, libc)
  other.run('PRAGMA journal_mode = WAL; CREATE TABLE t (x)')
})
afterAll(() => {
  databases.close()
  other.close()
  rmSync(dir, { recursive: true, force: true })
})

/** With 100 ms until its deadline, of which `pastMs` is how far it went over. */
function run(sql: string): { answer: string; pastMs: number } {
  const until = libc.monotonicMs() + 100
  const call = { leftMs: () => until - libc.monotonicMs(), stopped: () => false }
  const bytes = new TextEncoder().encode(sql)
  const request = { kind: 'query', sql: bytes, values: [], format: 'json' } as const
  let answer: string
  try {
    const said = databases.run(ID, call, request)
    answer = typeof said === 'string' ? said : new TextDecoder().decode(said)
  } catch (thrown) {
    if (!(thrown instanceof SqliteError || thrown instanceof SqlRefused)) throw thrown
    answer = thrown.message
  }
  return { answer, pastMs: libc.monotonicMs() - until }
}

/** A bound for hangs, far over what is measured: without the limits these take from half a minute to for ever. */
const pastMsMax = 5000
const endless = 'WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c)'
const zeros = (length: string | number) => `hex(zeroblob((${length}) / 2))`
const most = LIMITS.sqlSearchedBytesMax - 100

/** As many as SQLite takes at this size, the one that is looked for last. */
const trimmed = `'${'abcdefgh'.repeat(165)}0'`

test.each([
  ['instr', `instr(${zeros(`${most} + i % 9`)}, ${zeros(most / 2)} || '1')`],
  ['replace', `length(replace(${zeros(`${most} + i % 9`)}, ${zeros(most / 2)} || '1', 'x'))`],
  ['trim', `length(trim(${zeros(`${most} + i % 9`)}, ${trimmed}))`],
  ['like', `${zeros(`${LIMITS.sqlValueBytesMax} - 20 + i % 9`)} LIKE '%${'0'.repeat(126)}1'`],
  ['glob', `${zeros(`${LIMITS.sqlValueBytesMax} - 20 + i % 9`)} GLOB '*[${'a'.repeat(124)}]'`],
])('an endless statement with %s ends soon after its deadline', (name, expression) => {
  const { answer, pastMs } = run(`${endless} SELECT sum(${expression}) FROM c`)
  if (process.env['SLOW_MS'] !== undefined) console.log(name, pastMs.toFixed())
  expect(answer).toBe('deadline')
  expect(pastMs).toBeLessThan(pastMsMax)
})

test('as many as a statement may have, with no look between them, end soon', () => {
  const each = (at: number) => `length(trim(${zeros(`${most - 40} + ${at} + i % 9`)}, ${trimmed}))`
  const sum = Array.from({ length: LIMITS.sqlSlowUsesMax }, (_, at) => each(at)).join(' + ')
  const { answer, pastMs } = run(`${endless} SELECT sum(${sum}) AS s FROM c`)
  if (process.env['SLOW_MS'] !== undefined) console.log('sum', pastMs.toFixed())
  expect(answer).toBe('deadline')
  expect(pastMs).toBeLessThan(pastMsMax)
})

test('a value of the usual size is refused where it would be searched for another', () => {
  const long = zeros(131_000)
  expect(run(`${endless} SELECT sum(instr(${long}, 'x')) FROM c`).answer).toBe(
    'string or blob too big',
  )
  expect(run(`SELECT length(${long})`).answer).toContain('[[131000]]')
})

test('a statement has few of them, and those of its views count', () => {
  const uses = (count: number) => Array(count).fill("instr(x, 'y')").join('+')
  other.run(`CREATE VIEW v AS SELECT ${uses(9)} AS n FROM t`)
  const refused = `over ${LIMITS.sqlSlowUsesMax} uses of`
  expect(run(`SELECT ${uses(16)} FROM t`).answer).toContain('"rows":[]')
  expect(run(`SELECT ${uses(17)} FROM t`).answer).toStartWith(refused)
  expect(run('SELECT n FROM v').answer).toContain('"rows":[]')
  expect(run('SELECT a.n FROM v AS a, v AS b WHERE b.n > 1').answer).toStartWith(refused)
})

test.each(['unhex', 'json_patch', 'jsonb_patch'])('%s is refused', (name) => {
  expect(run(`SELECT ${name}('{}', '{}')`).answer).toBe(`not authorized to use function: ${name}`)
})

test('those of a generated column are held to the same, also when it came after a statement was prepared', () => {
  expect(run('SELECT length(x) FROM t').answer).toContain('"rows":[]')
  other.run("CREATE TABLE g (x, y AS (instr(x, x || '1')))")
  other.run(`INSERT INTO g (x) VALUES (${zeros(131_000)})`)
  expect(run('SELECT y FROM g').answer).toBe('string or blob too big')
  other.run('DROP TABLE g')
  expect(run(`SELECT length(${zeros(131_000)}) AS again`).answer).toContain('[[131000]]')
})
