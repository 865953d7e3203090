/**
 * A connection to a database for statements of others: each is judged before it runs, can be stopped while it runs, and is
 * held to the limits of the connection. Belongs to the thread that opened it.
 */

import { CString, JSCallback, ptr } from 'bun:ffi'
import type { Pointer } from 'bun:ffi'

import type { Libc } from './libc.ts'
import { openSqlite } from './sqlite-library.ts'
import type { Sqlite } from './sqlite-library.ts'

export const SQLITE = {
  OK: 0,
  BUSY: 5,
  NOMEM: 7,
  READONLY: 8,
  INTERRUPT: 9,
  IOERR: 10,
  CORRUPT: 11,
  FULL: 13,
  CANTOPEN: 14,
  TOOBIG: 18,
  AUTH: 23,
  RANGE: 25,
  NOTADB: 26,
  ROW: 100,
  DONE: 101,
} as const

/** Extended: a virtual table is not as its module expects, say an index beside its content; the file itself may be whole. */
export const CORRUPT_VTAB = SQLITE.CORRUPT | (1 << 8)

/** Of `column_type`. */
const INTEGER = 1
const FLOAT = 2
const TEXT = 3
const BLOB = 4

const OPEN_READWRITE = 0x02
const OPEN_CREATE = 0x04
const PREPARE_PERSISTENT = 0x01
/** Has SQLite copy what is bound. */
const TRANSIENT = -1
const DENY = 1
const CONFIG_NO_CHECKPOINT_ON_CLOSE = 1006
const CONFIG_DEFENSIVE = 1010
const CONFIG_TRUSTED_SCHEMA = 1017
const CONTROL_HAS_MOVED = 20

/** Positions of `sqlite3_limit`. */
export const LIMIT_IDS = {
  value_bytes: 0,
  sql_bytes: 1,
  columns: 2,
  compound_select: 4,
  attached: 7,
  like_pattern_bytes: 8,
  parameters: 9,
  trigger_depth: 10,
  worker_threads: 11,
} as const
export type SqliteLimits = Readonly<Record<keyof typeof LIMIT_IDS, number>>

/** Steps of SQLite's machine between two looks at whether it is to stop: some 10 µs. */
const stepsPerLook = 500

export type SqliteValue = null | number | bigint | string | Uint8Array

/** A number that is bound as a real, though it may look like an integer. */
export class SqliteReal {
  readonly value: number

  constructor(value: number) {
    this.value = value
  }
}

/** What can be bound to a statement: a safe integer becomes INTEGER, any other number REAL. */
export type SqliteParameter = SqliteValue | SqliteReal

/** What a statement wants to do, as SQLite's authorizer is told: the code of an action and what it is about. */
export type Judge = (action: number, first: () => string, second: () => string) => boolean

export interface ConnectionOptions {
  readonly path: string
  readonly create: boolean
  readonly limits: SqliteLimits
  /** Whether a statement may do what it wants to; asked when it is prepared. */
  readonly judge: Judge
  /** Looked at while a statement runs: true stops it, and what it did is undone. */
  readonly stops: () => boolean
}

/** What SQLite answered: its extended code and its words. */
export class SqliteError extends Error {
  override readonly name = 'SqliteError'
  readonly code: number

  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }

  /** Without what makes it extended. */
  get primary(): number {
    return this.code & 0xff
  }
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const EMPTY = new Uint8Array(1)

export class SqliteConnection {
  readonly #sqlite: Sqlite
  readonly #libc: Libc
  readonly #database: Pointer
  readonly #callbacks: readonly JSCallback[]
  readonly #stops: JSCallback
  readonly #moved = new Int32Array(2)
  #trusted = false

  /** Throws SqliteError when the database cannot be opened. */
  constructor(options: ConnectionOptions, libc: Libc) {
    const sqlite = openSqlite()
    this.#sqlite = sqlite
    this.#libc = libc
    const handle = new BigUint64Array(1)
    const flags = OPEN_READWRITE | (options.create ? OPEN_CREATE : 0)
    const code = sqlite.open_v2(encoder.encode(`${options.path}\0`), handle, flags, null)
    this.#database = Number(handle[0]) as Pointer
    if (code !== SQLITE.OK) {
      sqlite.close_v2(this.#database)
      throw new SqliteError(code, `The database cannot be opened (${code}).`)
    }
    sqlite.db_config(this.#database, CONFIG_DEFENSIVE, 1, null)
    sqlite.db_config(this.#database, CONFIG_TRUSTED_SCHEMA, 0, null)
    // Whoever closes last would write the whole log back and have others wait; who is to do so, says so.
    sqlite.db_config(this.#database, CONFIG_NO_CHECKPOINT_ON_CLOSE, 1, null)
    for (const [name, id] of Object.entries(LIMIT_IDS)) {
      sqlite.limit(this.#database, id, options.limits[name as keyof SqliteLimits])
    }
    const text = (address: Pointer | null) => () =>
      address === null ? '' : String(new CString(address))
    const judge = new JSCallback(
      ((_data: unknown, action: number, first: Pointer | null, second: Pointer | null) => {
        if (this.#trusted) return SQLITE.OK
        return options.judge(action, text(first), text(second)) ? SQLITE.OK : DENY
      }) as never,
      { args: ['ptr', 'i32', 'ptr', 'ptr', 'ptr', 'ptr'], returns: 'i32' },
    )
    const stops = new JSCallback((() => (options.stops() ? 1 : 0)) as never, {
      args: ['ptr'],
      returns: 'i32',
    })
    this.#callbacks = [judge, stops]
    this.#stops = stops
    sqlite.set_authorizer(this.#database, judge.ptr, null)
    sqlite.progress_handler(this.#database, stepsPerLook, stops.ptr, null)
  }

  /** Whether the file has been moved or removed under its name: what is written here, nobody else would see. */
  get moved(): boolean {
    this.#sqlite.file_control(this.#database, null, CONTROL_HAS_MOVED, this.#moved)
    return this.#moved[0] !== 0
  }

  /** From now on: the bytes of a value or row, and the steps between two looks at whether to stop. */
  hold(valueBytes: number, steps: number): void {
    this.#sqlite.limit(this.#database, LIMIT_IDS.value_bytes, valueBytes)
    this.#sqlite.progress_handler(this.#database, steps, this.#stops.ptr, null)
  }

  get inTransaction(): boolean {
    return this.#sqlite.get_autocommit(this.#database) === 0
  }

  /** Rows that the last statement changed, those of triggers left out. */
  get changes(): number {
    return Number(this.#sqlite.changes64(this.#database))
  }

  get lastInsertRowid(): number | bigint {
    return this.#sqlite.last_insert_rowid(this.#database)
  }

  /**
   * The first statement of `sql` from byte `from` on, and where the next begins; null when nothing but space and comments is
   * left. Throws SqliteError.
   */
  prepare(sql: Uint8Array, from = 0): { statement: SqliteStatement | null; next: number } {
    if (from >= sql.length) return { statement: null, next: sql.length }
    const text = (ptr(sql) + from) as Pointer
    const [handle, tail] = [new BigUint64Array(1), new BigUint64Array(1)]
    const code = this.#sqlite.prepare_v3(
      this.#database,
      text,
      sql.length - from,
      PREPARE_PERSISTENT,
      handle,
      tail,
    )
    if (code !== SQLITE.OK) throw this.error()
    const next = from + Number(tail[0] ?? 0n) - text
    const address = Number(handle[0]) as Pointer
    return {
      statement:
        address === 0 ? null : new SqliteStatement(this.#sqlite, this.#libc, this, address),
      next,
    }
  }

  /** Runs statements of edgefn's own, which nobody judges. Throws SqliteError. */
  run(sql: string, values: readonly SqliteValue[] = []): SqliteValue[][] {
    const rows: SqliteValue[][] = []
    this.#trusted = true
    try {
      const text = encoder.encode(sql)
      for (let at = 0; at < text.length;) {
        const { statement, next } = this.prepare(text, at)
        at = next
        if (statement === null) continue
        try {
          if (values.length > 0) statement.bind(values)
          while (statement.step()) rows.push(statement.row())
        } finally {
          statement.finalize()
        }
      }
      return rows
    } finally {
      this.#trusted = false
    }
  }

  /** What went wrong last. */
  error(): SqliteError {
    const code = this.#sqlite.extended_errcode(this.#database)
    return new SqliteError(code, String(this.#sqlite.errmsg(this.#database)))
  }

  /** Every statement must have been finalized. */
  close(): void {
    this.#sqlite.close_v2(this.#database)
    for (const callback of this.#callbacks) callback.close()
  }
}

/** A statement, kept for as long as it may run again. */
export class SqliteStatement {
  readonly #sqlite: Sqlite
  readonly #libc: Libc
  readonly #connection: SqliteConnection
  readonly #statement: Pointer
  readonly parameters: number
  /** Whether it changes nothing. */
  readonly readonly: boolean

  constructor(sqlite: Sqlite, libc: Libc, connection: SqliteConnection, statement: Pointer) {
    this.#sqlite = sqlite
    this.#libc = libc
    this.#connection = connection
    this.#statement = statement
    this.parameters = sqlite.bind_parameter_count(statement)
    this.readonly = sqlite.stmt_readonly(statement) !== 0
  }

  /** It may become another number when the tables change. */
  get columns(): number {
    return this.#sqlite.column_count(this.#statement)
  }

  /** Throws SqliteError for a value over the limits. */
  bind(values: readonly SqliteParameter[]): void {
    values.forEach((value, index) => {
      if (this.#bindOne(index + 1, value) !== SQLITE.OK) throw this.#connection.error()
    })
  }

  /** True with a row, false at the end. Throws SqliteError. */
  step(): boolean {
    const code = this.#sqlite.step(this.#statement)
    if (code === SQLITE.ROW) return true
    if (code === SQLITE.DONE) return false
    throw this.#connection.error()
  }

  columnNames(): string[] {
    return Array.from({ length: this.columns }, (_, index) =>
      String(this.#sqlite.column_name(this.#statement, index)),
    )
  }

  row(): SqliteValue[] {
    const values: SqliteValue[] = []
    for (let index = 0; index < this.columns; index += 1) values.push(this.value(index))
    return values
  }

  /** A value of the row at hand. Integers are numbers where a number holds them exactly, else bigint. */
  value(index: number): SqliteValue {
    const statement = this.#statement
    switch (this.#sqlite.column_type(statement, index)) {
      case INTEGER:
        return this.#sqlite.column_int64(statement, index)
      case FLOAT:
        return this.#sqlite.column_double(statement, index)
      case TEXT: {
        const address = this.#sqlite.column_text(statement, index)
        return decoder.decode(this.#copy(address, index))
      }
      case BLOB:
        return this.#copy(this.#sqlite.column_blob(statement, index), index)
      default:
        return null
    }
  }

  /** Whether the number at hand is no integer, though it may look like one. */
  isReal(index: number): boolean {
    return this.#sqlite.column_type(this.#statement, index) === FLOAT
  }

  /** Ends its run, and forgets what was bound. */
  reset(): void {
    this.#sqlite.reset(this.#statement)
    this.#sqlite.clear_bindings(this.#statement)
  }

  finalize(): void {
    this.#sqlite.finalize(this.#statement)
  }

  #copy(address: Pointer | bigint | null, index: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(this.#sqlite.column_bytes(this.#statement, index))
    if (address !== null && bytes.length > 0)
      this.#libc.copyIn(bytes, Number(address), bytes.length)
    return bytes
  }

  #bindOne(index: number, value: SqliteParameter): number {
    const [sqlite, statement] = [this.#sqlite, this.#statement]
    if (value === null) return sqlite.bind_null(statement, index)
    if (value instanceof SqliteReal) return sqlite.bind_double(statement, index, value.value)
    if (typeof value === 'bigint') return sqlite.bind_int64(statement, index, value)
    if (typeof value === 'number') {
      return Number.isSafeInteger(value) && !Object.is(value, -0)
        ? sqlite.bind_int64(statement, index, value)
        : sqlite.bind_double(statement, index, value)
    }
    const bytes = typeof value === 'string' ? encoder.encode(value) : value
    const bind = typeof value === 'string' ? sqlite.bind_text : sqlite.bind_blob
    // An empty array may have no address, and what has none is NULL.
    return bind(statement, index, bytes.length === 0 ? EMPTY : bytes, bytes.length, TRANSIENT)
  }
}
