/** The databases an executor thread has open, and what becomes of one that is locked, moved away or damaged. */

import { existsSync, renameSync, rmSync, statfsSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'

import type { Libc } from '../../../../../ffi/libc.ts'
import { CORRUPT_VTAB, SQLITE, SqliteError } from '../../../../../ffi/sqlite.ts'
import { LIMITS } from '../../../../protocol/limits.ts'
import { sqlDamagedDir, sqlDatabaseDir, sqlDatabaseFile } from '../../../../sql/database-files.ts'
import type { NodeLog } from '../node-log.ts'
import { FunctionDatabase, SqlLogFull } from './function-database.ts'
import type { SqlRequest } from './function-database.ts'

/** Open databases per thread, of three file descriptors each; the least recently used is closed between calls. */
const databasesMax = 16
/** Milliseconds between two tries to get a database that others are writing to: at first, and at most. */
const retryMsMin = 0.1
const retryMsMax = 8
/** Waiting for so long and longer is sleeping: the thread rests, so that others can run. */
const restMsMin = 2
/** A statement that sorts much keeps it in files. It is stopped when the disk has less left than this; looked at so often. */
const freeBytesMin = 256 * 1024 * 1024
const diskCheckMs = 100

/** Why a statement brought nothing. */
export type SqlFailure = 'no_database' | 'deadline' | 'busy' | 'full' | 'unavailable'

/** The call in whose name a statement runs. */
export interface SqlCall {
  /** Milliseconds; negative when its deadline has passed. */
  leftMs(): number
  /** Whether it was told to stop. */
  stopped(): boolean
}

export interface SqlDatabasesOptions {
  /** Directory with one directory per function. */
  readonly dir: string
  readonly log: NodeLog
  readonly libc: Libc
  /** `Host.sleeping`. */
  readonly sleeping: <T>(leftMs: () => number, wait: () => T) => T
}

/** Nothing ever writes here: waiting on it is sleeping. */
const never = new Int32Array(new SharedArrayBuffer(4))

export class SqlDatabases {
  readonly #options: SqlDatabasesOptions
  /** By function, least recently used first. */
  readonly #open = new Map<string, FunctionDatabase>()
  /** The file that was opened last for a function, by its inode: another one under its name is not the one that is damaged. */
  readonly #inodes = new Map<string, bigint>()
  /** Whose statement runs now. */
  #call: SqlCall | null = null
  #diskCheckedAt = -Infinity
  #diskFull = false

  constructor(options: SqlDatabasesOptions) {
    this.#options = options
  }

  /**
   * Runs a statement in the function's database: the document of its result, or why there is none; it has changed nothing
   * then. Throws what the statement is at fault for: SqliteError, SqlRefused, SqlTooLarge.
   */
  run(
    functionId: string,
    call: SqlCall,
    request: SqlRequest,
  ): Uint8Array<ArrayBuffer> | SqlFailure {
    this.#call = call
    try {
      return this.#untilFree(functionId, call, request)
    } catch (thrown) {
      if (!(thrown instanceof SqliteError)) throw thrown
      return this.#failed(functionId, call, thrown)
    } finally {
      this.#call = null
    }
  }

  /** Closes what is open too many; to be called when no guest waits. */
  trim(): void {
    for (const functionId of this.#open.keys()) {
      if (this.#open.size <= databasesMax) return
      this.forget(functionId)
    }
  }

  /** Closes the database of a function that is not run here any more; to be called when no guest waits. */
  forget(functionId: string): void {
    this.#open.get(functionId)?.close()
    this.#open.delete(functionId)
    this.#inodes.delete(functionId)
  }

  close(): void {
    for (const functionId of [...this.#open.keys()]) this.forget(functionId)
  }

  #untilFree(
    functionId: string,
    call: SqlCall,
    request: SqlRequest,
  ): Uint8Array<ArrayBuffer> | SqlFailure {
    const { libc, sleeping } = this.#options
    const until = libc.monotonicMs() + LIMITS.sqlBusyMsMax
    for (let retryMs = retryMsMin; ; retryMs = Math.min(retryMs * 2, retryMsMax)) {
      try {
        const database = this.#database(functionId)
        return database === null ? 'no_database' : database.run(request)
      } catch (thrown) {
        if (!(thrown instanceof SqlLogFull) && !isBusy(thrown)) throw thrown
      }
      if (call.leftMs() <= 0 || call.stopped()) return 'deadline'
      const busyMs = until - libc.monotonicMs()
      if (busyMs <= 0) return 'busy'
      // At random, so that two who met do not meet again.
      const ms = Math.min(call.leftMs(), busyMs, retryMs * (0.5 + Math.random()))
      const wait = () => Atomics.wait(never, 0, 0, ms)
      if (ms < restMsMin) wait()
      else sleeping(() => call.leftMs(), wait)
    }
  }

  /** Null when the function has none: nothing but a schema makes one. */
  #database(functionId: string): FunctionDatabase | null {
    const dir = sqlDatabaseDir(this.#options.dir, functionId)
    if (this.#open.get(functionId)?.moved === true) this.forget(functionId)
    const kept = this.#open.get(functionId)
    if (kept === undefined && !existsSync(sqlDatabaseFile(dir))) return null
    if (kept === undefined) this.#inodes.set(functionId, inodeOf(dir))
    const database = kept ?? new FunctionDatabase(dir, () => this.#stops(), this.#options.libc)
    this.#open.delete(functionId)
    this.#open.set(functionId, database)
    return database
  }

  #stops(): boolean {
    const call = this.#call
    return call === null || call.leftMs() <= 0 || call.stopped() || this.#isDiskFull()
  }

  #isDiskFull(): boolean {
    const now = this.#options.libc.monotonicMs()
    if (now < this.#diskCheckedAt + diskCheckMs) return this.#diskFull
    this.#diskCheckedAt = now
    try {
      const { bavail, bsize } = statfsSync(tmpdir())
      this.#diskFull = bavail * bsize < freeBytesMin
    } catch {
      this.#diskFull = false
    }
    return this.#diskFull
  }

  #failed(functionId: string, call: SqlCall, error: SqliteError): SqlFailure {
    // An index of full-text search that is not as its content, which guests can bring about: the rows are whole.
    if (error.code === CORRUPT_VTAB) throw error
    switch (error.primary) {
      case SQLITE.INTERRUPT:
        return call.leftMs() <= 0 || call.stopped() ? 'deadline' : 'unavailable'
      case SQLITE.FULL:
        return 'full'
      case SQLITE.CORRUPT:
      case SQLITE.NOTADB:
        this.#putAside(functionId, error)
        return 'unavailable'
      case SQLITE.IOERR:
      case SQLITE.CANTOPEN:
      case SQLITE.READONLY:
      case SQLITE.NOMEM:
        this.#options.log.failure('The database of a function cannot be used now.', error, {
          function_id: functionId,
        })
        this.forget(functionId)
        return 'unavailable'
      default:
        throw error
    }
  }

  /**
   * A damaged database would fail for ever; when it is missing, the agent makes it anew from the schemas. Others may find the
   * same damage meanwhile: it is moved once, and what stands in its place by then is left there.
   */
  #putAside(functionId: string, error: SqliteError): void {
    const { dir, log } = this.#options
    const fields = { function_id: functionId }
    const database = sqlDatabaseDir(dir, functionId)
    const inode = this.#inodes.get(functionId)
    try {
      if (inode === undefined || inodeOf(database) !== inode) return
      const aside = sqlDamagedDir(dir, functionId)
      const moving = sqlDamagedDir(dir, `${functionId}.${crypto.randomUUID()}`)
      renameSync(database, moving)
      // One move is whole, but another may have come between the look and the move.
      if (inodeOf(moving) !== inode) {
        renameSync(moving, database)
        return
      }
      rmSync(aside, { recursive: true, force: true })
      renameSync(moving, aside)
      log.failure('The database of a function was damaged and put aside.', error, fields)
    } catch (thrown) {
      log.failure('A damaged database could not be put aside.', thrown, fields)
    } finally {
      // Not before: as long as it is open, no other file gets its inode.
      this.forget(functionId)
    }
  }
}

/** 0 when there is none. */
function inodeOf(databaseDir: string): bigint {
  const options = { bigint: true, throwIfNoEntry: false } as const
  return statSync(sqlDatabaseFile(databaseDir), options)?.ino ?? 0n
}

function isBusy(thrown: unknown): boolean {
  return thrown instanceof SqliteError && thrown.primary === SQLITE.BUSY
}
