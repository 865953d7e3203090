/**
 * Applies schemas to the databases of functions, each function's in a process of its own beside what serves; functions and passes
 * of the sync do not wait for it longer than they like [C7.4].
 */

import { existsSync } from 'node:fs'

import { errorMessage } from '../../../errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { SchemaBody } from '../../../protocol/schemas.ts'
import { sqlDatabaseDir, sqlDatabaseFile } from '../../../sql/database-files.ts'
import type { SqlAnswer, SqlCommand } from '../../../sql/job.ts'
import { runSqlProcess } from '../../../sql/sql-process.ts'
import type { Log } from '../../../telemetry/log.ts'

/** Processes at the same time; the schemas of other functions wait for their turn. */
const processesMax = 2
/** How long a pass waits for schemas before it goes on with what does not need them. */
const patienceMs = 2_000

export interface SchemaApplierOptions {
  /** One directory per function. */
  readonly sql_dir: string
  readonly command: SqlCommand
  readonly log: Log
  readonly closing: AbortSignal
  /** The answers of a function have come. */
  onAnswers(): void
}

export class SchemaApplier {
  readonly #options: SchemaApplierOptions
  readonly #running = new Map<string, Promise<void>>()
  readonly #answers = new Map<string, readonly SqlAnswer[]>()
  readonly #turns: (() => void)[] = []
  #processes = 0

  constructor(options: SchemaApplierOptions) {
    this.#options = options
  }

  /** Whether a function has its database. */
  hasDatabase(functionId: string): boolean {
    return existsSync(sqlDatabaseFile(sqlDatabaseDir(this.#options.sql_dir, functionId)))
  }

  isRunning(functionId: string): boolean {
    return this.#running.has(functionId)
  }

  /** Begins with the schemas of a function, all of them: those that its database has are told of as applied. */
  begin(functionId: string, schemas: readonly SchemaBody[]): void {
    if (this.#running.has(functionId)) return
    const work = this.#run(functionId, schemas).finally(() => {
      this.#running.delete(functionId)
      if (!this.#options.closing.aborted) this.#options.onAnswers()
    })
    this.#running.set(functionId, work)
  }

  /** Resolves when everything that runs has come to its end, but not later than a pass may wait. */
  async wait(): Promise<void> {
    if (this.#running.size === 0) return
    let timer: ReturnType<typeof setTimeout> | undefined
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, patienceMs)
    })
    await Promise.race([Promise.all(this.#running.values()), patience])
    clearTimeout(timer)
  }

  /** What has come since it was last asked. */
  take(): Map<string, readonly SqlAnswer[]> {
    const taken = new Map(this.#answers)
    this.#answers.clear()
    return taken
  }

  /** Resolves when no process runs any more; `closing` ends them. */
  async close(): Promise<void> {
    await Promise.all(this.#running.values())
  }

  async #run(functionId: string, schemas: readonly SchemaBody[]): Promise<void> {
    const { sql_dir, command, log, closing } = this.#options
    await this.#turn()
    try {
      if (closing.aborted) return
      const path = sqlDatabaseFile(sqlDatabaseDir(sql_dir, functionId))
      const bodies = schemas.map(({ number, sha256, sql }) => ({ number, sha256, sql }))
      const job = { path, schemas: bodies, schema_ms_max: LIMITS.schemaMsMax }
      const ms_max = LIMITS.schemaMsMax * schemas.length
      const answers = await runSqlProcess(command, job, { ms_max, signal: closing })
      this.#answers.set(functionId, answers)
      const failed = answers.find(({ error }) => error !== null)
      if (failed?.error != null) {
        log.warn('A schema could not be applied; it was rolled back.', {
          function_id: functionId,
          error_type: failed.error.code,
          error_message: failed.error.message,
          context: { number: failed.number },
        })
      } else log.info('The schemas of a function are applied.', { function_id: functionId })
    } catch (thrown) {
      // Of an agent that ends, nothing is said; the next one finds in the database what was applied.
      if (closing.aborted) return
      const number = schemas[0]?.number ?? 1
      const error = { code: 'unavailable', message: errorMessage(thrown) }
      this.#answers.set(functionId, [{ number, error }])
      log.failure('Schemas could not be applied.', thrown, { function_id: functionId })
    } finally {
      this.#processes -= 1
      this.#turns.shift()?.()
    }
  }

  async #turn(): Promise<void> {
    if (this.#processes >= processesMax) {
      await new Promise<void>((resolve) => this.#turns.push(resolve))
    }
    this.#processes += 1
  }
}
