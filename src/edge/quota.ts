/**
 * What the quotas of functions need to hold for the whole node and not per worker: one memory-mapped file of all workers
 * (DESIGN section 1). Per function slot: when its next request is due (GCRA), and how many calls each worker runs for it.
 */

import { LIMITS } from '../protocol/limits.ts'
import type { Quotas } from '../protocol/manifest.ts'
import { mapShared } from './shared-file.ts'

/** The theoretical arrival time, nanoseconds of the monotonic clock. */
const ARRIVAL_BYTES = 8
const COUNT_BYTES = 4
const CACHE_LINE_BYTES = 64

const nsPerSecond = 1e9

type RateQuotas = Pick<Quotas, 'requests_per_second' | 'burst'>

export class QuotaFile {
  readonly #arrivals: BigInt64Array<ArrayBufferLike>
  readonly #counts: Int32Array<ArrayBufferLike>
  readonly #recordBytes: number
  readonly #workers: number

  /** Opens the file, made when it is missing. Every process gives the same number of workers. */
  constructor(path: string, workers: number) {
    const bytes = ARRIVAL_BYTES + workers * COUNT_BYTES
    this.#recordBytes = Math.ceil(bytes / CACHE_LINE_BYTES) * CACHE_LINE_BYTES
    this.#workers = workers
    const buffer = mapShared(path, LIMITS.functionsMax * this.#recordBytes)
    this.#arrivals = new BigInt64Array(buffer)
    this.#counts = new Int32Array(buffer)
  }

  /**
   * Takes one request of a function's rate. 0: it is within it; else milliseconds after which it would be. `burst` requests
   * may come at once; without one, as many as come in a second.
   */
  takeRate(slot: number, quotas: RateQuotas, nowMs: number): number {
    const rate = quotas.requests_per_second
    if (rate === null) return 0
    const every = BigInt(Math.max(Math.round(nsPerSecond / rate), 1))
    const burst = BigInt(quotas.burst ?? Math.max(Math.ceil(rate), 1))
    const now = BigInt(Math.round(nowMs * 1e6))
    const at = (slot * this.#recordBytes) / ARRIVAL_BYTES
    for (;;) {
      const stored = Atomics.load(this.#arrivals, at)
      const next = (stored > now ? stored : now) + every
      const early = next - now - every * burst
      if (early > 0n) return Number(early) / 1e6
      if (Atomics.compareExchange(this.#arrivals, at, stored, next) === stored) return 0
    }
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
    Atomics.store(this.#arrivals, (slot * this.#recordBytes) / ARRIVAL_BYTES, 0n)
    for (let worker = 0; worker < this.#workers; worker += 1) {
      Atomics.store(this.#counts, this.#countsAt(slot) + worker, 0)
    }
  }

  /** Index of a slot's first count. */
  #countsAt(slot: number): number {
    return (slot * this.#recordBytes + ARRIVAL_BYTES) / COUNT_BYTES
  }
}
