/**
 * Decides where each call runs: a hot instance if one is free, else a new one on a free executor thread, else it waits its
 * turn [R5.1–R5.4]. Lives on the worker's main thread; guests run on executor threads only.
 */

import { EdgefnError, toEdgefnError } from '../../../errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { MemoryPressure, WorkerFunction } from '../../ipc.ts'
import type { StatsFile } from '../../stats.ts'
import type { VerdictFile } from '../../verdicts.ts'
import type { GuestRequest, Invoker, Outcome } from '../call.ts'
import { keepsInstances, poolKey, queueWaitMs } from '../call.ts'
import type { ExecutorThread } from '../lanes/executor-thread.ts'
import type { Asleep, ThreadSet } from '../lanes/thread-set.ts'
import type { RunReport } from '../runtime/runner.ts'
import { InlineCalls } from './inline-calls.ts'
import type { InlineHost } from './inline-calls.ts'
import { budgetShareMax, PoolBudget, pressedShareMax } from './budget.ts'
import { instanceCodeBytes, instanceCost, loadingBytesMax, type Instance } from './instance.ts'
import type { Job } from './job.ts'
import { LoadedCode, returnBytesMin } from './loaded-code.ts'
import { PoolGauges } from './pool-gauges.ts'
import { Pool, POOL_LIMITS, reapEveryMs } from './pool.ts'
import { Room } from './room.ts'
import { clientGone, failedOutcome, overloaded } from './refusals.ts'
import { suspectLookMs, Suspects } from './suspects.ts'
import { WaitingList } from './waiting-list.ts'

export interface DispatcherOptions {
  readonly threads: ThreadSet
  readonly stats: StatsFile
  /** Milliseconds of the clock of `GuestRequest.admitted_ms`. */
  readonly nowMs: () => number
  /** What all hot instances (`pool/instance.ts`) and the code of their modules may cost together, in bytes. */
  readonly pool_bytes_max: number
  readonly verdicts: VerdictFile
}

export class Dispatcher implements Invoker {
  readonly #threads: ThreadSet
  readonly #stats: StatsFile
  readonly #nowMs: () => number
  readonly #verdicts: VerdictFile
  readonly #suspects: Suspects
  readonly #inline: InlineCalls
  readonly #pools = new Map<string, Pool>()
  /** The same by function, for it is looked up with each call. */
  #poolOf = new WeakMap<WorkerFunction, Pool>()
  readonly #budget: PoolBudget<Pool>
  readonly #code = new LoadedCode()
  /** What modules that are being loaded may come to take. */
  #loadingBytes = 0
  readonly #gauges: PoolGauges
  readonly #room: Room
  readonly #waiting: WaitingList<Pool, Job>
  readonly #reaper: ReturnType<typeof setInterval>
  #suspectTimer: ReturnType<typeof setTimeout> | null = null
  #pressure: MemoryPressure = 0
  /** What instances cost that were destroyed since memory was last returned to the system. */
  #freedBytes = 0
  /** Instances alive in all pools, retired ones included. */
  #alive = 0
  #nextInstance = 1
  #closing: (() => void) | null = null

  constructor(options: DispatcherOptions) {
    this.#threads = options.threads
    this.#stats = options.stats
    this.#nowMs = options.nowMs
    this.#gauges = new PoolGauges(options.stats, this.#pools)
    this.#budget = new PoolBudget(options.pool_bytes_max)
    this.#room = new Room({
      threads: options.threads,
      budget: this.#budget,
      look: () => this.#startWaiting(),
    })
    this.#verdicts = options.verdicts
    this.#suspects = new Suspects(options.verdicts)
    const { threads, stats, verdicts } = options
    this.#inline = new InlineCalls({ threads, stats, verdicts, host: this.#inlineHost() })
    const limits = {
      itemsMax: LIMITS.queueRequestsMax,
      groupItemsMax: LIMITS.queueFunctionRequestsMax,
    }
    this.#waiting = new WaitingList(limits, (job) => {
      this.#countWaiting()
      job.settle(overloaded(`No executor became free within ${queueWaitMs(job.fn)} ms.`))
    })
    this.#reaper = setInterval(() => this.#reap(), reapEveryMs)
    this.#reaper.unref()
    options.threads.onLost((thread) => this.#forgetThread(thread))
  }

  invokeNow(fn: WorkerFunction, request: GuestRequest): Outcome | null {
    const pool = this.#poolOf.get(fn)
    if (pool === undefined || !pool.proof.inline || this.#closing !== null) return null
    return this.#inline.attempt(fn, pool, request, request.admitted_ms)
  }

  async invoke(
    fn: WorkerFunction,
    request: GuestRequest,
    client?: () => AbortSignal,
  ): Promise<Outcome> {
    const report = await new Promise<RunReport | EdgefnError>((settle) => {
      const pool = this.#pool(fn)
      const since = this.#nowMs()
      this.#submit({ kind: 'call', fn, pool, request, since, client: client ?? null, settle })
    })
    return report instanceof EdgefnError ? failedOutcome(report) : report.outcome
  }

  async prepare(fn: WorkerFunction): Promise<void> {
    const pool = this.#pool(fn)
    if (pool.size > 0) return
    const report = await new Promise<RunReport | EdgefnError>((settle) => {
      const since = this.#nowMs()
      this.#submit({ kind: 'prepare', fn, pool, request: null, since, client: null, settle })
    })
    if (report instanceof EdgefnError) throw report
    if (!report.outcome.ok) throw new EdgefnError(report.outcome.code, report.outcome.message)
  }

  assign(functions: readonly WorkerFunction[]): void {
    this.#gauges.assign(functions)
    for (const key of this.#pools.keys()) if (!this.#gauges.isServed(key)) this.#retire(key)
    // Warm-ups were counted before their functions were in service, and slots are cleared when they are taken.
    this.#gauges.countAll()
  }

  upgrade(from: WorkerFunction, to: WorkerFunction): void {
    const former = poolKey(from)
    this.#gauges.replace(from, to)
    if (!this.#gauges.isServed(former)) this.#retire(former)
    this.#gauges.count(poolKey(to))
  }

  #retire(key: string): void {
    const pool = this.#pools.get(key)
    if (pool === undefined) return
    this.#pools.delete(key)
    for (const instance of pool.retire()) this.#destroy(instance)
    if (pool.leased === 0) this.#unload(key)
  }

  relieve(level: MemoryPressure): void {
    this.#pressure = level
    if (level === 0) return
    this.#threads.dropForms()
    for (const pool of this.#pools.values()) this.#shed(pool)
    this.#trim()
    this.#returnMemory(1)
  }

  async close(): Promise<void> {
    clearInterval(this.#reaper)
    for (const job of this.#waiting.drain()) {
      job.settle(new EdgefnError('shutting_down', 'The worker is shutting down.'))
    }
    if (this.#room.running > 0) await new Promise<void>((resolve) => (this.#closing = resolve))
    await this.#threads.close()
  }

  #pool(fn: WorkerFunction): Pool {
    const known = this.#poolOf.get(fn)
    if (known !== undefined && !known.retired) return known
    const key = poolKey(fn)
    let pool = this.#pools.get(key)
    if (pool === undefined) {
      pool = new Pool({ key, limits: POOL_LIMITS, budget: this.#budget })
      this.#pools.set(key, pool)
    }
    this.#poolOf.set(fn, pool)
    return pool
  }

  #inlineHost(): InlineHost {
    return {
      pressure: () => this.#pressure,
      hasRoomToLoad: (fn) => this.#hasRoomToLoad(fn),
      create: (fn, pool, thread) => this.#create(fn, pool, thread),
      release: (fn, pool, instance, report) => {
        this.#release({ kind: 'prepare', fn, pool }, instance, report)
        this.#gauges.countPool(fn, pool)
      },
      usedCode: (pool, thread, report) =>
        this.#code.used(pool.key, thread, report.code_bytes, this.#nowMs()),
    }
  }

  #submit(job: Job): void {
    if (this.#pressure === 2 && job.kind === 'call' && !this.#isWarm(job)) {
      return job.settle(overloaded('The node is short of memory and starts no new instances.'))
    }
    const { naps } = this.#threads
    if (this.#start(job)) return
    const waitedMs = job.request === null ? 0 : this.#nowMs() - job.request.admitted_ms
    const client = job.client?.()
    if (client?.aborted === true) return job.settle(clientGone())
    if (!this.#waiting.add(job.pool, job, queueWaitMs(job.fn) - waitedMs)) {
      return job.settle(overloaded('Too many requests are waiting already.'))
    }
    this.#countWaiting(naps)
    client?.addEventListener('abort', () => this.#abandon(job), { once: true })
  }

  /** The client is gone; a call that still waits is not run. */
  #abandon(job: Job): void {
    if (!this.#waiting.remove(job.pool, job)) return
    this.#countWaiting()
    job.settle(clientGone())
  }

  /** Starts the job if it can run now. */
  #start(job: Job): boolean {
    // Quarantined since it began to wait.
    const refused = this.#verdicts.refusal(job.fn)
    if (refused !== null) {
      job.settle(refused)
      return true
    }
    if (this.#mustWaitForTurn(job)) return false
    const asleep = this.#room.find(job, this.#pressure > 0)
    if (asleep === null) return false
    const instance = this.#lease(job, asleep)
    const thread = instance === null ? undefined : this.#threads.get(instance.thread)
    if (instance === null || thread === undefined) return false
    void this.#run(job, instance, thread)
    return true
  }

  /** Whether the job's function is a suspect whose turn it is not; then the job is looked at again soon. */
  #mustWaitForTurn(job: Job): boolean {
    if (!this.#suspects.mustWait(job.fn, job.since, this.#nowMs())) return false
    this.#suspectTimer ??= setTimeout(() => {
      this.#suspectTimer = null
      this.#startWaiting()
    }, suspectLookMs)
    return true
  }

  /** P7: an idle instance that can run now comes before a new one. */
  #lease(job: Job, asleep: Asleep): Instance | null {
    const { pool, fn } = job
    const kept = pool.reuse((thread) => this.#threads.isFree(thread))
    if (kept !== null) return kept
    const grows = this.#pressure < 2 || job.kind === 'prepare'
    if (!grows && keepsInstances(fn.abi)) return null
    const own = asleep.by.get(pool.key) ?? 0
    const holders = this.#room.holdersMax(fn, pool, asleep)
    const thread = this.#threads.free(pool.key, grows ? holders : 0, asleep)
    if (thread === null) return null
    if (!this.#threads.hasLoaded(thread.index, pool.key) && !this.#hasRoomToLoad(fn)) return null
    return this.#create(fn, pool, thread.index, own)
  }

  /** Leases a new instance on a thread, which is to make it; null when there may be none. */
  #create(fn: WorkerFunction, pool: Pool, thread: number, own = 0): Instance | null {
    if (this.#alive >= LIMITS.processInstancesMax && !this.#evictOldest()) return null
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

  async #run(job: Job, instance: Instance, thread: ExecutorThread): Promise<void> {
    const { fn, pool } = job
    this.#room.began(fn)
    this.#suspects.started(thread.index, fn)
    const loading = this.#threads.hasLoaded(thread.index, pool.key) ? 0 : loadingBytesMax(fn)
    this.#loadingBytes += loading
    this.#threads.load(thread.index, pool.key)
    let report: RunReport | EdgefnError
    try {
      report =
        job.request === null
          ? await thread.prepare(fn, instance.id)
          : await thread.call(fn, instance.id, job.request)
    } catch (thrown) {
      report = toEdgefnError(thrown)
    }
    this.#room.ended(fn)
    this.#loadingBytes -= loading
    this.#suspects.ended(thread.index)
    this.#release(job, instance, report)
    if (job.kind === 'call' && !(report instanceof EdgefnError)) {
      this.#inline.ranOnThread(fn, pool, report, this.#nowMs())
    }
    job.settle(report)
    this.#gauges.countPool(fn, pool)
    if (this.#closing !== null && this.#room.running === 0) return this.#closing()
    this.#startWaiting()
  }

  #release(
    { kind, fn, pool }: Pick<Job, 'kind' | 'fn' | 'pool'>,
    instance: Instance,
    report: RunReport | EdgefnError,
  ): void {
    const alive = !(report instanceof EdgefnError) && report.alive
    const loaded = !(report instanceof EdgefnError) && report.loaded
    if (!(report instanceof EdgefnError)) {
      const code = instanceCodeBytes(fn)
      const sizes = { code, memory: report.bytes, tables: report.table_bytes }
      pool.resize(instance, report.bytes, instanceCost(sizes))
    }
    const now = this.#nowMs()
    if (!loaded) this.#threads.notLoaded(instance.thread, pool.key)
    else if (report.code_bytes > 0)
      this.#code.used(pool.key, instance.thread, report.code_bytes, now)
    const kept = pool.release(instance, alive, now)
    if (!kept) this.#alive -= 1
    if (!kept) this.#freedBytes += instance.cost
    if (this.#pressure > 0) this.#shed(pool)
    if (alive && !kept) this.#threads.destroy(instance.thread, instance.id)
    if (pool.retired && pool.leased === 0 && !this.#pools.has(poolKey(fn))) {
      this.#unload(pool.key)
    }
    this.#trim()
    // One that failed while it was made would do so again, and its start may hold a thread for long.
    const wasWarm = !(report instanceof EdgefnError) && !report.outcome.cold
    const rewarm = !alive && loaded && wasWarm && kind === 'call' && keepsInstances(fn.abi)
    if (rewarm) this.#rewarm(fn, pool)
  }

  /** Keeps the minimum alive after an instance had to go, if a thread is free for it anyway [R5]. */
  #rewarm(fn: WorkerFunction, pool: Pool): void {
    if (pool.retired || pool.size >= POOL_LIMITS.instancesMin || this.#waiting.length > 0) return
    queueMicrotask(() => {
      const since = this.#nowMs()
      const settle = () => {}
      this.#start({ kind: 'prepare', fn, pool, request: null, since, client: null, settle })
    })
  }

  #startWaiting(): void {
    if (this.#waiting.length === 0) return
    const { naps } = this.#threads
    const asleep = this.#threads.asleep()
    this.#waiting.takeFair(
      (pool) => pool.leased - (asleep.by.get(pool.key) ?? 0),
      (job) => this.#start(job),
      () => this.#threads.anyFree(asleep),
    )
    this.#countWaiting(naps)
  }

  #reap(): void {
    const now = this.#nowMs()
    for (const [key, pool] of this.#pools) {
      const reaped = pool.reap(now)
      for (const instance of reaped) this.#destroy(instance)
      if (reaped.length > 0) this.#gauges.count(key)
    }
    this.#returnMemory(this.#pressure === 0 ? returnBytesMin : 1)
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
    while (this.#budget.isOver(share, this.#code.bytes) && this.#evictOldest());
  }

  /** Makes room for a module that is to be loaded. False while others are being loaded and there is none: it waits for them. */
  #hasRoomToLoad(fn: WorkerFunction): boolean {
    const bytes = loadingBytesMax(fn) + this.#loadingBytes
    while (this.#budget.isOver(budgetShareMax, this.#code.bytes + bytes)) {
      if (!this.#evictOldest()) return this.#loadingBytes === 0
    }
    return true
  }

  /** Has all threads drop a module; calls load it again. */
  #unload(key: string): void {
    this.#pools.get(key)?.proof.leave()
    this.#threads.unload(key)
    this.#freedBytes += this.#code.unloaded(key)
  }

  /** Whether a call needs no more than what is there. */
  #isWarm({ fn, pool }: Job): boolean {
    return keepsInstances(fn.abi) ? pool.size > 0 : this.#threads.anyHas(poolKey(fn))
  }

  /** Gives up idle instances down to the minimum. */
  #shed(pool: Pool): void {
    while (pool.size > POOL_LIMITS.instancesMin && this.#evictFrom(pool));
  }

  #returnMemory(bytesMin: number): void {
    if (this.#freedBytes >= bytesMin && this.#threads.returnMemory()) this.#freedBytes = 0
  }

  /** False when all that is held is in use. */
  #evictOldest(): boolean {
    const idle = this.#budget.oldest()
    const code = this.#code.oldest((key) => (this.#pools.get(key)?.size ?? 0) === 0)
    if (code !== null && code.usedMs < (idle?.instance.usedMs ?? Infinity)) {
      this.#unload(code.key)
      return true
    }
    if (idle === null || !this.#evictFrom(idle.pool)) return false
    if (idle.pool.size === 0) this.#unload(idle.pool.key)
    return true
  }

  #evictFrom(pool: Pool): boolean {
    const evicted = pool.evict()
    if (evicted === null) return false
    this.#destroy(evicted)
    this.#gauges.count(pool.key)
    this.#stats.addWorker('pool_evictions', 1)
    return true
  }

  #forgetThread(thread: number): void {
    for (const pool of this.#pools.values()) this.#alive -= pool.forgetThread(thread)
    this.#code.forgetThread(thread)
  }

  /** `naps` is what the threads' count was before the last look at them. */
  #countWaiting(naps = this.#threads.naps): void {
    const { length } = this.#waiting
    this.#stats.setWorker('queue_length', length)
    this.#room.looked(length, naps)
  }
}
