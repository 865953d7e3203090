/** The control plane's database as the slices see it: statements, rows, one write transaction at a time. */

/** What a parameter or a column may be. Booleans are 0 and 1, times and JSON are text. */
export type SqlValue = string | number | null

export type Row = Readonly<Record<string, SqlValue>>

/** Runs statements: the database itself for reads, or an open transaction. Parameters are positional (`?`). */
export interface Sql {
  /** All rows of a query. */
  all(sql: string, parameters?: readonly SqlValue[]): Promise<Row[]>
  /** The first row, or null. */
  get(sql: string, parameters?: readonly SqlValue[]): Promise<Row | null>
  /** Runs a statement and returns the number of rows it changed. */
  run(sql: string, parameters?: readonly SqlValue[]): Promise<number>
}

/** A write transaction; handed to whatever must be written together. */
export interface Transaction extends Sql {
  readonly transaction: true
}

export interface Database extends Sql {
  /**
   * Runs `work` in one `BEGIN IMMEDIATE` transaction, committed when it resolves, rolled back when it rejects (the
   * rejection is passed on). Transactions queue behind each other in this process; SQLITE_BUSY from others is retried
   * within the busy timeout, then thrown as `database_unavailable`. `work` must not wait for anything but the database.
   */
  write<T>(work: (tx: Transaction) => Promise<T>): Promise<T>
  /** Resolves when a trivial query works, for `/ready`. */
  ping(): Promise<void>
  close(): Promise<void>
}
