/** Migrations: each whole or not at all, never backwards, never on a schema that is not ours. */

import { join } from 'node:path'

import { expect, test } from 'bun:test'

import type { Database } from '../../../src/cp/db/database.ts'
import { openDatabase } from '../../../src/cp/db/libsql.ts'
import type { Migration } from '../../../src/cp/db/migrations.ts'
import { MIGRATIONS } from '../../../src/cp/db/migrations.ts'
import { tempFolder } from './temp-database.ts'

const FIRST: Migration = {
  id: 1,
  name: 'first',
  sql: `CREATE TABLE a (x INTEGER); -- a ; in a comment
    CREATE TRIGGER a_guard BEFORE DELETE ON a BEGIN SELECT 1; SELECT RAISE(ABORT, 'kept;'); END;
    INSERT INTO a VALUES (1);`,
}
const SECOND: Migration = { id: 2, name: 'second', sql: 'INSERT INTO a VALUES (2)' }
const BROKEN: Migration = { id: 2, name: 'broken', sql: 'INSERT INTO a VALUES (3); NO SQL;' }

async function open(dir: string, migrations: readonly Migration[]): Promise<Database> {
  return openDatabase({ url: `file:${join(dir, 'm.db')}`, auth_token: null, migrations })
}

async function refusal(opening: Promise<Database>): Promise<string> {
  return opening.then(
    () => 'opened',
    (error: Error) => error.message,
  )
}

test('migrations apply once each, in order, with triggers intact', async () => {
  await using folder = await tempFolder()
  await (await open(folder.path, [FIRST])).close()
  const db = await open(folder.path, [FIRST, SECOND])
  expect(await db.all('SELECT x FROM a')).toEqual([{ x: 1 }, { x: 2 }])
  expect(await db.all('SELECT id, name FROM schema_migrations')).toEqual([
    { id: 1, name: 'first' },
    { id: 2, name: 'second' },
  ])
  await expect(db.run('DELETE FROM a')).rejects.toThrow('kept;')
  await db.close()
})

test('a migration that fails leaves the database as it was before it', async () => {
  await using folder = await tempFolder()
  expect(await refusal(open(folder.path, [FIRST, BROKEN]))).toContain('syntax error')
  const db = await open(folder.path, [FIRST])
  expect(await db.all('SELECT x FROM a')).toEqual([{ x: 1 }])
  await db.close()
})

test('a database of a newer edgefn, and one with another history, are refused', async () => {
  await using folder = await tempFolder()
  await (await open(folder.path, [FIRST, SECOND])).close()
  expect(await refusal(open(folder.path, [FIRST]))).toContain('has migration 2 (second)')
  const edited = { ...SECOND, sql: `${SECOND.sql}, (3)` }
  expect(await refusal(open(folder.path, [FIRST, edited]))).toContain('another text of migration 2')
})

test('versions registered before there was an allow-list have an empty one, and keep their instances', async () => {
  await using folder = await tempFolder()
  const before = await open(folder.path, MIGRATIONS.slice(0, 3))
  await before.run(
    `INSERT INTO functions (id, name, description, created_at, updated_at) VALUES ('f', 'f', '', 't', 't')`,
  )
  await before.run(
    `INSERT INTO versions (function_id, version, state, entrypoint, memory_pages, max_execution_ms, quotas, env,
       message, created_by, created_at)
     VALUES ('f', 1, 'pending_upload', 'handle', 16, 500, '{}', '{}', '', 'k', 't')`,
  )
  await before.close()
  const db = await open(folder.path, MIGRATIONS)
  expect(await db.all('SELECT http_allow, isolation FROM versions')).toEqual([
    { http_allow: '[]', isolation: 'instance' },
  ])
  await db.close()
})

test('the embedded migrations are in ascending order, each number once', () => {
  const ids = MIGRATIONS.map((migration) => migration.id)
  expect(ids).toEqual([...new Set(ids)].sort((a, b) => a - b))
})
