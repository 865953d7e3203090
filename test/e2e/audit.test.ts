/** An audit log that is edited by hand, on a real control plane with a real node as witness. */

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { FIRST_PREVIOUS_HASH, hashOf, type ChainedRow } from '../../src/protocol/audit-chain.ts'
import type { AuditHead } from '../../src/protocol/audit-chain.ts'
import type { AuditVerdictView } from '../../src/protocol/audit.ts'
import { ControlPlane, Node, until, World } from './harness.ts'

let world: World
let plane: ControlPlane
let node: Node

const beats = ['--heartbeat-interval', '200ms']

beforeAll(async () => {
  world = new World()
  plane = await (await ControlPlane.create(world, beats)).start()
  const options = { id: 'tokyo-1-a', pop: 'tokyo-1', flags: beats }
  node = await (await Node.create(world, plane, options)).start()
  for (let count = 0; count < 10; count += 1) await plane.joinToken('osaka-1')
}, 120_000)
afterAll(() => world.close(), 60_000)

const headFile = () => join(node.dataDir, 'audit-head.json')
const keptHead = () => JSON.parse(readFileSync(headFile(), 'utf8')) as AuditHead

const verdictOf = () => plane.api<AuditVerdictView>('GET', '/audit-log/verification')

/** Waits until the node has seen the newest entry. */
async function nodeHasHead(): Promise<AuditHead> {
  return until('the node keeps the newest head', async () => {
    const { head } = await verdictOf()
    const kept = keptHead()
    return head !== null && kept.hash === head.hash ? kept : null
  })
}

/** Edits the database of the stopped control plane as anybody with its file could, triggers and all. */
async function tamper(edit: (database: Database) => void): Promise<void> {
  await plane.stop('SIGKILL')
  const database = new Database(join(plane.dataDir, 'edgefn.db'))
  const triggers = database
    .query<{ name: string; sql: string }, []>(
      `SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'audit_log'`,
    )
    .all()
  for (const { name } of triggers) database.run(`DROP TRIGGER ${name}`)
  edit(database)
  for (const { sql } of triggers) database.run(sql)
  database.close()
  await plane.start()
}

const copies: Uint8Array[] = []
const databaseFile = () => join(plane.dataDir, 'edgefn.db')

async function restore(): Promise<void> {
  await plane.stop('SIGKILL')
  for (const suffix of ['-wal', '-shm'])
    await Bun.file(`${databaseFile()}${suffix}`)
      .delete()
      .catch(() => undefined)
  writeFileSync(databaseFile(), copies[0] ?? new Uint8Array())
  await plane.start()
}

test('an untouched log is intact, and an export of it proves itself', async () => {
  await nodeHasHead()
  expect(await plane.run('audit', 'verify')).toContain('the audit log is intact')
  const { stdout, stderr } = await plane.cli('audit', 'export')
  const file = join(world.dir, 'audit.jsonl')
  writeFileSync(file, stdout)
  const head = /head (\S+)/.exec(stderr)?.[1] ?? ''
  const verify = (...more: string[]) => plane.cli('audit', 'verify', '--file', file, ...more)
  expect((await verify('--head', head)).stdout).toMatch(/intact: \d+ entries from the first on/)
  const lines = stdout.trimEnd().split('\n')
  writeFileSync(file, lines.slice(0, -1).join('\n'))
  expect((await verify()).code).toBe(0)
  expect((await verify('--head', head)).stdout).toContain('is missing')
  writeFileSync(file, stdout.replace('osaka-1', 'osaka-2'))
  const changed = await verify()
  expect([changed.code, changed.stdout]).toEqual([
    1,
    expect.stringContaining('not what was written'),
  ])
  expect(await plane.run('audit', 'list', '--type', 'join_token')).toContain('create join_token')
  const shown = await plane.run('audit', 'export', '--until', '2001-01-01T00:00:00Z')
  expect(shown).toBe('')
  await plane.stop('SIGTERM')
  const database = new Database(databaseFile())
  database.run('PRAGMA wal_checkpoint(TRUNCATE)')
  database.close()
  copies.push(readFileSync(databaseFile()))
  await plane.start()
}, 120_000)

test('a changed entry breaks the chain', async () => {
  await tamper((database) =>
    database.run(`UPDATE audit_log SET actor = 'key:nobody' WHERE seq = 4`),
  )
  const { code, stdout } = await plane.cli('audit', 'verify')
  expect([code, stdout]).toEqual([1, expect.stringContaining('broken at entry 4')])
  await restore()
}, 120_000)

test('a tail cut off with its counter is told by the node that has seen it', async () => {
  const seen = await nodeHasHead()
  await tamper((database) => {
    database.run(`DELETE FROM audit_log WHERE seq > ${seen.seq - 3}`)
    database.run(`UPDATE sqlite_sequence SET seq = ${seen.seq - 3} WHERE name = 'audit_log'`)
  })
  const verdict = await until('the node says so', async () => {
    const found = await verdictOf()
    return found.mismatches > 0 && found.nodes_stored === 0 ? found : null
  })
  // The chain alone knows nothing: it is unbroken, and has grown since.
  expect([verdict.intact, verdict.problem]).toEqual([false, null])
  expect(verdict.heads[0]).toMatchObject({ node_id: 'tokyo-1-a', seq: seen.seq, hash: seen.hash })
  const { code, stdout } = await plane.cli('audit', 'verify')
  expect([code, stdout]).toEqual([1, expect.stringMatching(/tokyo-1-a +\d+ +ends before/)])
  expect(plane.output).toContain(`row ${seen.seq}, which node tokyo-1-a has seen`)
  const metrics = await (await fetch(`${plane.url}/metrics`)).text()
  expect(metrics).toContain('edgefn_audit_mismatches_total 1')
  const { items } = await plane.api<{ items: { operation: string }[] }>('GET', '/audit-log')
  expect(items.some(({ operation }) => operation === 'mismatch')).toBe(true)
  // The witness keeps what it saw, however the log grows.
  for (let count = 0; count < 8; count += 1) await plane.joinToken('osaka-1')
  await Bun.sleep(1500)
  expect(keptHead()).toEqual(seen)
  expect((await plane.cli('audit', 'verify')).code).toBe(1)
  expect(await plane.run('audit', 'accept', '--reason', 'a drill')).toContain('1 head accepted')
  await nodeHasHead()
  expect(await plane.run('audit', 'verify')).toContain('the audit log is intact')
}, 120_000)

test('a log hashed anew from the middle is told by the node only', async () => {
  const seen = await nodeHasHead()
  await tamper((database) => {
    database.run(`UPDATE audit_log SET actor = 'key:nobody' WHERE seq = 5`)
    let previous_hash: string = FIRST_PREVIOUS_HASH
    for (const row of database
      .query<ChainedRow, []>('SELECT * FROM audit_log ORDER BY seq')
      .all()) {
      const hash = hashOf({ ...row, previous_hash })
      database.run('UPDATE audit_log SET previous_hash = ?, hash = ? WHERE seq = ?', [
        ...[previous_hash, hash],
        row.seq,
      ])
      previous_hash = hash
    }
  })
  const verdict = await until('the node says so', async () => {
    const found = await verdictOf()
    return found.mismatches > 0 && found.nodes_stored === 0 ? found : null
  })
  expect([verdict.intact, verdict.problem]).toEqual([false, null])
  const differing = verdict.heads.find(({ state }) => state === 'differs')
  expect(differing).toMatchObject({ node_id: 'tokyo-1-a', seq: seen.seq, hash: seen.hash })
}, 120_000)
