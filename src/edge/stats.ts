/**
 * Statistics of one worker place in a memory-mapped file: the worker writes, the agent reads at scrape and heartbeat.
 * A killed worker loses nothing, its replacement goes on in the same file, so counters never step back [P16].
 * Every cell is a Float64 with one writer (the worker's main thread); aligned 8-byte stores are not torn.
 */

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

/** Cells of a function record, in layout order, before the error counters and the latency buckets. */
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

/** Cells of the worker itself, in record 0. */
const WORKER_CELLS = [
  'requests', // HTTP requests of any outcome
  'unrouted', // 404: no route
  'refused', // 400, 413: not well-formed or too large, before routing
  'connections_open', // gauge
  'started_at_seconds', // Unix time of the running process
  'executor_threads', // gauge
  'queue_length', // gauge
  'pool_evictions', // idle instances given up for want of memory
  'guest_stop_defects', // guests that neither poll, stop token nor host deadline stopped in time
  ...FETCH_OUTCOMES.map((outcome) => `fetch_${outcome}` as const),
] as const
export type WorkerStatCell = (typeof WORKER_CELLS)[number]

const ERROR_BASE = CELLS.length
const BUCKET_BASE = ERROR_BASE + CALL_ERROR_CODES.length
/** Float64 cells per record, rounded up to whole cache lines of 8 cells. */
const RECORD_CELLS = Math.ceil((BUCKET_BASE + LATENCY_BUCKETS.length) / 8) * 8
const CELL_INDEX = new Map<StatCell, number>(CELLS.map((cell, index) => [cell, index]))
const WORKER_CELL_INDEX = new Map<WorkerStatCell, number>(
  WORKER_CELLS.map((cell, index) => [cell, index]),
)
const ERROR_INDEX = new Map<string, number>(CALL_ERROR_CODES.map((code, index) => [code, index]))

const FILE_BYTES = (1 + LIMITS.functionsMax) * RECORD_CELLS * 8

/** Record 0 is the worker's; the function in slot n has record n + 1. */
export class StatsFile {
  readonly #cells: Float64Array

  /** Creates the file when it is missing or short. Throws what the file system throws. */
  constructor(path: string) {
    this.#cells = new Float64Array(mapShared(path, FILE_BYTES))
  }

  add(slot: number, cell: StatCell, amount: number): void {
    const at = this.#at(slot, cell)
    this.#cells[at] = (this.#cells[at] ?? 0) + amount
  }

  set(slot: number, cell: StatCell, value: number): void {
    this.#cells[this.#at(slot, cell)] = value
  }

  get(slot: number, cell: StatCell): number {
    return this.#cells[this.#at(slot, cell)] ?? 0
  }

  addWorker(cell: WorkerStatCell, amount: number): void {
    const at = WORKER_CELL_INDEX.get(cell) ?? 0
    this.#cells[at] = (this.#cells[at] ?? 0) + amount
  }

  setWorker(cell: WorkerStatCell, value: number): void {
    this.#cells[WORKER_CELL_INDEX.get(cell) ?? 0] = value
  }

  getWorker(cell: WorkerStatCell): number {
    return this.#cells[WORKER_CELL_INDEX.get(cell) ?? 0] ?? 0
  }

  /** Codes outside the table count as `internal`. */
  addError(slot: number, code: string): void {
    const index = ERROR_INDEX.get(code) ?? ERROR_INDEX.get('internal') ?? 0
    const at = (slot + 1) * RECORD_CELLS + ERROR_BASE + index
    this.#cells[at] = (this.#cells[at] ?? 0) + 1
  }

  getError(slot: number, code: CallErrorCode): number {
    const index = ERROR_INDEX.get(code) ?? 0
    return this.#cells[(slot + 1) * RECORD_CELLS + ERROR_BASE + index] ?? 0
  }

  /** Counts one latency into its bucket (not cumulative; `bucket` sums up) [R8.3]. */
  observe(slot: number, seconds: number): void {
    this.add(slot, 'latency_seconds_sum', seconds)
    this.add(slot, 'latency_count', 1)
    const bucket = LATENCY_BUCKETS.findIndex((limit) => seconds <= limit)
    if (bucket < 0) return
    const at = (slot + 1) * RECORD_CELLS + BUCKET_BASE + bucket
    this.#cells[at] = (this.#cells[at] ?? 0) + 1
  }

  /** Observations in bucket `index` of LATENCY_BUCKETS alone. */
  bucket(slot: number, index: number): number {
    return this.#cells[(slot + 1) * RECORD_CELLS + BUCKET_BASE + index] ?? 0
  }

  /** Forgets a slot, before the agent gives it to another function. */
  clear(slot: number): void {
    this.#cells.fill(0, (slot + 1) * RECORD_CELLS, (slot + 2) * RECORD_CELLS)
  }

  /** Zeroes what describes a living process, in the given slots and the worker's record: its process has ended. */
  clearGauges(slots: Iterable<number>): void {
    for (const slot of slots) {
      for (const cell of ['in_flight', 'instances', 'instance_bytes'] as const)
        this.set(slot, cell, 0)
    }
    for (const cell of ['connections_open', 'executor_threads', 'queue_length'] as const) {
      this.setWorker(cell, 0)
    }
  }

  #at(slot: number, cell: StatCell): number {
    return (slot + 1) * RECORD_CELLS + (CELL_INDEX.get(cell) ?? 0)
  }
}
