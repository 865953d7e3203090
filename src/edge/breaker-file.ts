/**
 * The circuit breakers of all functions, for the node and not per worker: one memory-mapped file of all workers (DESIGN section
 * 1). Per function slot: the state in one word that is changed by compare-and-swap, and the calls of the last seconds in buckets.
 */

import { LIMITS } from '../protocol/limits.ts'
import type { Breaker, Verdict } from './breaker.ts'
import { admit, BREAKER_STATES, CLOSED, settleProbe, trip, workerDied } from './breaker.ts'
import { mapShared } from './shared-file.ts'

const RECORD_BYTES = 64
/** Int32 cells of a record; the state's word takes the first two. */
const RECORD_CELLS = RECORD_BYTES / 4
const CELL = { state: 0, opened: 2, version: 3, buckets: 4 } as const
const BUCKETS = 5
const bucketMs = LIMITS.breakerWindowMs / BUCKETS

/** Bits of a bucket: calls, of which failures, and the time that it is of. Both counts stop at their largest value. */
const COUNT_BITS = 10
const bucketCallsMax = 2 ** COUNT_BITS - 1

/** A function version by its slot. */
interface Called {
  readonly slot: number
  readonly version: number
  readonly max_execution_ms: number
}

/** A call that went through; to be settled once. */
export interface Ticket {
  readonly slot: number
  readonly version: number
  /** The period of a probe; null for a call through a closed breaker. */
  readonly period: number | null
}

export class BreakerFile {
  readonly #words: BigInt64Array<ArrayBufferLike>
  readonly #cells: Int32Array<ArrayBufferLike>

  /** Opens the file, made when it is missing. */
  constructor(path: string) {
    const buffer = mapShared(path, LIMITS.armsMax * RECORD_BYTES)
    this.#words = new BigInt64Array(buffer)
    this.#cells = new Int32Array(buffer)
  }

  /** Lets a call through, or says in how many milliseconds to come again. `now` gives milliseconds since the epoch. */
  enter(fn: Called, now: () => number): Ticket | number {
    const { slot, version } = fn
    const at = slot * RECORD_CELLS
    // Another version has nothing to do with what the one before it did.
    const before = Atomics.load(this.#cells, at + CELL.version)
    if (before !== version) this.#begin(slot, before, version)
    if (this.isClosed(slot)) return { slot, version, period: null }
    for (;;) {
      const word = this.#load(slot)
      const breaker = decode(word)
      const admitted = admit(breaker, now(), probeMsOf(fn))
      if (admitted.kind === 'call') return { slot, version, period: null }
      if (admitted.next !== breaker && !this.#swap(slot, word, admitted.next)) continue
      if (admitted.kind === 'refused') return admitted.retryMs
      return { slot, version, period: admitted.next.until }
    }
  }

  /** Every call goes through. The state is in the low bits of its word, so this usual case needs no BigInt. */
  isClosed(slot: number): boolean {
    return (Atomics.load(this.#cells, slot * RECORD_CELLS + CELL.state) & 3) === 0
  }

  /** In how many milliseconds a call may go through; 0: it may now. Changes nothing. */
  waitMs(fn: Called, now: number): number {
    if (this.isClosed(fn.slot)) return 0
    if (Atomics.load(this.#cells, fn.slot * RECORD_CELLS + CELL.version) !== fn.version) return 0
    const admitted = admit(decode(this.#load(fn.slot)), now, probeMsOf(fn))
    return admitted.kind === 'refused' ? admitted.retryMs : 0
  }

  settle({ slot, version, period }: Ticket, verdict: Verdict, now: number): void {
    const at = slot * RECORD_CELLS
    if (Atomics.load(this.#cells, at + CELL.version) !== version) return
    if (verdict !== 'nothing') this.#count(slot, verdict === 'failure', now)
    if (period === null && verdict !== 'failure') return
    this.#change(slot, (breaker) =>
      period === null
        ? trip(breaker, this.window(slot, now), now)
        : settleProbe(breaker, period, verdict, now),
    )
  }

  /** A call of a version ended with its worker, which can settle nothing any more. */
  workerDied(slot: number, version: number, now: number): void {
    if (Atomics.load(this.#cells, slot * RECORD_CELLS + CELL.version) !== version) return
    this.#count(slot, true, now)
    this.#change(slot, (breaker) => workerDied(breaker, this.window(slot, now), now))
  }

  read(slot: number): Breaker {
    return decode(this.#load(slot))
  }

  /** How often it has opened since the slot was given to its function. */
  opened(slot: number): number {
    return Atomics.load(this.#cells, slot * RECORD_CELLS + CELL.opened)
  }

  /** Calls and failures of the window that ends `now`. */
  window(slot: number, now: number): { calls: number; failures: number } {
    const newest = Math.floor(now / bucketMs)
    let calls = 0
    let failures = 0
    for (let index = newest - BUCKETS + 1; index <= newest; index += 1) {
      const bucket = Atomics.load(this.#cells, bucketCell(slot, index))
      if (bucket >>> (2 * COUNT_BITS) !== tagOf(index)) continue
      calls += (bucket >>> COUNT_BITS) & bucketCallsMax
      failures += bucket & bucketCallsMax
    }
    return { calls, failures }
  }

  /** Forgets a slot, before it is given to another function. */
  clear(slot: number): void {
    Atomics.store(this.#words, slot * (RECORD_BYTES / 8), 0n)
    Atomics.store(this.#cells, slot * RECORD_CELLS + CELL.opened, 0)
    Atomics.store(this.#cells, slot * RECORD_CELLS + CELL.version, 0)
    this.#forgetCalls(slot)
  }

  #change(slot: number, step: (breaker: Breaker) => Breaker): void {
    for (;;) {
      const word = this.#load(slot)
      const breaker = decode(word)
      const next = step(breaker)
      if (next === breaker) return
      // What made it open must not open it again at the first failure.
      if (next.state === 'closed') this.#forgetCalls(slot)
      if (this.#swap(slot, word, next)) return
    }
  }

  #begin(slot: number, before: number, version: number): void {
    const cell = slot * RECORD_CELLS + CELL.version
    if (Atomics.compareExchange(this.#cells, cell, before, version) !== before) return
    Atomics.store(this.#words, slot * (RECORD_BYTES / 8), 0n)
    this.#forgetCalls(slot)
  }

  #count(slot: number, failed: boolean, now: number): void {
    const index = Math.floor(now / bucketMs)
    const cell = bucketCell(slot, index)
    const tag = tagOf(index)
    for (;;) {
      const bucket = Atomics.load(this.#cells, cell)
      const current = bucket >>> (2 * COUNT_BITS) === tag ? bucket : tag << (2 * COUNT_BITS)
      if (((current >>> COUNT_BITS) & bucketCallsMax) === bucketCallsMax) return
      const next = (current + (1 << COUNT_BITS) + Number(failed)) | 0
      if (Atomics.compareExchange(this.#cells, cell, bucket, next) === bucket) return
    }
  }

  #forgetCalls(slot: number): void {
    const first = slot * RECORD_CELLS + CELL.buckets
    for (let cell = first; cell < first + BUCKETS; cell += 1) Atomics.store(this.#cells, cell, 0)
  }

  #load(slot: number): bigint {
    return Atomics.load(this.#words, slot * (RECORD_BYTES / 8))
  }

  #swap(slot: number, word: bigint, next: Breaker): boolean {
    const at = slot * (RECORD_BYTES / 8)
    if (Atomics.compareExchange(this.#words, at, word, encode(next)) !== word) return false
    const was = BREAKER_STATES[Number(word & 3n)]
    if (next.state === 'open' && was !== 'open') {
      Atomics.add(this.#cells, slot * RECORD_CELLS + CELL.opened, 1)
    }
    return true
  }
}

/** How long a probe may take until it is given up: the longest that a call of the function may, and some more. */
function probeMsOf(fn: Called): number {
  return LIMITS.queueWaitMsMax + fn.max_execution_ms + LIMITS.breakerOpenMsMin
}

function bucketCell(slot: number, index: number): number {
  return slot * RECORD_CELLS + CELL.buckets + (index % BUCKETS)
}

/** Which use of its cell a bucket is of. It comes again after 11 hours, when the cell has been used since or holds zeros of no weight. */
function tagOf(index: number): number {
  return Math.floor(index / BUCKETS) & 0xfff
}

/** State 2 bits, level 6, probes that run 5, that succeeded 5, milliseconds since the epoch. */
export function encode({ state, level, running, succeeded, until }: Breaker): bigint {
  const low = BREAKER_STATES.indexOf(state) | (level << 2) | (running << 8) | (succeeded << 13)
  return BigInt(low) | (BigInt(Math.ceil(until)) << 18n)
}

export function decode(word: bigint): Breaker {
  if (word === 0n) return CLOSED
  const low = Number(word & 0x3ffffn)
  return {
    state: BREAKER_STATES[low & 3] ?? 'closed',
    level: (low >> 2) & 63,
    running: (low >> 8) & 31,
    succeeded: (low >> 13) & 31,
    until: Number(word >> 18n),
  }
}
