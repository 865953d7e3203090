/** The node's own database `index.db`: which artifacts are cached, and the desired state as last applied. */

import { Database } from 'bun:sqlite'
import { chmodSync, renameSync, rmSync } from 'node:fs'

import type { Log } from '../../../telemetry/log.ts'

export type IndexDatabase = Database

/** Forward only: the position in this list is the schema's version (`PRAGMA user_version`). */
const MIGRATIONS = [
  `CREATE TABLE artifacts (
     function_id TEXT NOT NULL,
     version INTEGER NOT NULL,
     sha256 TEXT NOT NULL,
     path TEXT NOT NULL,
     size_bytes INTEGER NOT NULL,
     last_used INTEGER NOT NULL,
     PRIMARY KEY (function_id, version)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE functions (function_id TEXT PRIMARY KEY, entry TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE routes (route_id TEXT PRIMARY KEY, route TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE node_state (
     id INTEGER PRIMARY KEY CHECK (id = 1),
     revision INTEGER NOT NULL,
     unacknowledged TEXT
   ) STRICT;`,
  'CREATE TABLE blame (id INTEGER PRIMARY KEY CHECK (id = 1), record TEXT NOT NULL) STRICT;',
  'ALTER TABLE node_state ADD COLUMN unread_by TEXT;',
  `CREATE TABLE commands (
     command_id TEXT PRIMARY KEY,
     command TEXT NOT NULL,
     result TEXT,
     acknowledged INTEGER NOT NULL DEFAULT 0,
     begun_at INTEGER NOT NULL
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE modes (id INTEGER PRIMARY KEY CHECK (id = 1), modes TEXT NOT NULL) STRICT;`,
  'CREATE TABLE schemas (function_id TEXT PRIMARY KEY, entries TEXT NOT NULL) STRICT, WITHOUT ROWID;',
]

/**
 * Opens the database and brings its schema up to date. Everything in it can be had again from the control plane, so a
 * damaged file is put aside and a new one begun: better a full sync than a node that does not start.
 */
export function openCacheIndex(path: string, log: Log): IndexDatabase {
  try {
    return open(path)
  } catch (thrown) {
    // On a full disk: the index of a shared WAL is a file, that of an exclusive one is in memory.
    if (codeOf(thrown) === 'SQLITE_IOERR_SHMSIZE') return open(path, 'exclusive')
    if (!isDamage(thrown)) throw thrown
    log.failure('The index is damaged; a new one is begun.', thrown, { context: { path } })
    renameSync(path, `${path}.damaged`)
    for (const suffix of ['-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true })
    return open(path)
  }
}

function open(path: string, locking: 'shared' | 'exclusive' = 'shared'): Database {
  const database = new Database(path, { create: true, strict: true })
  try {
    // It tells what the node serves, and the files beside it take the same mode.
    chmodSync(path, 0o600)
    database.run('PRAGMA busy_timeout = 5000')
    if (locking === 'exclusive') database.run('PRAGMA locking_mode = EXCLUSIVE')
    database.run('PRAGMA journal_mode = WAL')
    // With NORMAL a power loss takes acknowledged rows with it (RELIABILITY finding 7).
    database.run('PRAGMA synchronous = FULL')
    const check = database.query<{ quick_check: string }, []>('PRAGMA quick_check(1)').get()
    if (check?.quick_check !== 'ok') throw new DamagedIndex(String(check?.quick_check))
    migrate(database)
    return database
  } catch (thrown) {
    database.close()
    throw thrown
  }
}

function migrate(database: Database): void {
  const row = database.query<{ user_version: number }, []>('PRAGMA user_version').get()
  const version = row?.user_version ?? 0
  for (let next = version; next < MIGRATIONS.length; next++) {
    database.transaction(() => {
      database.run(MIGRATIONS[next] ?? '')
      database.run(`PRAGMA user_version = ${next + 1}`)
    })()
  }
}

class DamagedIndex extends Error {}

function isDamage(thrown: unknown): boolean {
  if (thrown instanceof DamagedIndex) return true
  const code = codeOf(thrown)
  return code === 'SQLITE_CORRUPT' || code === 'SQLITE_NOTADB'
}

function codeOf(thrown: unknown): unknown {
  return (thrown as { code?: unknown }).code
}
