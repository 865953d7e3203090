/**
 * What the agent has decided about each function, for all workers of the node at once: one memory-mapped file that the agent
 * writes and every worker reads before it runs a call, so that a decision holds for the next request (DESIGN section 1).
 */

import { EdgefnError } from '../errors.ts'
import { LIMITS } from '../protocol/limits.ts'
import type { WorkerFunction } from './ipc.ts'
import { mapShared } from './shared-file.ts'

/** Int32 cells of a record; the end of the quarantine takes two of them, as one Float64. */
const CELL = { quarantined: 0, deaths: 1, until: 2, apart: 4, apartMs: 5 } as const
const RECORD_CELLS = 8
const BYTES = 4

/** A version that may not run. */
export interface Verdict {
  readonly version: number
  /** Worker processes that it ended. */
  readonly deaths: number
  /** Milliseconds since the epoch. */
  readonly until: number
}

export class VerdictFile {
  readonly #cells: Int32Array<ArrayBufferLike>
  readonly #times: Float64Array<ArrayBufferLike>

  /** Opens the file, made when it is missing. */
  constructor(path: string) {
    const buffer = mapShared(path, LIMITS.armsMax * RECORD_CELLS * BYTES)
    this.#cells = new Int32Array(buffer)
    this.#times = new Float64Array(buffer)
  }

  /** The version that is not run is written last: a reader that sees it sees the rest. */
  quarantine(slot: number, { version, deaths, until }: Verdict): void {
    const at = slot * RECORD_CELLS
    this.#cells[at + CELL.deaths] = deaths
    this.#times[(at + CELL.until) / 2] = until
    Atomics.store(this.#cells, at + CELL.quarantined, version)
  }

  release(slot: number): void {
    Atomics.store(this.#cells, slot * RECORD_CELLS + CELL.quarantined, 0)
  }

  /**
   * Marks a version that is run beside no other marked one, because one of them ends workers; its calls wait for that as long
   * as `waitMs`. Version 0: none is.
   */
  keepApart(slot: number, version: number, waitMs: number): void {
    this.#cells[slot * RECORD_CELLS + CELL.apartMs] = waitMs
    Atomics.store(this.#cells, slot * RECORD_CELLS + CELL.apart, version)
  }

  /** How long calls of a version wait so as not to run beside another marked one; 0: it is not marked. */
  apartMs(slot: number, version: number): number {
    const at = slot * RECORD_CELLS
    if (Atomics.load(this.#cells, at + CELL.apart) !== version) return 0
    return this.#cells[at + CELL.apartMs] ?? 0
  }

  /** Whether a version is marked. */
  isApart({ slot, version }: Pick<WorkerFunction, 'slot' | 'version'>): boolean {
    return Atomics.load(this.#cells, slot * RECORD_CELLS + CELL.apart) === version
  }

  /** Why a call of the function may not run now; null when it may. */
  refusal(fn: Pick<WorkerFunction, 'slot' | 'version' | 'name'>): EdgefnError | null {
    const at = fn.slot * RECORD_CELLS
    if (Atomics.load(this.#cells, at + CELL.quarantined) !== fn.version) return null
    return quarantineError(fn, {
      version: fn.version,
      deaths: this.#cells[at + CELL.deaths] ?? 0,
      until: this.#times[(at + CELL.until) / 2] ?? 0,
    })
  }

  /** Forgets a slot, before it is given to another function. */
  clear(slot: number): void {
    this.release(slot)
    this.keepApart(slot, 0, 0)
  }
}

/** The refusal that a quarantine is answered with, wherever it is met. */
export function quarantineError(fn: { readonly name: string }, verdict: Verdict): EdgefnError {
  const { version, deaths, until } = verdict
  const end = new Date(until).toISOString()
  const message = `Version ${version} of ${fn.name} ended ${deaths} worker processes and is quarantined on this node until ${end}; another version may run.`
  const retry_after_ms = Math.max(until - Date.now(), 1_000)
  const details = { version, worker_deaths: deaths, quarantined_until: end, retry_after_ms }
  return new EdgefnError('function_quarantined', message, { details })
}
