/**
 * Statistics of one worker place in a memory-mapped file: the worker writes, the agent reads at scrape and heartbeat.
 * A killed worker loses nothing, its replacement goes on in the same file, so counters never step back [P16].
 * Every cell is a Float64 with one writer (the worker's main thread); aligned 8-byte stores are not torn.
 *
 * Cells go by their names, whose places are the properties of a constant object: compiled code adds to an element of a typed array.
 */

import { readFileSync } from 'node:fs'

import { LIMITS } from '../protocol/limits.ts'
import { LATENCY_BUCKETS } from '../telemetry/metrics.ts'
import { mapShared } from './shared-file.ts'

/** Codes a call can end with besides success; each has its counter [R8.4]. Order is the layout: append only. */
export const CALL_ERROR_CODES = [
  'function_trap',
  'stack_overflow',
  'memory_limit',
  'function_error',
  'function_load_failed',
  'invalid_response',
  'execution_timeout',
  'internal',
  'overloaded',
  'function_unavailable',
  'worker_lost',
  'body_too_large',
  'rate_limited',
  'client_gone',
  'function_quarantined',
  'circuit_open',
] as const
export type CallErrorCode = (typeof CALL_ERROR_CODES)[number]

/** Cells of a version's record, in layout order, before the error counters and the latency buckets. */
const CELLS = [
  'invocations', // calls that reached the function, however they ended
  'latency_seconds_sum',
  'latency_count',
  'in_flight', // gauge
  'cold_starts', // instances created on the request path
  'instances', // gauge: instances alive in this worker
  'instance_bytes', // gauge: linear memory of those
  'cache_hits', // modules taken from the local cache [R8.5]
  'cache_misses', // modules fetched for a request [R8.6]
  'log_messages',
  'log_messages_dropped',
  'request_bytes',
  'response_bytes',
  'server_errors', // answers of 500 and above that guests gave themselves
] as const
export type StatCell = (typeof CELLS)[number]

/** How an `http_fetch` can end (`edge/worker/fetch/`). */
export const FETCH_OUTCOMES = [
  'ok',
  'invalid',
  'too_large',
  'unavailable',
  'not_allowed',
  'forbidden_address',
  'timeout',
  'network',
  'too_many_fetches',
  'too_many_redirects',
] as const
export type FetchOutcome = (typeof FETCH_OUTCOMES)[number]

/** Cells of the worker itself, first in the file. */
const WORKER_CELLS = [
  'requests', // HTTP requests of any outcome
  'unrouted', // 404: no route
  'refused', // 400, 413: not well-formed or too large, before routing
  'connections_open', // gauge
  'started_at_seconds', // Unix time of the running process
  'executor_threads', // gauge
  'queue_length', // gauge
  'pool_evictions', // idle instances given up for want of memory
  'inline_calls', // calls that the HTTP thread ran itself
  'inline_overruns', // calls that it gave up, for an executor thread to run again
  'guest_stop_defects', // guests that neither poll, stop token nor host deadline stopped in time
  ...FETCH_OUTCOMES.map((outcome) => `fetch_${outcome}` as const),
] as const
export type WorkerStatCell = (typeof WORKER_CELLS)[number]

/**
 * What edgefn itself takes of a request, by the part of its way: `enter` from the request read until the guest is entered, `leave` from the guest
 * left until the response is made.
 */
export const DISPATCH_PARTS = ['enter', 'leave'] as const
export type DispatchPart = (typeof DISPATCH_PARTS)[number]

/** Seconds; the buckets of those two histograms, dense where the goals lie: 3 and 20 µs. */
export const DISPATCH_BUCKETS = [
  0.5e-6, 1e-6, 1.5e-6, 2e-6, 2.5e-6, 3e-6, 4e-6, 5e-6, 7.5e-6, 10e-6, 15e-6, 20e-6, 30e-6, 50e-6,
  100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 100e-3,
] as const

/** The place of each of `names` in their order. */
function placesOf<Name extends string>(names: readonly Name[]): Readonly<Record<Name, number>> {
  // The cast is that of every object made from entries.
  return Object.fromEntries(names.map((name, index) => [name, index])) as Record<Name, number>
}

const inCacheLines = (cells: number) => Math.ceil(cells / 8) * 8

const CELL_AT = placesOf(CELLS)
const WORKER_CELL_AT = placesOf(WORKER_CELLS)
const PART_AT = placesOf(DISPATCH_PARTS)
const ERROR_AT = placesOf(CALL_ERROR_CODES)
const ERROR_INDEX: ReadonlyMap<string, number> = new Map(Object.entries(ERROR_AT))

const ERROR_BASE = CELLS.length
const BUCKET_BASE = ERROR_BASE + CALL_ERROR_CODES.length
/** Float64 cells of a version's record. */
const RECORD_CELLS = inCacheLines(BUCKET_BASE + LATENCY_BUCKETS.length)
/** A dispatch histogram: sum and count, then the buckets. */
const DISPATCH_BASE = inCacheLines(WORKER_CELLS.length)
const DISPATCH_CELLS = inCacheLines(2 + DISPATCH_BUCKETS.length)
/** The worker's own cells come first, then the records of versions. */
const FUNCTIONS_BASE = DISPATCH_BASE + DISPATCH_PARTS.length * DISPATCH_CELLS

const FILE_BYTES = (FUNCTIONS_BASE + LIMITS.armsMax * RECORD_CELLS) * 8

/** Names the layout of the file: one that was written by another edgefn may have another. */
export const STATS_LAYOUT = `${FUNCTIONS_BASE}+${RECORD_CELLS}:${[...CELLS, ...CALL_ERROR_CODES].join()}`

/** The index of the bucket that takes `value`; past the last one when none does. */
function bucketOf(limits: readonly number[], value: number): number {
  let index = 0
  while (index < limits.length && value > (limits[index] ?? 0)) index += 1
  return index
}

export interface HistogramTotals {
  readonly seconds_sum: number
  readonly count: number
  /** Observations in each bucket. */
  readonly buckets: readonly number[]
}

/** Gauges of a record: they say how things are and not what has happened. */
const GAUGES = ['in_flight', 'instances', 'instance_bytes'] as const

/** The worker's cells and two histograms, then a record for the version in each slot. */
export class StatsFile {
  readonly #cells: Float64Array

  /** Creates the file when it is missing or short. Throws what the file system throws. */
  constructor(path: string, cells = new Float64Array(mapShared(path, FILE_BYTES))) {
    this.#cells = cells
  }

  /** What a file says now: nobody who writes to it changes it, and the file may be deleted. */
  static copyOf(path: string): StatsFile {
    const bytes = readFileSync(path)
    const cells = new Float64Array(FILE_BYTES / 8)
    new Uint8Array(cells.buffer).set(bytes.subarray(0, FILE_BYTES))
    return new StatsFile(path, cells)
  }

  add(slot: number, cell: StatCell, amount: number): void {
    this.#add(recordOf(slot) + CELL_AT[cell], amount)
  }

  set(slot: number, cell: StatCell, value: number): void {
    this.#cells[recordOf(slot) + CELL_AT[cell]] = value
  }

  get(slot: number, cell: StatCell): number {
    return this.#cells[recordOf(slot) + CELL_AT[cell]] ?? 0
  }

  addWorker(cell: WorkerStatCell, amount: number): void {
    this.#add(WORKER_CELL_AT[cell], amount)
  }

  setWorker(cell: WorkerStatCell, value: number): void {
    this.#cells[WORKER_CELL_AT[cell]] = value
  }

  getWorker(cell: WorkerStatCell): number {
    return this.#cells[WORKER_CELL_AT[cell]] ?? 0
  }

  /** Codes outside the table count as `internal`. */
  addError(slot: number, code: string): void {
    this.#add(recordOf(slot) + ERROR_BASE + (ERROR_INDEX.get(code) ?? ERROR_AT.internal), 1)
  }

  getError(slot: number, code: CallErrorCode): number {
    return this.#cells[recordOf(slot) + ERROR_BASE + ERROR_AT[code]] ?? 0
  }

  /** Counts one latency into its bucket (not cumulative; `bucket` sums up) [R8.3]. */
  observe(slot: number, seconds: number): void {
    const record = recordOf(slot)
    this.#add(record + CELL_AT.latency_seconds_sum, seconds)
    this.#add(record + CELL_AT.latency_count, 1)
    const bucket = bucketOf(LATENCY_BUCKETS, seconds)
    if (bucket < LATENCY_BUCKETS.length) this.#add(record + BUCKET_BASE + bucket, 1)
  }

  /** Observations in bucket `index` of LATENCY_BUCKETS alone. */
  bucket(slot: number, index: number): number {
    return this.#cells[recordOf(slot) + BUCKET_BASE + index] ?? 0
  }

  /** Counts what one part of a request's way took. */
  observeDispatch(part: DispatchPart, seconds: number): void {
    const at = DISPATCH_BASE + PART_AT[part] * DISPATCH_CELLS
    this.#add(at, seconds)
    this.#add(at + 1, 1)
    const bucket = bucketOf(DISPATCH_BUCKETS, seconds)
    if (bucket < DISPATCH_BUCKETS.length) this.#add(at + 2 + bucket, 1)
  }

  dispatch(part: DispatchPart): HistogramTotals {
    const at = DISPATCH_BASE + PART_AT[part] * DISPATCH_CELLS
    return {
      seconds_sum: this.#cells[at] ?? 0,
      count: this.#cells[at + 1] ?? 0,
      buckets: [...this.#cells.subarray(at + 2, at + 2 + DISPATCH_BUCKETS.length)],
    }
  }

  /** Adds a slot's record to `cells`. */
  addTo(cells: Float64Array, slot: number): void {
    const record = recordOf(slot)
    for (let index = 0; index < RECORD_CELLS; index += 1) {
      cells[index] = (cells[index] ?? 0) + (this.#cells[record + index] ?? 0)
    }
  }

  /** Forgets a slot, before the agent gives it to another version. */
  clear(slot: number): void {
    this.#cells.fill(0, recordOf(slot), recordOf(slot + 1))
  }

  /** Counts the calls that were under way as lost: their process has ended, and nobody answers them. */
  loseCalls(slots: Iterable<number>): void {
    for (const slot of slots) {
      const lost = this.get(slot, 'in_flight')
      if (lost > 0) this.#add(recordOf(slot) + ERROR_BASE + ERROR_AT.worker_lost, lost)
    }
  }

  /** Zeroes what describes a living process, in the given slots and the worker's record: its process has ended. */
  clearGauges(slots: Iterable<number>): void {
    for (const slot of slots) {
      for (const cell of GAUGES) this.set(slot, cell, 0)
    }
    for (const cell of ['connections_open', 'executor_threads', 'queue_length'] as const) {
      this.setWorker(cell, 0)
    }
  }

  #add(at: number, amount: number): void {
    this.#cells[at] = (this.#cells[at] ?? 0) + amount
  }
}

/** One record as the sum of several: of all workers, of all versions of a function. */
export class Tally {
  readonly #cells = new Float64Array(RECORD_CELLS)

  /** Adds what all `files` have in a slot. */
  add(files: readonly StatsFile[], slot: number): this {
    for (const file of files) file.addTo(this.#cells, slot)
    return this
  }

  /** Adds what was counted before. */
  addPast(past: Tally | null): this {
    if (past === null) return this
    for (let index = 0; index < RECORD_CELLS; index += 1) {
      this.#cells[index] = (this.#cells[index] ?? 0) + (past.#cells[index] ?? 0)
    }
    return this
  }

  /** Whoever is gone holds nothing any more. */
  clearGauges(): this {
    for (const cell of GAUGES) this.#cells[CELL_AT[cell]] = 0
    return this
  }

  get(cell: StatCell): number {
    return this.#cells[CELL_AT[cell]] ?? 0
  }

  getError(code: CallErrorCode): number {
    return this.#cells[ERROR_BASE + ERROR_AT[code]] ?? 0
  }

  /** Observations in each bucket of LATENCY_BUCKETS, not cumulative. */
  buckets(): number[] {
    return [...this.#cells.subarray(BUCKET_BASE, BUCKET_BASE + LATENCY_BUCKETS.length)]
  }
}

function recordOf(slot: number): number {
  return FUNCTIONS_BASE + slot * RECORD_CELLS
}
