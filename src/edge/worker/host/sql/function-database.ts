/** One open database of a function: its statements, kept as long as there is room, and one of them at a time. */

import { statSync } from 'node:fs'

import type { Libc } from '../../../../../ffi/libc.ts'
import type {
  SqliteConnection,
  SqliteParameter,
  SqliteStatement,
} from '../../../../../ffi/sqlite.ts'
import { LIMITS } from '../../../../protocol/limits.ts'
import { sqlDatabaseFile, sqlLogFile } from '../../../../sql/database-files.ts'
import type { Effect, ResultDocument } from './document.ts'
import { createDocument } from './document.ts'
import { PacedConnection, TooManySlow } from './paced-connection.ts'
import type { Format } from './parameters.ts'

/** Statements that are kept prepared; the least recently used goes. */
const statementsMax = 32

/** The statement is at fault; the message is for the guest. */
export class SqlRefused extends Error {
  override readonly name = 'SqlRefused'
}

/** The result is over its limits; what the statement did is undone. */
export class SqlTooLarge extends Error {
  override readonly name = 'SqlTooLarge'
}

/** The log is as long as it may be; to be tried again when it was written back. */
export class SqlLogFull extends Error {
  override readonly name = 'SqlLogFull'
}

export interface SqlRequest {
  readonly kind: 'query' | 'exec'
  readonly sql: Uint8Array
  readonly values: readonly SqliteParameter[]
  readonly format: Format
}

const decoder = new TextDecoder()

export class FunctionDatabase {
  readonly #paced: PacedConnection
  readonly #connection: SqliteConnection
  readonly #log: string
  /** By text, least recently used first. */
  readonly #statements = new Map<string, SqliteStatement>()

  /** Throws SqliteError. `stops` is looked at while a statement runs. */
  constructor(dir: string, stops: () => boolean, libc: Libc) {
    this.#log = sqlLogFile(dir)
    this.#paced = new PacedConnection(sqlDatabaseFile(dir), stops, libc)
    this.#connection = this.#paced.connection
  }

  get moved(): boolean {
    return this.#connection.moved
  }

  /** Runs a statement to its end. Throws SqliteError, SqlRefused, SqlTooLarge and SqlLogFull, and has changed nothing then. */
  run(request: SqlRequest): Uint8Array<ArrayBuffer> {
    const statement = this.#statement(request.sql)
    const { kind, values } = request
    if (kind === 'query' && !statement.readonly) {
      throw new SqlRefused('sql_query takes statements that change nothing; sql_exec takes others')
    }
    if (values.length !== statement.parameters) {
      throw new SqlRefused(
        `the statement has ${statement.parameters} parameters, and ${values.length} were given`,
      )
    }
    if (!statement.readonly) this.#refuseFullLog()
    // What it changed before its last row was too much could not be undone otherwise.
    const isUndone = !statement.readonly && statement.columns > 0
    if (!isUndone) return this.#collect(statement, request)
    this.#connection.run('BEGIN IMMEDIATE')
    try {
      const result = this.#collect(statement, request)
      this.#connection.run('COMMIT')
      return result
    } catch (thrown) {
      if (this.#connection.inTransaction) this.#connection.run('ROLLBACK')
      throw thrown
    }
  }

  close(): void {
    for (const statement of this.#statements.values()) statement.finalize()
    this.#statements.clear()
    this.#connection.close()
  }

  #collect(statement: SqliteStatement, { kind, values, format }: SqlRequest) {
    const document = createDocument(format)
    try {
      statement.bind(values)
      this.#paced.run(statement, () => {
        while (statement.step()) add(document, statement)
      })
      return document.finish(
        statement.columnNames(),
        kind === 'exec' ? this.#effect(statement) : null,
      )
    } finally {
      statement.reset()
    }
  }

  /** SQLite's counts are those of the last statement that changed something, whichever that was. */
  #effect(statement: SqliteStatement): Effect {
    const { changes, lastInsertRowid } = this.#connection
    return { changes: statement.readonly ? 0 : changes, last_insert_rowid: lastInsertRowid }
  }

  #statement(sql: Uint8Array): SqliteStatement {
    const text = decoder.decode(sql)
    const kept = this.#statements.get(text)
    if (kept !== undefined) {
      this.#statements.delete(text)
      this.#statements.set(text, kept)
      return kept
    }
    const { statement, next } = this.#prepare(sql)
    if (statement === null) throw new SqlRefused('there is no statement')
    try {
      if (!this.#isEnd(sql, next)) throw new SqlRefused('there is more than one statement')
    } catch (thrown) {
      statement.finalize()
      throw thrown
    }
    this.#statements.set(text, statement)
    for (const [oldest, unused] of this.#statements) {
      if (this.#statements.size <= statementsMax) break
      this.#statements.delete(oldest)
      unused.finalize()
    }
    return statement
  }

  #prepare(sql: Uint8Array): ReturnType<SqliteConnection['prepare']> {
    try {
      return this.#paced.prepare(sql)
    } catch (thrown) {
      throw thrown instanceof TooManySlow ? new SqlRefused(thrown.message) : thrown
    }
  }

  /** Whether nothing but space and comments follows. */
  #isEnd(sql: Uint8Array, from: number): boolean {
    if (from >= sql.length) return true
    const { statement } = this.#connection.prepare(sql, from)
    statement?.finalize()
    return statement === null
  }

  #refuseFullLog(): void {
    const bytes = statSync(this.#log, { throwIfNoEntry: false })?.size ?? 0
    if (bytes > LIMITS.sqlLogBytesMax) throw new SqlLogFull()
  }
}

function add(document: ResultDocument, statement: SqliteStatement): void {
  document.addRow(statement)
  if (document.rows > LIMITS.sqlRowsMax) {
    throw new SqlTooLarge(`the result has over ${LIMITS.sqlRowsMax} rows`)
  }
  if (document.length > LIMITS.sqlResultBytesMax) {
    throw new SqlTooLarge(`the result has over ${LIMITS.sqlResultBytesMax} bytes`)
  }
}
