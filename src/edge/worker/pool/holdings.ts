/**
 * What a worker holds for its functions, within its memory: pools of hot instances, the code of their modules, and which of them
 * goes first [R5 P9]. Who runs what is the dispatcher's.
 */

import type { TouchedPages } from '../../../../ffi/touched-pages.ts'
import { EdgefnError } from '../../../errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { MemoryPressure, WorkerFunction } from '../../ipc.ts'
import type { StatsFile } from '../../stats.ts'
import { codeKey, keepsInstances, poolKey } from '../call.ts'
import type { ThreadSet } from '../lanes/thread-set.ts'
import type { RunReport } from '../runtime/runner.ts'
import { budgetShareMax, PoolBudget, pressedShareMax } from './budget.ts'
import { instanceCodeBytes, instanceCost, loadingBytesMax, type Instance } from './instance.ts'
import { LoadedCode, returnBytesMin } from './loaded-code.ts'
import { PoolGauges } from './pool-gauges.ts'
import { Pool, POOL_LIMITS } from './pool.ts'

export interface HoldingsOptions {
  readonly threads: ThreadSet
  readonly stats: StatsFile
  /** Milliseconds of a monotonic clock. */
  readonly nowMs: () => number
  /** What all hot instances (`pool/instance.ts`) and the code of their modules may cost together, in bytes. */
  readonly pool_bytes_max: number
  readonly touched: TouchedPages
}

export class Holdings {
  readonly gauges: PoolGauges
  readonly budget: PoolBudget<Pool>
  readonly #threads: ThreadSet
  readonly #stats: StatsFile
  readonly #nowMs: () => number
  readonly #pools = new Map<string, Pool>()
  /** The same by function, for it is looked up with each call. */
  readonly #poolOf = new WeakMap<WorkerFunction, Pool>()
  readonly #code = new LoadedCode()
  /** Pools whose functions run the same module, by its key; retired ones as long as calls of them run. */
  readonly #users = new Map<string, Set<Pool>>()
  /** What modules that are being loaded may come to take. */
  #loadingBytes = 0
  readonly #touched: TouchedPages
  #pressure: MemoryPressure = 0
  /** What instances cost that were destroyed since memory was last returned to the system. */
  #freedBytes = 0
  /** Instances alive in all pools, retired ones included. */
  #alive = 0
  #nextInstance = 1

  constructor({ threads, stats, nowMs, pool_bytes_max, touched }: HoldingsOptions) {
    this.#threads = threads
    this.#stats = stats
    this.#nowMs = nowMs
    this.#touched = touched
    this.gauges = new PoolGauges(stats, this.#pools)
    this.budget = new PoolBudget(pool_bytes_max)
  }

  get pressure(): MemoryPressure {
    return this.#pressure
  }

  /** Makes `functions` the ones served, and retires the pools of others. */
  assign(functions: readonly WorkerFunction[]): void {
    this.gauges.assign(functions)
    for (const key of this.#pools.keys()) if (!this.gauges.isServed(key)) this.#retire(key)
    // Warm-ups were counted before their functions were in service, and slots are cleared when they are taken.
    this.gauges.countAll()
  }

  /** Another form takes the place of a function. */
  upgrade(from: WorkerFunction, to: WorkerFunction): void {
    const former = poolKey(from)
    this.gauges.replace(from, to)
    if (!this.gauges.isServed(former)) this.#retire(former)
    this.gauges.count(poolKey(to))
  }

  #retire(key: string): void {
    const pool = this.#pools.get(key)
    if (pool === undefined) return
    this.#pools.delete(key)
    for (const instance of pool.retire()) this.#destroy(instance)
    if (pool.leased === 0) this.#ended(pool)
  }

  /** Of a retired pool no call runs any more. The last one that uses a module takes that with it. */
  #ended(pool: Pool): void {
    const users = this.#users.get(pool.code)
    users?.delete(pool)
    if (users?.size === 0) {
      this.#users.delete(pool.code)
      this.#unload(pool.code)
    }
    const [functionId = ''] = pool.key.split('/', 1)
    const isGone = !this.gauges.isServedFunction(functionId)
    this.#threads.forget(pool.key, isGone ? functionId : null)
  }

  /** Holds to what the node's memory allows. */
  relieve(level: MemoryPressure): void {
    this.#pressure = level
    if (level === 0) return
    this.#threads.dropForms()
    this.#threads.reap(0)
    for (const pool of this.#pools.values()) this.#shed(pool)
    this.#trim()
    this.#returnMemory(1)
  }

  /** The pool of a function, made when there is none. */
  pool(fn: WorkerFunction): Pool {
    const known = this.#poolOf.get(fn)
    if (known !== undefined && !known.retired) return known
    const key = poolKey(fn)
    let pool = this.#pools.get(key)
    if (pool === undefined) {
      const code = codeKey(fn)
      const { budget } = this
      pool = new Pool({ key, code, limits: POOL_LIMITS, budget, loaded: this.#code })
      this.#pools.set(key, pool)
      const users = this.#users.get(code)
      if (users === undefined) this.#users.set(code, new Set([pool]))
      else users.add(pool)
    }
    this.#poolOf.set(fn, pool)
    return pool
  }

  /** The pool of a function that is served; undefined when none was made for it yet. */
  known(fn: WorkerFunction): Pool | undefined {
    const pool = this.#poolOf.get(fn)
    return pool?.retired === false ? pool : undefined
  }

  /** Whether any function has a pool of the module under this key. */
  isUsed(code: string): boolean {
    return this.#users.has(code)
  }

  /** Notes that a module is being loaded on a thread, and how many bytes that takes until it is. */
  loading(bytes: number): void {
    this.#loadingBytes += bytes
  }

  /** Notes that a thread has used a module's code. */
  usedCode(pool: Pool, thread: number, bytes: number): void {
    if (bytes > 0) this.#code.used(pool.code, thread, bytes, this.#nowMs())
  }

  /** Leases a new instance on a thread, which is to make it; null when there may be none. */
  create(fn: WorkerFunction, pool: Pool, thread: number, own = 0): Instance | null {
    if (!this.#roomInProcess()) return null
    // A pool that is full of instances on busy threads gives one up for one that can run.
    const evicted = pool.size - own >= POOL_LIMITS.instancesMax ? pool.evict() : null
    if (evicted !== null) this.#destroy(evicted)
    const cost = instanceCost({ code: instanceCodeBytes(fn), memory: 0, tables: 0 })
    const at = { id: this.#nextInstance, thread, cost }
    const created = pool.create(at, this.#nowMs(), own)
    if (created === null) return null
    this.#nextInstance += 1
    this.#alive += 1
    this.#trim()
    return created
  }

  /** Ends a lease. True when the pool is left with less than its minimum and had better make another instance. */
  release(
    fn: WorkerFunction,
    pool: Pool,
    instance: Instance,
    report: RunReport | EdgefnError,
  ): boolean {
    const alive = !(report instanceof EdgefnError) && report.alive
    const loaded = !(report instanceof EdgefnError) && report.loaded
    if (!(report instanceof EdgefnError)) {
      const code = instanceCodeBytes(fn)
      const sizes = { code, memory: report.bytes, tables: report.table_bytes }
      pool.resize(instance, report, instanceCost(sizes))
    }
    if (!loaded) this.#threads.notLoaded(instance.thread, pool.code)
    else this.usedCode(pool, instance.thread, report.code_bytes)
    const kept = pool.release(instance, alive, this.#nowMs())
    if (!kept) this.#alive -= 1
    if (!kept) this.#freedBytes += instance.cost
    if (this.#pressure > 0) this.#shed(pool)
    if (alive && !kept) this.#threads.destroy(instance.thread, instance.id)
    if (pool.retired && pool.leased === 0) this.#ended(pool)
    this.#trim()
    // One that failed while it was made would do so again, and its start may hold a thread for long.
    const wasWarm = !(report instanceof EdgefnError) && !report.outcome.cold
    const isShort = !pool.retired && pool.size < POOL_LIMITS.instancesMin
    return isShort && !alive && loaded && wasWarm && keepsInstances(fn.abi)
  }

  /** Notes that an instance has run without having been leased; it may be gone when this returns. */
  ran(instance: Instance): void {
    if (instance.untouched === 0) return
    this.budget.ran(instance)
    this.#trim()
  }

  /** Gives up what a pool has idle on other threads than one: that one answers alone, as long as it is quick. */
  keepOnly(pool: Pool, thread: number): void {
    for (const instance of pool.evictBeside(thread)) this.#destroy(instance)
    this.gauges.count(pool.key)
  }

  /** Gives up what has been idle too long. */
  reap(): void {
    const now = this.#nowMs()
    for (const [key, pool] of this.#pools) {
      const reaped = pool.reap(now)
      for (const instance of reaped) this.#destroy(instance)
      if (reaped.length > 0) this.gauges.count(key)
    }
    this.#returnMemory(this.#pressure === 0 ? returnBytesMin : 1)
    this.#threads.reap(LIMITS.threadIdleMsMax)
  }

  /** Destroys an instance that a pool has let go of while idle. */
  #destroy(instance: Instance): void {
    this.#alive -= 1
    this.#freedBytes += instance.cost
    this.#threads.destroy(instance.thread, instance.id)
  }

  /** P9: while too much is held, the idle instance or the module that was used least recently goes. */
  #trim(): void {
    const share = this.#pressure === 0 ? budgetShareMax : pressedShareMax
    while (this.budget.isOver(share, this.#code.bytes) && (this.#look() || this.#evictOldest()));
  }

  /** Makes room for a module that is to be loaded. False while others are being loaded and there is none: it waits for them. */
  hasRoomToLoad(fn: WorkerFunction): boolean {
    const bytes = loadingBytesMax(fn) + this.#loadingBytes
    while (this.budget.isOver(budgetShareMax, this.#code.bytes + bytes)) {
      if (!this.#look() && !this.#evictOldest()) return this.#loadingBytes === 0
    }
    return true
  }

  /** Has all threads drop a module; calls load it again. */
  #unload(code: string): void {
    for (const pool of this.#users.get(code) ?? []) pool.proof.leave()
    this.#threads.unload(code)
    this.#freedBytes += this.#code.unloaded(code)
  }

  /** Whether a call needs no more than what is there. */
  isWarm(fn: WorkerFunction, pool: Pool): boolean {
    return keepsInstances(fn.abi) ? pool.size > 0 : this.#threads.anyHas(pool.code)
  }

  /** Gives up idle instances down to the minimum. */
  #shed(pool: Pool): void {
    while (pool.size > POOL_LIMITS.instancesMin && this.#evictFrom(pool));
  }

  #returnMemory(bytesMin: number): void {
    if (this.#freedBytes >= bytesMin && this.#threads.returnMemory()) this.#freedBytes = 0
  }

  /** Looks what one more instance has touched of its memory, on whichever thread it is. False when that is known of all. */
  #look(): boolean {
    const instance = this.budget.takeUnseen()
    if (instance === null) return false
    const { memoryAt, memoryBytes } = instance
    this.budget.looked(instance, memoryBytes - this.#touched.bytes(memoryAt, memoryBytes))
    return true
  }

  /** False when all that is held is in use. */
  #evictOldest(): boolean {
    const idle = this.budget.oldest()
    const code = this.#code.oldest()
    if (code !== null && code.usedMs < (idle?.instance.usedMs ?? Infinity)) {
      this.#unload(code.key)
      return true
    }
    if (idle === null || !this.#evictFrom(idle.pool)) return false
    if (!this.#code.hasInstances(idle.pool.code)) this.#unload(idle.pool.code)
    return true
  }

  /** Makes room for one more instance in the process, whatever it costs. False when all that there are run. */
  #roomInProcess(): boolean {
    const { processInstancesMax, processMappingsMax } = LIMITS
    while (this.#mappings() >= processMappingsMax) if (!this.#evictOldest()) return false
    if (this.#alive < processInstancesMax) return true
    const idle = this.budget.oldest()
    return idle !== null && this.#evictFrom(idle.pool)
  }

  /** What instances and modules have of the mappings that the kernel allows a process, at most. */
  #mappings(): number {
    return this.#alive * LIMITS.mappingsPerInstance + this.#code.copies * LIMITS.mappingsPerModule
  }

  #evictFrom(pool: Pool): boolean {
    const evicted = pool.evict()
    if (evicted === null) return false
    this.#destroy(evicted)
    this.gauges.count(pool.key)
    this.#stats.addWorker('pool_evictions', 1)
    return true
  }

  /** A thread is gone, with what it held. */
  forgetThread(thread: number): void {
    for (const [key, pool] of this.#pools) {
      const lost = pool.forgetThread(thread)
      this.#alive -= lost
      if (lost > 0) this.gauges.count(key)
    }
    this.#code.forgetThread(thread)
  }
}
