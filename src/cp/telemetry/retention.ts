/** Deletes what has been kept long enough, a little at a time. Any control plane may do it at any moment: it only deletes what is old. */

import { LIMITS } from '../../protocol/limits.ts'
import type { Log } from '../../telemetry/log.ts'
import type { Database } from '../db/database.ts'
import { oldestKept } from './range.ts'
import { STEPS } from './rows.ts'

/** Milliseconds between looks, and rows of one transaction. */
const lookMs = 60_000
const rowsPerTransactionMax = 2_000

/**
 * How long the number of a boot's newest batch is remembered after it came: four times as long as a node keeps a batch, so that none
 * that comes again is taken for new.
 */
const bootMsMax = 4 * LIMITS.telemetryStoredMsMax

/** The columns of each table's key. */
const TABLES = {
  telemetry_calls: 'series_id, step, at',
  telemetry_errors: 'series_id, step, at, code',
  telemetry_nodes: 'node_id, step, at',
} as const

export interface RetentionDeps {
  readonly db: Database
  readonly log: Log
  readonly countDeleted: (rows: number) => void
  /** Unix milliseconds. */
  readonly now: () => number
}

export class TelemetryRetention {
  readonly #deps: RetentionDeps
  #timer: ReturnType<typeof setInterval> | null = null
  #running: Promise<void> | null = null
  #closed = false
  /** The last series that was looked at; 0 begins anew. */
  #seriesLooked = 0

  constructor(deps: RetentionDeps) {
    this.#deps = deps
  }

  open(): void {
    this.#timer = setInterval(() => {
      this.#running ??= this.sweep().finally(() => {
        this.#running = null
      })
    }, lookMs)
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#timer !== null) clearInterval(this.#timer)
    await this.#running
  }

  /** Deletes all that is old; a failure is logged and the next look goes on. */
  async sweep(): Promise<void> {
    const now = this.#deps.now()
    try {
      for (const [table, key] of Object.entries(TABLES)) {
        for (const step of STEPS) {
          const old = `SELECT ${key} FROM ${table} WHERE step = ? AND at < ? LIMIT ${rowsPerTransactionMax}`
          const statement = `DELETE FROM ${table} WHERE (${key}) IN (${old})`
          await this.#deleteAll(statement, [step, oldestKept(step, now)])
        }
      }
      await this.#deleteAll(
        `DELETE FROM telemetry_boots WHERE (node_id, boot_id) IN (SELECT node_id, boot_id FROM telemetry_boots
           WHERE taken_at < ? LIMIT ${rowsPerTransactionMax})`,
        [now - bootMsMax],
      )
      await this.#deleteSeries()
    } catch (thrown) {
      this.#deps.log.failure('Old telemetry could not be deleted.', thrown)
    }
  }

  /** Those of which nothing is left, some thousand at each look: most have something, and finding out takes time. */
  async #deleteSeries(): Promise<void> {
    const after = this.#seriesLooked
    const last = await this.#deps.db.get(
      'SELECT max(id) AS id FROM (SELECT id FROM telemetry_series WHERE id > ? ORDER BY id LIMIT ?)',
      [after, rowsPerTransactionMax],
    )
    const upTo = Number(last?.['id'] ?? 0)
    this.#seriesLooked = upTo
    if (upTo === 0) return
    const deleted = await this.#deps.db.write((tx) =>
      tx.run(
        `DELETE FROM telemetry_series WHERE id > ? AND id <= ?
           AND NOT EXISTS (SELECT 1 FROM telemetry_calls c WHERE c.series_id = telemetry_series.id)`,
        [after, upTo],
      ),
    )
    if (deleted > 0) this.#deps.countDeleted(deleted)
  }

  async #deleteAll(statement: string, parameters: readonly number[]): Promise<void> {
    for (let deleted = rowsPerTransactionMax; deleted === rowsPerTransactionMax && !this.#closed;) {
      deleted = await this.#deps.db.write((tx) => tx.run(statement, parameters))
      if (deleted > 0) this.#deps.countDeleted(deleted)
    }
  }
}
