/** One function's keys in one SQLite file, as one thread has it open. Every operation is one transaction of its own. */

import { constants, Database } from 'bun:sqlite'
import { mkdirSync, statSync } from 'node:fs'

import { LIMITS } from '../../../../protocol/limits.ts'
import { kvLogFile, kvStoreFile } from '../../../kv-files.ts'

/** Forward only: the position in this list is the schema's version (`PRAGMA user_version`). */
const MIGRATIONS = [
  `CREATE TABLE entries (
     key BLOB NOT NULL PRIMARY KEY,
     expires_at INTEGER,
     value BLOB NOT NULL
   ) STRICT;
   CREATE INDEX entries_expiry ON entries (expires_at) WHERE expires_at IS NOT NULL;
   CREATE TABLE usage (
     id INTEGER PRIMARY KEY CHECK (id = 1), keys INTEGER NOT NULL, bytes INTEGER NOT NULL
   ) STRICT;
   INSERT INTO usage VALUES (1, 0, 0);
   CREATE TRIGGER entries_added AFTER INSERT ON entries BEGIN
     UPDATE usage SET keys = keys + 1, bytes = bytes + length(new.key) + length(new.value);
   END;
   CREATE TRIGGER entries_changed AFTER UPDATE ON entries BEGIN
     UPDATE usage SET bytes = bytes + length(new.value) - length(old.value);
   END;
   CREATE TRIGGER entries_removed AFTER DELETE ON entries BEGIN
     UPDATE usage SET keys = keys - 1, bytes = bytes - length(old.key) - length(old.value);
   END;`,
]

/** Who writes faster than the keeper writes the log back waits for it from here on. */
const logBytesMax = 64 * 1024 * 1024
/** Rows looked at, or removed, between two looks at the clock. */
const scanRows = 256
const sweepRows = 32
const cacheKib = 256

/** The log is as long as it may be; to be tried again when it was written back. */
export class KvLogFull extends Error {
  override readonly name = 'KvLogFull'
}

/** Says that the caller's time is over; asked between pieces of work that may be many. */
export type Late = () => boolean

export interface KvUsage {
  readonly keys: number
  readonly bytes: number
}

export class KvStore {
  readonly #database: Database
  readonly #get
  readonly #find
  readonly #put
  readonly #delete
  readonly #scan
  readonly #usage
  readonly #sweep
  readonly #log: string
  readonly #moved = new Int32Array(2)

  /** Opens the store in `dir`, made when it is missing. Throws what SQLite throws, SQLITE_BUSY while another makes it. */
  constructor(dir: string) {
    this.#log = kvLogFile(dir)
    this.#database = openDatabase(dir)
    try {
      this.#get = this.#database.query<{ value: Uint8Array<ArrayBuffer> }, [Uint8Array, number]>(
        'SELECT value FROM entries WHERE key = ?1 AND (expires_at IS NULL OR expires_at > ?2)',
      )
      this.#find = this.#database.query<{ bytes: number }, [Uint8Array]>(
        'SELECT length(key) + length(value) AS bytes FROM entries WHERE key = ?1',
      )
      this.#put = this.#database.query(
        `INSERT INTO entries VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET expires_at = excluded.expires_at, value = excluded.value`,
      )
      this.#delete = this.#database.query<{ live: number }, [Uint8Array, number]>(
        'DELETE FROM entries WHERE key = ?1 RETURNING expires_at IS NULL OR expires_at > ?2 AS live',
      )
      this.#scan = this.#database.query<
        { key: Uint8Array<ArrayBuffer>; expires_at: number | null },
        [Uint8Array, number]
      >(`SELECT key, expires_at FROM entries WHERE key > ?1 ORDER BY key LIMIT ?2`)
      this.#usage = this.#database.query<KvUsage, []>('SELECT keys, bytes FROM usage')
      this.#sweep = this.#database.query(
        'DELETE FROM entries WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2',
      )
    } catch (thrown) {
      this.#database.close()
      throw thrown
    }
  }

  /** Whether the file has been moved or removed under its name: what is written here, nobody else would see. */
  get moved(): boolean {
    this.#database.fileControl(constants.SQLITE_FCNTL_HAS_MOVED, this.#moved)
    return this.#moved[0] !== 0
  }

  usage(): KvUsage {
    return this.#usage.get() ?? { keys: 0, bytes: 0 }
  }

  get(key: Uint8Array, nowMs: number): Uint8Array<ArrayBuffer> | null {
    return this.#get.get(key, nowMs)?.value ?? null
  }

  /**
   * False, and nothing is changed, when it would pass the function's share even without what has expired. Throws KvLogFull,
   * for a guest must not write the log back itself: it could not be stopped while it waits for the disk.
   */
  put(
    key: Uint8Array,
    value: Uint8Array,
    expiresAt: number | null,
    nowMs: number,
    late: Late,
  ): boolean {
    for (;;) {
      const logBytes = statSync(this.#log, { throwIfNoEntry: false })?.size ?? 0
      if (logBytes > logBytesMax) throw new KvLogFull()
      const stored = this.#transaction(() => {
        if (!this.#fits(key, value)) return false
        this.#put.run(key, expiresAt, value)
        return true
      })
      if (stored) return true
      if (late() || this.#sweepSome(nowMs) === 0) return false
    }
  }

  /** Whether the key was there. */
  delete(key: Uint8Array, nowMs: number): boolean {
    return this.#delete.get(key, nowMs)?.live === 1
  }

  /**
   * Keys that begin with `prefix` and come after `after`, in the order of their bytes, as many as `take` accepts: it is
   * given one key after another and says whether it wants more. Stops when it is late.
   */
  list(
    prefix: Uint8Array,
    after: Uint8Array,
    nowMs: number,
    late: Late,
    take: (key: Uint8Array<ArrayBuffer>) => boolean,
  ): void {
    // No key is empty and so none is before the first; a key equal to the prefix begins with it too.
    if (prefix.length > 0 && Buffer.compare(prefix, after) > 0) {
      if (this.get(prefix, nowMs) !== null && !take(Uint8Array.from(prefix))) return
    }
    let from = Buffer.compare(prefix, after) > 0 ? prefix : after
    while (!late()) {
      const rows = this.#scan.all(from, scanRows)
      for (const { key, expires_at } of rows) {
        if (!startsWith(key, prefix)) return
        const live = expires_at === null || expires_at > nowMs
        if (live && !take(key)) return
      }
      const last = rows.at(-1)
      if (last === undefined || rows.length < scanRows) return
      from = last.key
    }
  }

  /** Removes expired entries, until there are no more or it is late; 0 when there were none. */
  sweep(nowMs: number, late: Late): number {
    let removed = 0
    while (!late()) {
      const some = this.#sweepSome(nowMs)
      if (some === 0) break
      removed += some
    }
    return removed
  }

  /**
   * Writes the log back into the file and begins it anew, and gives free pages back to the disk. Writers wait only for the
   * end of it. Does nothing for as long as others are busy.
   */
  checkpoint(): void {
    this.#database.run(`PRAGMA incremental_vacuum(${scanRows})`)
    this.#database.run('PRAGMA wal_checkpoint(PASSIVE)')
    this.#database.run('PRAGMA wal_checkpoint(TRUNCATE)')
    // The first write into an empty log waits for the disk: better here than in a guest's call.
    this.#database.run('UPDATE usage SET id = 1')
  }

  close(): void {
    this.#database.close()
  }

  /** How many rows changed: those of the triggers are counted as well, so only none means none. */
  #sweepSome(nowMs: number): number {
    return this.#sweep.run(nowMs, sweepRows).changes
  }

  #fits(key: Uint8Array, value: Uint8Array): boolean {
    const { keys, bytes } = this.usage()
    const old = this.#find.get(key)?.bytes
    return (
      keys + (old === undefined ? 1 : 0) <= LIMITS.kvKeysMax &&
      bytes + key.length + value.length - (old ?? 0) <= LIMITS.kvBytesMax
    )
  }

  #transaction<T>(work: () => T): T {
    this.#database.run('BEGIN IMMEDIATE')
    try {
      const result = work()
      this.#database.run('COMMIT')
      return result
    } catch (thrown) {
      if (this.#database.inTransaction) this.#database.run('ROLLBACK')
      throw thrown
    }
  }
}

function startsWith(key: Uint8Array, prefix: Uint8Array): boolean {
  return key.length >= prefix.length && Buffer.compare(key.subarray(0, prefix.length), prefix) === 0
}

function openDatabase(dir: string): Database {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const database = new Database(kvStoreFile(dir), { create: true, strict: true })
  try {
    // Waiting is the caller's, who knows until when.
    database.run('PRAGMA busy_timeout = 0')
    // There is nothing to lose yet, and the caller is a guest that would wait for the disk a dozen times.
    database.run('PRAGMA synchronous = OFF')
    if (versionOf(database) < MIGRATIONS.length) migrate(database)
    // A killed process loses nothing that was acknowledged; a power loss what was written since the last checkpoint.
    database.run('PRAGMA synchronous = NORMAL')
    database.run('PRAGMA wal_autocheckpoint = 0')
    database.run(`PRAGMA cache_size = -${cacheKib}`)
    return database
  } catch (thrown) {
    database.close()
    throw thrown
  }
}

function migrate(database: Database): void {
  database.run('PRAGMA auto_vacuum = INCREMENTAL')
  database.run('PRAGMA journal_mode = WAL')
  database
    .transaction(() => {
      for (let next = versionOf(database); next < MIGRATIONS.length; next += 1) {
        database.run(MIGRATIONS[next] ?? '')
        database.run(`PRAGMA user_version = ${next + 1}`)
      }
    })
    .immediate()
}

function versionOf(database: Database): number {
  const row = database.query<{ user_version: number }, []>('PRAGMA user_version').get()
  return row?.user_version ?? 0
}
