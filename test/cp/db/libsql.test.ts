/** The database on real files: pragmas, transactions, locks, errors. */

import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'bun:test'

import { isUniqueViolation } from '../../../src/cp/db/constraint.ts'
import type { Transaction } from '../../../src/cp/db/database.ts'
import { openDatabase } from '../../../src/cp/db/libsql.ts'
import { MIGRATIONS } from '../../../src/cp/db/migrations.ts'
import { EdgefnError, errorMessage } from '../../../src/errors.ts'
import { tempDatabase, tempFolder } from './temp-database.ts'

const INSERT =
  'INSERT INTO functions (id, name, description, created_at, updated_at) VALUES (?, ?, ?, ?, ?)'

function insert(tx: Transaction, id: string, name = id): Promise<number> {
  return tx.run(INSERT, [id, name, '', 'now', 'now'])
}

/** Takes the write lock of a database in a process of its own: locks do not hold within one. */
async function holdLock(path: string): Promise<AsyncDisposable> {
  const script = `const db = new (require('bun:sqlite').Database)(${JSON.stringify(path)})
    db.run('BEGIN IMMEDIATE'); console.log('held'); await Bun.stdin.text(); db.run('ROLLBACK')`
  const child = Bun.spawn([process.execPath, '-e', script], { stdin: 'pipe', stdout: 'pipe' })
  const { value } = await child.stdout.getReader().read()
  expect(new TextDecoder().decode(value)).toBe('held\n')
  return {
    async [Symbol.asyncDispose]() {
      child.stdin.end()
      expect(await child.exited).toBe(0)
    },
  }
}

async function failure(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => null,
    (error: unknown) => error,
  )
}

async function codeOf(work: Promise<unknown>): Promise<string | null> {
  const error = await failure(work)
  return error instanceof EdgefnError ? error.code : `${error}`
}

test('a transaction writes with WAL, synchronous=FULL, foreign keys and a busy timeout, also after a rollback', async () => {
  await using temp = await tempDatabase()
  const pragmas = (tx: Transaction) =>
    Promise.all(
      ['journal_mode', 'synchronous', 'foreign_keys', 'busy_timeout'].map(async (name) =>
        Object.values((await tx.get(`PRAGMA ${name}`)) ?? {}).at(0),
      ),
    )
  expect(await temp.db.write(pragmas)).toEqual(['wal', 2, 1, 5000])
  await failure(
    temp.db.write(async () => {
      throw new Error('no')
    }),
  )
  expect(await temp.db.write(pragmas)).toEqual(['wal', 2, 1, 5000])
})

test('the database file is readable by its owner only, the write-ahead log too', async () => {
  await using temp = await tempDatabase()
  await temp.db.write((tx) => insert(tx, 'a'))
  for (const name of ['edgefn.db', 'edgefn.db-wal']) {
    expect(statSync(join(temp.dir, name)).mode & 0o777).toBe(0o600)
  }
})

test('a rejected transaction leaves nothing and passes its error on', async () => {
  await using temp = await tempDatabase()
  const reason = new Error('changed my mind')
  const work = temp.db.write(async (tx) => {
    await insert(tx, 'a')
    throw reason
  })
  expect(await failure(work)).toBe(reason)
  expect(await temp.db.all('SELECT * FROM functions')).toEqual([])
})

test('transactions queue: none sees another half done, whatever they wait for', async () => {
  await using temp = await tempDatabase()
  await Promise.all(
    Array.from({ length: 30 }, () =>
      temp.db.write(async (tx) => {
        const row = await tx.get('SELECT revision FROM revision_counter')
        await Bun.sleep(0)
        await tx.run('UPDATE revision_counter SET revision = ?', [Number(row?.['revision']) + 1])
      }),
    ),
  )
  expect(await temp.db.get('SELECT revision FROM revision_counter')).toEqual({ revision: 30 })
})

test('reads see the state before an open transaction, and cannot write', async () => {
  await using temp = await tempDatabase()
  await temp.db.write(async (tx) => {
    await insert(tx, 'a')
    expect(await temp.db.all('SELECT id FROM functions')).toEqual([])
  })
  expect(await temp.db.all('SELECT id FROM functions')).toEqual([{ id: 'a' }])
  expect(await failure(temp.db.all(`DELETE FROM functions RETURNING id`))).not.toBeNull()
  expect(await temp.db.run('UPDATE functions SET name = ?', ['b'])).toBe(1)
})

test('constraint violations are told apart', async () => {
  await using temp = await tempDatabase()
  await temp.db.write((tx) => insert(tx, 'a', 'name'))
  const twice = await failure(temp.db.write((tx) => insert(tx, 'b', 'name')))
  expect(isUniqueViolation(twice)).toBe(true)
  const orphan = await failure(
    temp.db.run(
      `INSERT INTO versions (function_id, version, state, entrypoint, memory_pages, max_execution_ms, quotas, env, message,
       created_at) VALUES ('none', 1, 'pending_upload', 'handle', 1, 1, '{}', '{}', '', 'now')`,
    ),
  )
  expect(isUniqueViolation(orphan)).toBe(false)
  expect(errorMessage(orphan)).toContain('FOREIGN KEY')
})

test('a transaction goes on after a violation it caught', async () => {
  await using temp = await tempDatabase()
  await temp.db.write(async (tx) => {
    await insert(tx, 'a')
    expect(isUniqueViolation(await failure(insert(tx, 'a', 'other')))).toBe(true)
    await insert(tx, 'b')
  })
  expect(await temp.db.all('SELECT id FROM functions ORDER BY id')).toEqual([
    { id: 'a' },
    { id: 'b' },
  ])
})

test('who waits for the lock of another process holds up nobody else, and readiness says so', async () => {
  await using temp = await tempDatabase()
  let longestMs = 0
  let written: Promise<unknown>
  {
    await using _lock = await holdLock(join(temp.dir, 'edgefn.db'))
    written = temp.db.write((tx) => insert(tx, 'a'))
    const from = performance.now()
    for (let last = from; last - from < 2_500;) {
      expect(await temp.db.get('SELECT 1 AS one')).toEqual({ one: 1 })
      await Bun.sleep(1)
      longestMs = Math.max(longestMs, performance.now() - last)
      last = performance.now()
    }
    expect(await codeOf(temp.db.ping())).toBe('database_unavailable')
  }
  await written
  await temp.db.ping()
  // In the driver, the wait would have been one piece.
  expect(longestMs).toBeLessThan(2_000)
  expect(await temp.db.all('SELECT id FROM functions')).toEqual([{ id: 'a' }])
})

test('readiness is back when the lock is, though nobody writes', async () => {
  await using temp = await tempDatabase()
  {
    await using _lock = await holdLock(join(temp.dir, 'edgefn.db'))
    expect(await codeOf(temp.db.write((tx) => insert(tx, 'a')))).toBe('database_unavailable')
    expect(await codeOf(temp.db.ping())).toBe('database_unavailable')
  }
  await temp.db.ping()
})

test('a lock held by another process is database_unavailable, and the next transaction commits (libsql-client-ts#352)', async () => {
  await using temp = await tempDatabase()
  const path = join(temp.dir, 'edgefn.db')
  {
    await using _lock = await holdLock(path)
    expect(await codeOf(temp.db.write((tx) => insert(tx, 'a')))).toBe('database_unavailable')
  }
  await temp.db.write((tx) => insert(tx, 'b'))
  await using _again = await holdLock(path)
  expect(await temp.db.all('SELECT id FROM functions')).toEqual([{ id: 'b' }])
  // The busy timeout of five seconds has to pass.
}, 120_000)

test('transactions open no file that stays open (libsql-client-ts#350)', async () => {
  await using temp = await tempDatabase()
  const openFiles = () => readdirSync('/proc/self/fd').length
  await temp.db.write((tx) => insert(tx, 'first'))
  const before = openFiles()
  for (let i = 0; i < 100; i += 1) {
    const work = temp.db.write(async (tx) => {
      await insert(tx, `${i}`)
      if (i % 2 === 0) throw new Error('rolled back')
    })
    await failure(work)
  }
  expect(openFiles()).toBeLessThanOrEqual(before)
})

test('close lets what is queued finish; afterwards the database is unavailable', async () => {
  await using temp = await tempDatabase()
  const second = await openDatabase({ url: temp.url, auth_token: null, migrations: [] }).catch(
    () => null,
  )
  expect(second).toBeNull()
  const queued = temp.db.write((tx) => insert(tx, 'a'))
  await temp.db.close()
  expect(await queued).toBe(1)
  expect(await codeOf(temp.db.ping())).toBe('database_unavailable')
})

test('a server that cannot be reached is database_unavailable', async () => {
  const opening = openDatabase({
    url: 'http://127.0.0.1:1',
    auth_token: 'token',
    migrations: [],
  })
  expect(await codeOf(opening)).toBe('database_unavailable')
})

test('a URL that the driver does not take is invalid_config', async () => {
  await using temp = await tempDatabase()
  const opening = openDatabase({ url: `${temp.url}?x=1`, auth_token: null, migrations: [] })
  expect(await codeOf(opening)).toBe('invalid_config')
})

test('a statement that is kept goes on after the schema changed, and after it failed', async () => {
  await using temp = await tempDatabase()
  const { db, url } = temp
  const read = () => db.get('SELECT * FROM functions WHERE id = ?', ['a'])
  await db.write((tx) => insert(tx, 'a'))
  expect(await read()).not.toHaveProperty('added')
  // By another process's hand, as far as the connections can tell.
  await using other = await openDatabase({
    url,
    auth_token: null,
    migrations: [
      ...MIGRATIONS,
      {
        id: Math.max(...MIGRATIONS.map((migration) => migration.id)) + 1,
        name: 'added',
        sql: "ALTER TABLE functions ADD COLUMN added TEXT NOT NULL DEFAULT 'here'",
      },
    ],
  }).then((opened) => ({ [Symbol.asyncDispose]: () => opened.close() }))
  expect(other).toBeDefined()
  expect(await read()).toMatchObject({ added: 'here' })
  expect(await failure(db.write((tx) => insert(tx, 'a')))).toBeInstanceOf(Error)
  await db.write((tx) => insert(tx, 'b'))
  expect(await db.all('SELECT id FROM functions ORDER BY id')).toEqual([{ id: 'a' }, { id: 'b' }])
})

test('a database whose last write fails is closed none the less', async () => {
  await using folder = await tempFolder()
  const db = await openDatabase({
    url: `file:${join(folder.path, 'edgefn.db')}`,
    auth_token: null,
    migrations: MIGRATIONS,
  })
  await db.write((tx) => tx.get('PRAGMA busy_timeout = 1'))
  await using _lock = await holdLock(join(folder.path, 'edgefn.db'))
  expect(await codeOf(db.close())).toBe('database_unavailable')
  expect(errorMessage(await failure(db.get('SELECT 1')))).toBe('The database is closed.')
})
