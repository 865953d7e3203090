/** The file of the stored telemetry, `telemetry.db`: its tables, and a place for them whatever is wrong with the disk. */

import { Database } from 'bun:sqlite'
import { renameSync, rmSync } from 'node:fs'

import { errorMessage } from '../../../errors.ts'
import type { Log } from '../../../telemetry/log.ts'

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    boot_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    -- Unix milliseconds, and those since the boot of the machine.
    ended_at INTEGER NOT NULL,
    monotonic_ms REAL NOT NULL,
    -- Batches whose dropping it tells of.
    dropped INTEGER NOT NULL,
    payload TEXT NOT NULL,
    -- The boot of the machine; null where an agent stored it that did not say.
    machine_boot TEXT
  ) STRICT;
  CREATE TABLE IF NOT EXISTS dropped (id INTEGER PRIMARY KEY CHECK (id = 1), batches INTEGER NOT NULL) STRICT;
  -- Statistics of agents, by the stamp in the names of their files.
  CREATE TABLE IF NOT EXISTS statistics (
    stamp TEXT PRIMARY KEY,
    layout TEXT NOT NULL,
    -- Unix milliseconds, the boot of the machine, and milliseconds since then.
    collected_at INTEGER NOT NULL,
    machine_boot TEXT,
    uptime_ms REAL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS counted (
    stamp TEXT NOT NULL,
    slot INTEGER NOT NULL,
    function_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    counts TEXT NOT NULL,
    PRIMARY KEY (stamp, slot)
  ) STRICT, WITHOUT ROWID;`

const LATER_COLUMNS = [
  ['batches', 'machine_boot', 'TEXT'],
  ['statistics', 'machine_boot', 'TEXT'],
  ['statistics', 'uptime_ms', 'REAL'],
] as const

/** A damaged file is put aside, and without a place on the disk the tables are in memory. */
export function openAnyhow(path: string, log: Log): { database: Database; inMemory: boolean } {
  try {
    return { database: openFile(path), inMemory: false }
  } catch (thrown) {
    const code = codeOf(thrown)
    log.failure('The stored telemetry cannot be opened.', thrown, { context: { path } })
    if (code === 'SQLITE_CORRUPT' || code === 'SQLITE_NOTADB') return openBeside(path, log)
    return { database: open(':memory:'), inMemory: true }
  }
}

/** Begins a new file and keeps the damaged one for whoever wants to look. */
function openBeside(path: string, log: Log): { database: Database; inMemory: boolean } {
  try {
    renameSync(path, `${path}.damaged`)
    for (const suffix of ['-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true })
    return { database: open(path), inMemory: false }
  } catch (thrown) {
    log.warn('Telemetry is kept in memory only.', { error_message: errorMessage(thrown) })
    return { database: open(':memory:'), inMemory: true }
  }
}

function openFile(path: string): Database {
  try {
    return open(path)
  } catch (thrown) {
    if (codeOf(thrown) !== 'SQLITE_IOERR_SHMSIZE') throw thrown
    // On a full disk: the index of a shared WAL is a file, that of an exclusive one is in memory.
    return open(path, 'exclusive')
  }
}

function codeOf(thrown: unknown): unknown {
  return (thrown as { code?: unknown }).code
}

function open(path: string, locking: 'shared' | 'exclusive' = 'shared'): Database {
  const database = new Database(path, { create: true, strict: true })
  try {
    database.run('PRAGMA busy_timeout = 5000')
    if (locking === 'exclusive') database.run('PRAGMA locking_mode = EXCLUSIVE')
    database.run('PRAGMA journal_mode = WAL')
    database.run('PRAGMA synchronous = FULL')
    database.run(SCHEMA)
    addColumns(database)
    const check = database.query<{ quick_check: string }, []>('PRAGMA quick_check(1)').get()
    if (check?.quick_check !== 'ok') throw new DamagedTelemetry(String(check?.quick_check))
    return database
  } catch (thrown) {
    database.close()
    throw thrown
  }
}

/** For a file that an agent made before boots of the machine were noted. */
function addColumns(database: Database): void {
  const known = database
    .query<[string], []>(
      `SELECT 'batches.' || name FROM pragma_table_info('batches')
       UNION ALL SELECT 'statistics.' || name FROM pragma_table_info('statistics')`,
    )
    .values()
  const columns = new Set(known.map(([name]) => name))
  for (const [table, name, type] of LATER_COLUMNS) {
    if (columns.has(`${table}.${name}`)) continue
    database.run(`ALTER TABLE ${table} ADD COLUMN ${name} ${type}`)
  }
}

class DamagedTelemetry extends Error {
  readonly code = 'SQLITE_CORRUPT'
}
