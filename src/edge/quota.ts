/**
 * What the quotas of functions need to hold for the whole node and not per worker: one memory-mapped file of all workers
 * (DESIGN section 1). Per function slot: when its next request is due (GCRA), what it has logged in this second, and how many
 * calls each worker runs for it.
 */

import { LIMITS } from '../protocol/limits.ts'
import type { Quotas } from '../protocol/manifest.ts'
import { mapShared } from './shared-file.ts'

/** The theoretical arrival time, nanoseconds of the monotonic clock. */
const ARRIVAL_BYTES = 8
/** The second in which a function logs: when it began, in monotonic milliseconds, and in the low bits how many lines it had. */
const LOG_BYTES = 8
const LOG_COUNT_BITS = 24n
const LOG_COUNT_MASK = (1n << LOG_COUNT_BITS) - 1n
const COUNT_BYTES = 4
const CACHE_LINE_BYTES = 64

const nsPerSecond = 1e9
/** How far ahead of now a function's arrival time may lie, in nanoseconds: a century. */
const toleranceNsMax = 2 ** 61
const logWindowMs = 1_000n

type RateQuotas = Pick<Quotas, 'requests_per_second' | 'burst'>

export class QuotaFile {
  /** Arrival and log window of each record. */
  readonly #words: BigInt64Array<ArrayBufferLike>
  readonly #counts: Int32Array<ArrayBufferLike>
  readonly #recordBytes: number
  readonly #workers: number

  /** Opens the file, made when it is missing. Every process gives the same number of workers. */
  constructor(path: string, workers: number) {
    const bytes = ARRIVAL_BYTES + LOG_BYTES + workers * COUNT_BYTES
    this.#recordBytes = Math.ceil(bytes / CACHE_LINE_BYTES) * CACHE_LINE_BYTES
    this.#workers = workers
    const buffer = mapShared(path, LIMITS.functionsMax * this.#recordBytes)
    this.#words = new BigInt64Array(buffer)
    this.#counts = new Int32Array(buffer)
  }

  /**
   * Takes one request of a function's rate. 0: it is within it; else milliseconds after which it would be. `burst` requests
   * may come at once; without one, as many as come in a second.
   */
  takeRate(slot: number, quotas: RateQuotas, nowMs: number): number {
    const rate = quotas.requests_per_second
    if (rate === null) return 0
    const every = Math.max(Math.round(nsPerSecond / rate), 1)
    const burst = quotas.burst ?? Math.max(Math.ceil(rate), 1)
    // A tiny rate with a huge burst would not fit into the word, and begin again from nothing.
    const tolerance = BigInt(Math.min(every * burst, toleranceNsMax))
    const now = BigInt(Math.round(nowMs * 1e6))
    const at = (slot * this.#recordBytes) / ARRIVAL_BYTES
    for (;;) {
      const stored = Atomics.load(this.#words, at)
      const next = (stored > now ? stored : now) + BigInt(every)
      const early = next - now - tolerance
      if (early > 0n) return Number(early) / 1e6
      if (Atomics.compareExchange(this.#words, at, stored, next) === stored) return 0
    }
  }

  /**
   * Takes one log line of a function. False when it has had `linesMax` in this second, which begins with its first line
   * [R13.4 P31].
   */
  takeLogLine(slot: number, linesMax: number, nowMs: number): boolean {
    const now = BigInt(Math.floor(nowMs))
    const at = (slot * this.#recordBytes + ARRIVAL_BYTES) / LOG_BYTES
    for (;;) {
      const stored = Atomics.load(this.#words, at)
      const isOver = now - (stored >> LOG_COUNT_BITS) >= logWindowMs
      const taken = isOver ? 0n : stored & LOG_COUNT_MASK
      if (taken >= BigInt(linesMax)) return false
      const next = isOver ? (now << LOG_COUNT_BITS) | 1n : stored + 1n
      if (Atomics.compareExchange(this.#words, at, stored, next) === stored) return true
    }
  }

  /** Log lines that a function may still write in this second, of `linesMax`; nothing is taken. */
  logLinesLeft(slot: number, linesMax: number, nowMs: number): number {
    const stored = Atomics.load(this.#words, (slot * this.#recordBytes + ARRIVAL_BYTES) / LOG_BYTES)
    const began = stored >> LOG_COUNT_BITS
    if (BigInt(Math.floor(nowMs)) - began >= logWindowMs) return linesMax
    return Math.max(linesMax - Number(stored & LOG_COUNT_MASK), 0)
  }

  /**
   * Begins a call in `worker`; false when more than `max` would run on the node. Counted first and then looked at, so that
   * two workers at once may both be refused, but never both admitted.
   */
  enter(slot: number, worker: number, max: number): boolean {
    const first = this.#countsAt(slot)
    Atomics.add(this.#counts, first + worker, 1)
    if (this.running(slot) <= max) return true
    Atomics.sub(this.#counts, first + worker, 1)
    return false
  }

  leave(slot: number, worker: number): void {
    Atomics.sub(this.#counts, this.#countsAt(slot) + worker, 1)
  }

  /** Calls that run for a function on the whole node, as far as its concurrency is limited. */
  running(slot: number): number {
    const first = this.#countsAt(slot)
    let sum = 0
    for (let worker = 0; worker < this.#workers; worker += 1) {
      sum += Atomics.load(this.#counts, first + worker)
    }
    return sum
  }

  /** Forgets the calls of a worker that is gone. */
  clearWorker(worker: number, slots: Iterable<number>): void {
    for (const slot of slots) Atomics.store(this.#counts, this.#countsAt(slot) + worker, 0)
  }

  /** Forgets a slot, before it is given to another function. */
  clear(slot: number): void {
    const first = (slot * this.#recordBytes) / ARRIVAL_BYTES
    Atomics.store(this.#words, first, 0n)
    Atomics.store(this.#words, first + 1, 0n)
    for (let worker = 0; worker < this.#workers; worker += 1) {
      Atomics.store(this.#counts, this.#countsAt(slot) + worker, 0)
    }
  }

  /** Index of a slot's first count. */
  #countsAt(slot: number): number {
    return (slot * this.#recordBytes + ARRIVAL_BYTES + LOG_BYTES) / COUNT_BYTES
  }
}
