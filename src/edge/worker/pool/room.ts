/**
 * Whether one more call may run: beside those that run and not beside those that sleep, whose threads take no processor
 * (`lanes/rest.ts`). And when to look again because a thread has fallen asleep.
 */

import { LIMITS } from '../../../protocol/limits.ts'
import type { WorkerFunction } from '../../ipc.ts'
import { NONE_ASLEEP } from '../lanes/thread-set.ts'
import type { Asleep, ThreadSet } from '../lanes/thread-set.ts'
import type { PoolBudget } from './budget.ts'
import { holdersMax, runningBytesMax, threadBytes } from './instance.ts'
import type { Job } from './job.ts'
import type { Pool } from './pool.ts'

/** Milliseconds between two looks at what waits that are due to sleeping threads, however often guests sleep. A look takes some 20 µs. */
const lookMs = 0.25

export interface RoomOptions {
  readonly threads: ThreadSet
  readonly budget: PoolBudget<Pool>
  /** Looks at what waits. */
  readonly look: () => void
}

export class Room {
  readonly #threads: ThreadSet
  readonly #budget: PoolBudget<Pool>
  readonly #look: () => void
  #timer: ReturnType<typeof setTimeout> | null = null
  #lookedMs = 0
  /** The most calls, running and waiting, of a time when some had to wait although others slept. */
  #demand = 0
  #relied = false
  /** Calls that run, and what their threads and linear memories may come to. */
  #running = 0
  #bytes = 0

  constructor({ threads, budget, look }: RoomOptions) {
    this.#threads = threads
    this.#budget = budget
    this.#look = look
    threads.onAsleep(() => this.#lookSoon())
  }

  /** How many calls run, sleeping ones included. */
  get running(): number {
    return this.#running
  }

  began(fn: WorkerFunction): void {
    this.#running += 1
    this.#bytes += runningBytesMax(fn)
  }

  ended(fn: WorkerFunction): void {
    this.#running -= 1
    this.#bytes -= runningBytesMax(fn)
  }

  /** Null when the job must wait; else the threads in whose place it may run. `pressed`: the node's memory is short. */
  find({ kind, fn, pool }: Job, pressed: boolean): Asleep | null {
    const ownMax = Math.min(holdersMax(fn), this.#threads.ownMax)
    const roomy = this.#running < this.#threads.max && pool.leased < ownMax
    const relies = !roomy && !pressed && this.#budget.holds(this.#bytes + runningBytesMax(fn))
    const asleep = relies ? this.#threads.asleep() : NONE_ASLEEP
    this.#relied = asleep.all > 0
    const awake = pool.leased - (asleep.by.get(pool.key) ?? 0)
    if (!this.#threads.hasRoom(awake, asleep)) return null
    return kind === 'call' && awake >= ownMax ? null : asleep
  }

  /** How many threads may hold a function's module once it is to run beside `asleep`. */
  holdersMax(fn: WorkerFunction, pool: Pool, asleep: Asleep): number {
    // One that runs nowhere may be loaded once more, for all threads that have it may be busy with others for long.
    if (pool.leased === 0) return holdersMax(fn) + 1
    return Math.min(holdersMax(fn), this.#threads.ownMax + (asleep.by.get(pool.key) ?? 0))
  }

  /**
   * To be called after a look, with how many calls wait still and `ThreadSet.naps` from before it: a thread that falls asleep
   * from now on, or did since, makes for another look.
   */
  looked(waiting: number, naps: number): void {
    this.#threads.tellWhenAsleep(waiting > 0)
    this.#growFor(waiting)
    if (waiting > 0 && this.#threads.naps !== naps) this.#lookSoon()
  }

  /** Has threads ready for the next time: starting one takes more than most calls. */
  #growFor(waiting: number): void {
    if (waiting > 0 && this.#relied) {
      const most = this.#threads.ownMax + LIMITS.sleepingThreadsPerFunctionMax
      this.#demand = Math.max(this.#demand, Math.min(this.#running + waiting, most))
    }
    if (waiting > 0 || this.#demand === 0) return
    if (this.#budget.holds(this.#demand * threadBytes)) this.#threads.growTo(this.#demand)
    this.#demand = 0
  }

  #lookSoon(): void {
    if (this.#timer !== null) return
    const waitMs = this.#lookedMs + lookMs - performance.now()
    if (waitMs <= 0) return this.#lookNow()
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#lookNow()
    }, waitMs)
  }

  #lookNow(): void {
    this.#lookedMs = performance.now()
    this.#look()
  }
}
