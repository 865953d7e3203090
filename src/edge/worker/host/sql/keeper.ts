/**
 * Writes the logs of functions' databases back into their files, in one worker of the node, so that no guest waits for the disk.
 * Finds its work by looking, as the keeper of keys does.
 */

import { readdirSync, statSync } from 'node:fs'

import type { Libc } from '../../../../../ffi/libc.ts'
import { errorMessage } from '../../../../errors.ts'
import { connect } from '../../../../sql/connect.ts'
import { sqlDatabaseDir, sqlDatabaseFile, sqlLogFile } from '../../../../sql/database-files.ts'
import type { Log } from '../../../../telemetry/log.ts'

const lookEveryMs = 1_000
/** A log is written back when it is this long, and when something has been in it for so long. */
const logBytesMax = 4 * 1024 * 1024
const logMsMax = 10_000
/** Free pages that are given back to the disk at a time. */
const vacuumPages = 256
/** What is put aside or on its way out has more to its name. */
const FUNCTION_ID = /^[0-9a-f-]{36}$/

export class SqlKeeper {
  readonly #dir: string
  readonly #log: Log
  readonly #libc: Libc
  /** When a log that is not empty was seen first. */
  readonly #seenAt = new Map<string, number>()

  constructor(dir: string, log: Log, libc: Libc) {
    this.#dir = dir
    this.#log = log
    this.#libc = libc
  }

  /** Looks for ever. */
  run(): void {
    this.look()
    setTimeout(() => this.run(), lookEveryMs)
  }

  /** Looks once at every database. Never throws. */
  look(): void {
    const names = directories(this.#dir)
    for (const known of this.#seenAt.keys()) if (!names.has(known)) this.#seenAt.delete(known)
    for (const functionId of names) {
      const dir = sqlDatabaseDir(this.#dir, functionId)
      if (this.#isDue(functionId, dir)) this.#writeBack(functionId, dir)
    }
  }

  #isDue(functionId: string, dir: string): boolean {
    const bytes = statSync(sqlLogFile(dir), { throwIfNoEntry: false })?.size ?? 0
    if (bytes === 0) {
      this.#seenAt.delete(functionId)
      return false
    }
    const now = this.#libc.monotonicMs()
    const seenAt = this.#seenAt.get(functionId) ?? now
    this.#seenAt.set(functionId, seenAt)
    return bytes > logBytesMax || now - seenAt >= logMsMax
  }

  #writeBack(functionId: string, dir: string): void {
    try {
      const path = sqlDatabaseFile(dir)
      const connection = connect(
        { path, create: false, who: 'guest', stops: () => false },
        this.#libc,
      )
      try {
        connection.run(`PRAGMA incremental_vacuum(${vacuumPages})`)
        connection.run('PRAGMA wal_checkpoint(PASSIVE)')
        connection.run('PRAGMA wal_checkpoint(TRUNCATE)')
        this.#seenAt.delete(functionId)
      } finally {
        connection.close()
      }
    } catch (thrown) {
      // In others' hands, or ill, which the next guest that uses it is told and the log with it.
      const context = { error: errorMessage(thrown) }
      this.#log.debug('A database was left alone.', { function_id: functionId, context })
    }
  }
}

function directories(dir: string): Set<string> {
  try {
    return new Set(readdirSync(dir).filter((name) => FUNCTION_ID.test(name)))
  } catch {
    // No function has a database yet.
    return new Set()
  }
}
