/**
 * What functions keep on the node with `kv_put`, how much that is, and when it goes. A new version, a rollback or a restart leaves it alone.
 * When the control plane says that a function was deleted, it goes at once. When a function is only missing (from the full
 * plan of a control plane restored from a backup), it stays for `keptMsMax`, in case the function comes back.
 */

import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import type { Log } from '../../telemetry/log.ts'
import type { MetricJson } from '../../telemetry/metrics.ts'
import { kvDamagedDir, kvLogFile, kvStoreDir, kvStoreFile } from '../kv-files.ts'
import { guestMetrics } from './guest-metrics.ts'

export const keptMsMax = 24 * 3600 * 1000

/** Beside a store whose function is missing: since when, by the time of this file. */
const LEFT = '.left'
/** A store on its way out; one move takes it from whoever might open it. */
const REMOVED = '.removed'
const FUNCTION_ID = /^[0-9a-f-]{36}$/

interface FunctionDataOptions {
  /** One directory per function. */
  readonly kv_dir: string
  /** One file per function (`edge/guest-metrics.ts`). */
  readonly guest_metrics_dir: string
  readonly log: Log
  /** Milliseconds since the epoch. */
  now(): number
}

export class FunctionData {
  readonly #options: FunctionDataOptions

  /** Makes the directories. */
  constructor(options: FunctionDataOptions) {
    this.#options = options
    mkdirSync(options.kv_dir, { recursive: true, mode: 0o700 })
    mkdirSync(options.guest_metrics_dir, { recursive: true, mode: 0o700 })
  }

  /** As workers are told. */
  get paths(): { kv_dir: string; guest_metrics_dir: string } {
    const { kv_dir, guest_metrics_dir } = this.#options
    return { kv_dir, guest_metrics_dir }
  }

  /** What `/metrics` shows of it. */
  metrics(functionIds: readonly string[]): MetricJson[] {
    const { kv_dir, guest_metrics_dir } = this.#options
    const values = functionIds.flatMap((function_id) => {
      const dir = kvStoreDir(kv_dir, function_id)
      const bytes = sizeOf(kvStoreFile(dir))
      if (bytes === null) return []
      return [{ value: bytes + (sizeOf(kvLogFile(dir)) ?? 0), labels: { function_id } }]
    })
    return [
      ...guestMetrics(guest_metrics_dir, functionIds),
      {
        name: 'edgefn_kv_disk_bytes',
        type: 'gauge',
        help: 'Disk that the keys of a function take, what is not written back included.',
        aggregator: 'sum',
        values,
      },
    ]
  }

  /** Removes the data of functions that were deleted. Never throws. */
  remove(functionIds: readonly string[]): void {
    const names = functionIds.length === 0 ? new Set() : this.#names()
    for (const functionId of functionIds) {
      rmSync(join(this.#options.guest_metrics_dir, functionId), { force: true })
      if (names.has(functionId)) this.#removeStore(functionId)
    }
  }

  /** Notes which functions with data are missing, and removes what was missed for long enough. Never throws. */
  sweep(held: { has(functionId: string): boolean }): void {
    const names = this.#names()
    for (const name of names) {
      try {
        if (name.endsWith(REMOVED)) this.#erase(this.#path(name))
        else if (FUNCTION_ID.test(name)) this.#look(name, held.has(name))
      } catch (thrown) {
        this.#options.log.failure('The keys of a missing function could not be looked at.', thrown)
      }
    }
  }

  #look(functionId: string, isHeld: boolean): void {
    const left = this.#path(`${functionId}${LEFT}`)
    const stat = statSync(left, { throwIfNoEntry: false })
    if (isHeld) {
      if (stat !== undefined) rmSync(left, { force: true })
    } else if (stat === undefined) {
      writeFileSync(left, '')
    } else if (this.#options.now() - stat.mtimeMs >= keptMsMax) {
      this.#removeStore(functionId)
    }
  }

  #removeStore(functionId: string): void {
    const { kv_dir, log } = this.#options
    try {
      const removed = this.#path(`${functionId}${REMOVED}`)
      this.#erase(removed)
      renameSync(kvStoreDir(kv_dir, functionId), removed)
      this.#erase(removed)
      this.#erase(kvDamagedDir(kv_dir, functionId))
      this.#erase(this.#path(`${functionId}${LEFT}`))
      log.info('The keys of a deleted function were removed.', { function_id: functionId })
    } catch (thrown) {
      const fields = { function_id: functionId }
      log.failure('The keys of a deleted function could not be removed.', thrown, fields)
    }
  }

  #names(): Set<string> {
    try {
      return new Set(readdirSync(this.#options.kv_dir))
    } catch (thrown) {
      this.#options.log.failure('The directory of the keys cannot be read.', thrown)
      return new Set()
    }
  }

  #path(name: string): string {
    return join(this.#options.kv_dir, name)
  }

  #erase(path: string): void {
    rmSync(path, { recursive: true, force: true })
  }
}

function sizeOf(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.size ?? null
}
