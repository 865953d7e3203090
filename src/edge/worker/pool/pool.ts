/**
 * The hot instances of one function version in this worker [R5 P7 P8]: which exist, on which thread, which are idle. Pure
 * bookkeeping; who runs what is the dispatcher's.
 */

import { LIMITS } from '../../../protocol/limits.ts'
import type { RunReport } from '../runtime/runner.ts'
import type { PoolBudget } from './budget.ts'
import type { Instance } from './instance.ts'
import type { LoadedCode } from './loaded-code.ts'
import { Proof } from './proof.ts'

/** Milliseconds between looks for instances that have been idle too long. */
export const reapEveryMs = 15_000

export interface PoolLimits {
  readonly instancesMin: number
  readonly instancesMax: number
  readonly idleMsMax: number
}

export const POOL_LIMITS: PoolLimits = {
  instancesMin: LIMITS.poolInstancesMin,
  instancesMax: LIMITS.poolInstancesMax,
  idleMsMax: LIMITS.poolIdleMsMax,
}

export interface PoolOptions {
  readonly key: string
  /** Key of the module that its instances are made of. */
  readonly code: string
  readonly limits: PoolLimits
  /** Shared by all pools of the worker. */
  readonly budget: PoolBudget<Pool>
  readonly loaded: Pick<LoadedCode, 'made' | 'gone'>
}

export class Pool {
  readonly key: string
  readonly code: string
  readonly #loaded: Pick<LoadedCode, 'made' | 'gone'>
  readonly #limits: PoolLimits
  readonly #budget: PoolBudget<Pool>
  /** Most recently used last. */
  #idle: Instance[] = []
  readonly #leased = new Set<Instance>()
  #retired = false
  /** Whether calls run in the inline lane. */
  readonly proof = new Proof()
  /** Whether it is about to be let in there. */
  promoting = false
  /** When code that needs no instance of the pool's was last noted as used there, in monotonic milliseconds. */
  inlineUsedMs = 0

  constructor({ key, code, limits, budget, loaded }: PoolOptions) {
    this.key = key
    this.code = code
    this.#loaded = loaded
    this.#limits = limits
    this.#budget = budget
  }

  /** Instances alive, idle or leased. */
  get size(): number {
    return this.#idle.length + this.#leased.size
  }

  get leased(): number {
    return this.#leased.size
  }

  get bytes(): number {
    let sum = 0
    for (const instance of this.#idle) sum += instance.bytes
    for (const instance of this.#leased) sum += instance.bytes
    return sum
  }

  get retired(): boolean {
    return this.#retired
  }

  /** Leases the idle instance that was used last on a thread that `isFree`; null when there is none [P7]. */
  reuse(isFree: (thread: number) => boolean): Instance | null {
    for (let index = this.#idle.length - 1; index >= 0; index -= 1) {
      const instance = this.#idle[index]
      if (instance === undefined || !isFree(instance.thread)) continue
      this.lease(instance)
      return instance
    }
    return null
  }

  /** The idle instance of a thread that was used last; it stays idle. */
  idleOn(thread: number): Instance | null {
    for (let index = this.#idle.length - 1; index >= 0; index -= 1) {
      const instance = this.#idle[index]
      if (instance?.thread === thread) return instance
    }
    return null
  }

  /** Takes out the idle instances of all threads but one. */
  evictBeside(thread: number): Instance[] {
    const others = this.#idle.filter((instance) => instance.thread !== thread)
    this.#idle = this.#idle.filter((instance) => instance.thread === thread)
    for (const instance of others) this.#left(instance)
    return others
  }

  /** Notes that an idle instance has been used, without having been leased. */
  touch(instance: Instance, nowMs: number): void {
    if (!this.lease(instance)) return
    this.release(instance, true, nowMs)
  }

  /** Leases an idle instance; false when it is not one of them. */
  lease(instance: Instance): boolean {
    const index = this.#idle.indexOf(instance)
    if (index < 0) return false
    this.#idle.splice(index, 1)
    this.#leased.add(instance)
    this.#budget.leased(instance)
    return true
  }

  /**
   * Leases a new instance, taken to cost `cost` bytes; null when the pool is full, not counting `asleep` of the leased ones,
   * whose guests wait in a host function. The caller makes it.
   */
  create(
    at: Pick<Instance, 'id' | 'thread' | 'cost'>,
    nowMs: number,
    asleep: number,
  ): Instance | null {
    if (this.size - asleep >= this.#limits.instancesMax) return null
    const sizes = { bytes: 0, memoryAt: 0, memoryBytes: 0, untouched: 0 }
    const instance: Instance = { ...at, ...sizes, unseen: false, usedMs: nowMs }
    this.#leased.add(instance)
    this.#budget.created(instance)
    this.#loaded.made(this.code)
    return instance
  }

  /**
   * Ends a lease. `alive`: the instance may be used again. True: it is kept; false: it is not (any more) part of the pool,
   * and if it is alive the caller destroys it [P8].
   */
  release(instance: Instance, alive: boolean, nowMs: number): boolean {
    if (!this.#leased.delete(instance)) return false
    if (!alive || this.#retired || this.#idle.length >= this.#limits.instancesMax) {
      this.#left(instance)
      return false
    }
    instance.usedMs = nowMs
    this.#idle.push(instance)
    this.#budget.idled(instance, this)
    return true
  }

  /** Notes what a leased instance has come to. */
  resize(
    instance: Instance,
    { bytes, memory_at, memory_bytes }: Pick<RunReport, 'bytes' | 'memory_at' | 'memory_bytes'>,
    cost: number,
  ): void {
    if (!this.#leased.has(instance)) return
    instance.bytes = bytes
    instance.memoryAt = memory_at
    instance.memoryBytes = memory_bytes
    this.#budget.resized(instance, cost)
  }

  /** Takes the least recently used idle instance out, to make room; null when none is idle. */
  evict(): Instance | null {
    const oldest = this.#idle.shift() ?? null
    if (oldest !== null) this.#left(oldest)
    return oldest
  }

  /** Takes out what has been idle too long, least recently used first, but keeps the minimum. */
  reap(nowMs: number): Instance[] {
    const reaped: Instance[] = []
    for (;;) {
      const oldest = this.#idle[0]
      if (oldest === undefined || this.size <= this.#limits.instancesMin) return reaped
      if (nowMs - oldest.usedMs < this.#limits.idleMsMax) return reaped
      this.evict()
      reaped.push(oldest)
    }
  }

  /** No lease is given again; takes all idle instances out. Leased ones leave by `release`. */
  retire(): Instance[] {
    this.#retired = true
    const idle = this.#idle.splice(0)
    for (const instance of idle) this.#left(instance)
    return idle
  }

  /** Forgets the idle instances of a thread that is gone; leased ones leave by `release`. Returns how many. */
  forgetThread(thread: number): number {
    const lost = this.#idle.filter((instance) => instance.thread === thread)
    this.#idle = this.#idle.filter((instance) => instance.thread !== thread)
    for (const instance of lost) this.#left(instance)
    return lost.length
  }

  #left(instance: Instance): void {
    this.#budget.left(instance)
    this.#loaded.gone(this.code)
  }
}
