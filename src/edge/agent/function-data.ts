/**
 * What functions keep on the node: keys (`kv_put`) and tables (`sql_exec`), how much that is, and when it goes. A new version, a
 * rollback or a restart leaves it alone. When the control plane says that a function was deleted, it goes at once. When a function is
 * only missing (from the full plan of a control plane restored from a backup), it stays for `keptMsMax`, in case the function comes back.
 */

import { mkdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'

import { sqlDatabaseDir, sqlDatabaseFile, sqlLogFile } from '../../sql/database-files.ts'
import type { Log } from '../../telemetry/log.ts'
import type { MetricJson } from '../../telemetry/metrics.ts'
import { kvLogFile, kvStoreDir, kvStoreFile } from '../kv-files.ts'
import { guestMetrics } from './guest-metrics.ts'
import { KeptStores } from './kept-stores.ts'

interface FunctionDataOptions {
  /** One directory per function. */
  readonly kv_dir: string
  /** The same of databases. */
  readonly sql_dir: string
  /** One file per function (`edge/guest-metrics.ts`). */
  readonly guest_metrics_dir: string
  readonly log: Log
  /** Milliseconds since the epoch. */
  now(): number
}

export class FunctionData {
  readonly #options: FunctionDataOptions
  readonly #kept: readonly KeptStores[]

  /** Makes the directories. */
  constructor(options: FunctionDataOptions) {
    this.#options = options
    const { kv_dir, sql_dir, log, now } = options
    this.#kept = [
      new KeptStores({ dir: kv_dir, words: 'The keys', log, now }),
      new KeptStores({ dir: sql_dir, words: 'The tables', log, now }),
    ]
    mkdirSync(options.guest_metrics_dir, { recursive: true, mode: 0o700 })
  }

  /** As workers are told. */
  get paths(): { kv_dir: string; sql_dir: string; guest_metrics_dir: string } {
    const { kv_dir, sql_dir, guest_metrics_dir } = this.#options
    return { kv_dir, sql_dir, guest_metrics_dir }
  }

  /** What `/metrics` shows of it. */
  metrics(functionIds: readonly string[]): MetricJson[] {
    const { kv_dir, sql_dir, guest_metrics_dir } = this.#options
    return [
      ...guestMetrics(guest_metrics_dir, functionIds),
      {
        name: 'edgefn_kv_disk_bytes',
        help: 'Disk that the keys of a function take, what is not written back included.',
        ...sizes(functionIds, (function_id) => {
          const dir = kvStoreDir(kv_dir, function_id)
          return [kvStoreFile(dir), kvLogFile(dir)]
        }),
      },
      {
        name: 'edgefn_sql_disk_bytes',
        help: 'Disk that the database of a function takes, what is not written back included.',
        ...sizes(functionIds, (function_id) => {
          const dir = sqlDatabaseDir(sql_dir, function_id)
          return [sqlDatabaseFile(dir), sqlLogFile(dir)]
        }),
      },
    ]
  }

  /** Removes the data of functions that were deleted. Never throws. */
  remove(functionIds: readonly string[]): void {
    for (const functionId of functionIds) {
      rmSync(join(this.#options.guest_metrics_dir, functionId), { force: true })
    }
    for (const kept of this.#kept) kept.remove(functionIds)
  }

  /** Notes which functions with data are missing, and removes what was missed for long enough. Never throws. */
  sweep(held: { has(functionId: string): boolean }): void {
    for (const kept of this.#kept) kept.sweep(held)
  }
}

/** A gauge of the functions whose main file, the first, is there. */
function sizes(
  functionIds: readonly string[],
  files: (functionId: string) => readonly [string, string],
): Pick<MetricJson, 'type' | 'aggregator' | 'values'> {
  const values = functionIds.flatMap((function_id) => {
    const [main, log] = files(function_id)
    const bytes = sizeOf(main)
    if (bytes === null) return []
    return [{ value: bytes + (sizeOf(log) ?? 0), labels: { function_id } }]
  })
  return { type: 'gauge', aggregator: 'sum', values }
}

function sizeOf(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.size ?? null
}
