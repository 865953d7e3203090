/**
 * A database file, by libSQL's own driver and not by the client, which prepares every statement anew: kept statements took a sixth
 * of the time of a read and a twentieth of that of a small transaction. The driver works in the calling thread either way.
 */

import { closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'

import Driver from 'libsql'

import { EdgefnError } from '../../errors.ts'
import type { Connection, OpenTransaction, Part } from './connection.ts'
import type { Row, Sql, SqlValue } from './database.ts'
import { isBusy, mapDriverError } from './driver-error.ts'

/** Milliseconds a transaction, or a statement outside of one, waits for a lock that another process holds. */
const busyTimeoutMs = 5_000
/** Milliseconds between two tries to begin. */
const beginEveryMs = 10
/** From so many milliseconds without a transaction on, the database counts as not usable: another process holds the lock and does not let go. */
const heldMsMax = 2_000
/** Prepared statements that a connection keeps; statements whose text is made as they are needed are few. */
const statementsMax = 500

type Statement = ReturnType<Driver.Database['prepare']>

/**
 * Two connections: one that only reads, so that reads neither see nor wait for an open transaction, and one that only
 * writes. `url` is `file:PATH`.
 */
export function openFile(url: string): Connection {
  const path = url
    .slice('file:'.length)
    .replace(/^\/\/(?=\/)/, '')
    .replace(/\?.*$/, '')
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  // SQLite gives the WAL the mode of the file; both hold hashes and environments, so nobody else reads them.
  closeSync(openSync(path, 'a', 0o600))
  const writer = new FileSql(path)
  // FULL: with NORMAL a power loss takes back acknowledged writes (RELIABILITY finding 7).
  writer.script('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON')
  const reader = new FileSql(path)
  reader.script('PRAGMA query_only = ON')
  const lock: Lock = { heldSinceMs: null }
  return {
    reader: reader.sql,
    begin: () => begin(writer, lock),
    async ping() {
      await reader.sql.get('SELECT 1')
      if (lock.heldSinceMs !== null) look(writer, lock)
      const heldMs = lock.heldSinceMs === null ? 0 : performance.now() - lock.heldSinceMs
      if (heldMs < heldMsMax) return
      const message = `Another process has held the lock of the database for ${Math.round(heldMs / 1000)} s.`
      throw new EdgefnError('database_unavailable', message)
    },
    close() {
      reader.close()
      writer.close()
    },
  }
}

/** Whether another process keeps this one from writing. */
interface Lock {
  /** Monotonic milliseconds of the first try to begin that failed for that; null once one did not. */
  heldSinceMs: number | null
}

/**
 * Waits for the lock here and not in the driver, which would hold up everything that this process does. As a script: a prepared BEGIN
 * that fails with SQLITE_BUSY stays in progress and breaks the next COMMIT (libsql-client-ts#352).
 */
async function begin(writer: FileSql, lock: Lock): Promise<OpenTransaction> {
  const giveUpAt = performance.now() + busyTimeoutMs
  for (;;) {
    try {
      writer.script(
        `PRAGMA busy_timeout = 0; BEGIN IMMEDIATE; PRAGMA busy_timeout = ${busyTimeoutMs}`,
      )
      lock.heldSinceMs = null
      return opened(writer)
    } catch (thrown) {
      if (!isBusy(thrown)) throw thrown
      lock.heldSinceMs ??= performance.now()
      if (performance.now() >= giveUpAt) throw thrown
      await Bun.sleep(beginEveryMs)
    }
  }
}

/** Whoever failed to begin last may have given up since: only another try tells whether the lock is held still. */
function look(writer: FileSql, lock: Lock): void {
  if (writer.inTransaction) return
  try {
    writer.script(
      `PRAGMA busy_timeout = 0; BEGIN IMMEDIATE; ROLLBACK; PRAGMA busy_timeout = ${busyTimeoutMs}`,
    )
    lock.heldSinceMs = null
  } catch (thrown) {
    if (!isBusy(thrown)) throw thrown
  }
}

function opened(writer: FileSql): OpenTransaction {
  let open = true
  return {
    ...writer.sql,
    transaction: true,
    part: (work) => runPart(writer, work),
    script: async (sql) => writer.script(sql),
    commit: async () => {
      writer.script('COMMIT')
      open = false
    },
    close() {
      if (!open) return
      open = false
      // What has failed may have rolled back already.
      if (writer.inTransaction) writer.script('ROLLBACK')
    },
  }
}

async function runPart<T>(writer: FileSql, work: () => Promise<T>): Promise<Part<T>> {
  writer.step('SAVEPOINT part')
  try {
    const result = await work()
    writer.step('RELEASE part')
    return { failed: false, result }
  } catch (thrown) {
    // A full disk or a failed write takes everything back, not only what failed.
    const lost = !writer.inTransaction
    if (!lost) writer.script('ROLLBACK TO part; RELEASE part')
    return { failed: true, thrown, lost }
  }
}

class FileSql {
  readonly sql: Sql
  readonly #driver: Driver.Database
  /** By their text, the least recently used first. */
  readonly #statements = new Map<string, Statement>()
  #closed = false

  constructor(path: string) {
    this.#driver = this.#mapped(() => new Driver(path, { timeout: busyTimeoutMs }))
    this.sql = {
      all: async (text, parameters = []) => this.#all(text, parameters),
      get: async (text, parameters = []) => this.#all(text, parameters)[0] ?? null,
      run: async (text, parameters = []) => this.#run(text, parameters),
    }
  }

  get inTransaction(): boolean {
    return this.#driver.inTransaction
  }

  /** Several statements at once, split by the database's own parser. */
  script(text: string): void {
    this.#mapped(() => this.#driver.exec(text))
  }

  /** One statement that is kept, where nothing waits for anything. */
  step(text: string): void {
    this.#run(text, [])
  }

  close(): void {
    this.#closed = true
    this.#statements.clear()
    this.#driver.close()
  }

  /** The cast is the border: the schema has no BLOB column, so values are SqlValues. */
  #all(text: string, parameters: readonly SqlValue[]): Row[] {
    return this.#mapped(() => this.#statement(text).all([...parameters]) as Row[])
  }

  #run(text: string, parameters: readonly SqlValue[]): number {
    return this.#mapped(() => this.#statement(text).run([...parameters]).changes)
  }

  #statement(text: string): Statement {
    const kept = this.#statements.get(text)
    if (kept !== undefined) {
      this.#statements.delete(text)
      this.#statements.set(text, kept)
      return kept
    }
    const made = this.#driver.prepare(text)
    this.#statements.set(text, made)
    const [oldest] = this.#statements.keys()
    if (this.#statements.size > statementsMax && oldest !== undefined) {
      this.#statements.delete(oldest)
    }
    return made
  }

  #mapped<T>(work: () => T): T {
    if (this.#closed) throw new EdgefnError('database_unavailable', 'The database is closed.')
    try {
      return work()
    } catch (thrown) {
      throw mapDriverError(thrown)
    }
  }
}
