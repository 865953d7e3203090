/** How a database is reached: a file by its own driver, a server by its client. */

import type { Sql } from './database.ts'
import type { ScriptTransaction } from './migrate.ts'

/** An open write transaction. */
export interface OpenTransaction extends ScriptTransaction {
  /**
   * Runs `work` as a part of the transaction, whose writes are taken back alone when it fails; null where that cannot be.
   * `lost` says that the failure took the whole transaction back.
   */
  readonly part: (<T>(work: () => Promise<T>) => Promise<Part<T>>) | null
  commit(): Promise<void>
  /** Rolls back unless it was committed; always called. */
  close(): void
}

export type Part<T> =
  | { readonly failed: false; readonly result: T }
  | { readonly failed: true; readonly thrown: unknown; readonly lost: boolean }

export interface Connection {
  /** Reads, beside a transaction that may be open and without seeing it. */
  readonly reader: Sql
  /** Begins a write transaction, one at a time. */
  begin(): Promise<OpenTransaction>
  /** Rejects with `database_unavailable` when it cannot be read, or has not let anybody write for a while. */
  ping(): Promise<void>
  close(): void
}
