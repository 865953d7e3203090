/**
 * Decides where each call runs: a hot instance if one is free, else a new one on a free executor thread, else it waits its
 * turn [R5.1–R5.4]. Lives on the worker's main thread; guests run on executor threads, or here once they have proved themselves
 * (`inline-calls.ts`).
 */

import type { TouchedPages } from '../../../../ffi/touched-pages.ts'
import { EdgefnError, toEdgefnError } from '../../../errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { MemoryPressure, WorkerFunction } from '../../ipc.ts'
import type { StatsFile } from '../../stats.ts'
import type { VerdictFile } from '../../verdicts.ts'
import type { GuestRequest, Invoker, Outcome } from '../call.ts'
import { keepsInstances, queueWaitMs } from '../call.ts'
import type { ExecutorThread } from '../lanes/executor-thread.ts'
import type { Asleep, ThreadSet } from '../lanes/thread-set.ts'
import type { RunReport } from '../runtime/runner.ts'
import { Holdings } from './holdings.ts'
import { InlineCalls } from './inline-calls.ts'
import { loadingBytesMax, type Instance } from './instance.ts'
import type { Job } from './job.ts'
import { reapEveryMs } from './pool.ts'
import type { Pool } from './pool.ts'
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
  readonly touched: TouchedPages
}

export class Dispatcher implements Invoker {
  readonly #threads: ThreadSet
  readonly #stats: StatsFile
  readonly #nowMs: () => number
  readonly #verdicts: VerdictFile
  readonly #suspects: Suspects
  readonly #inline: InlineCalls
  readonly #held: Holdings
  readonly #room: Room
  readonly #waiting: WaitingList<Pool, Job>
  readonly #reaper: ReturnType<typeof setInterval>
  #suspectTimer: ReturnType<typeof setTimeout> | null = null
  #closing: (() => void) | null = null

  constructor(options: DispatcherOptions) {
    this.#threads = options.threads
    this.#stats = options.stats
    this.#nowMs = options.nowMs
    this.#held = new Holdings(options)
    this.#room = new Room({
      threads: options.threads,
      budget: this.#held.budget,
      look: () => this.#startWaiting(),
    })
    this.#verdicts = options.verdicts
    this.#suspects = new Suspects(options.verdicts)
    const { threads, stats, verdicts, nowMs } = options
    this.#inline = new InlineCalls({ threads, stats, verdicts, nowMs, held: this.#held })
    const limits = {
      itemsMax: LIMITS.queueRequestsMax,
      groupItemsMax: LIMITS.queueFunctionRequestsMax,
    }
    this.#waiting = new WaitingList(limits, (job) => {
      this.#countWaiting()
      job.settle(overloaded(`No executor became free within ${queueWaitMs(job.fn)} ms.`))
    })
    this.#reaper = setInterval(() => this.#held.reap(), reapEveryMs)
    this.#reaper.unref()
    options.threads.onLost((thread) => this.#held.forgetThread(thread))
  }

  invokeNow(fn: WorkerFunction, request: GuestRequest): Outcome | null {
    this.#inline.calls(fn, request.admitted_ms)
    if (this.#closing !== null) return null
    const known = this.#held.known(fn)
    const pool = known?.proof.inline ? known : this.#inline.join(fn, request.admitted_ms)
    return pool === null ? null : this.#inline.attempt(fn, pool, request, request.admitted_ms)
  }

  async invoke(
    fn: WorkerFunction,
    request: GuestRequest,
    client?: () => AbortSignal,
  ): Promise<Outcome> {
    const report = await new Promise<RunReport | EdgefnError>((settle) => {
      const pool = this.#held.pool(fn)
      const since = this.#nowMs()
      this.#submit({ kind: 'call', fn, pool, request, since, client: client ?? null, settle })
    })
    return report instanceof EdgefnError ? failedOutcome(report) : report.outcome
  }

  async prepare(fn: WorkerFunction): Promise<void> {
    const pool = this.#held.pool(fn)
    if (pool.size > 0) return
    const report = await new Promise<RunReport | EdgefnError>((settle) => {
      const since = this.#nowMs()
      this.#submit({ kind: 'prepare', fn, pool, request: null, since, client: null, settle })
    })
    if (report instanceof EdgefnError) throw report
    if (!report.outcome.ok) throw new EdgefnError(report.outcome.code, report.outcome.message)
  }

  assign(functions: readonly WorkerFunction[]): void {
    this.#held.assign(functions)
    this.#inline.forgetUnused()
  }

  upgrade(from: WorkerFunction, to: WorkerFunction): void {
    this.#held.upgrade(from, to)
  }

  relieve(level: MemoryPressure): void {
    this.#held.relieve(level)
  }

  async close(): Promise<void> {
    clearInterval(this.#reaper)
    for (const job of this.#waiting.drain()) {
      job.settle(new EdgefnError('shutting_down', 'The worker is shutting down.'))
    }
    if (this.#room.running > 0) await new Promise<void>((resolve) => (this.#closing = resolve))
    await this.#threads.close()
  }

  #submit(job: Job): void {
    const { pressure } = this.#held
    if (pressure === 2 && job.kind === 'call' && !this.#held.isWarm(job.fn, job.pool)) {
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
    const asleep = this.#room.find(job, this.#held.pressure > 0)
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
    const grows = this.#held.pressure < 2 || job.kind === 'prepare'
    if (!grows && keepsInstances(fn.abi)) return null
    const own = asleep.by.get(pool.key) ?? 0
    const holders = this.#room.holdersMax(fn, pool, asleep)
    const thread = this.#threads.free(pool.code, grows ? holders : 0, asleep)
    if (thread === null) return null
    if (!this.#threads.hasLoaded(thread.index, pool.code) && !this.#held.hasRoomToLoad(fn))
      return null
    return this.#held.create(fn, pool, thread.index, own)
  }

  async #run(job: Job, instance: Instance, thread: ExecutorThread): Promise<void> {
    const { fn, pool } = job
    this.#room.began(fn)
    this.#suspects.started(thread.index, fn)
    const loading = this.#threads.hasLoaded(thread.index, pool.code) ? 0 : loadingBytesMax(fn)
    this.#held.loading(loading)
    this.#threads.load(thread.index, pool.code)
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
    this.#held.loading(-loading)
    this.#suspects.ended(thread.index)
    const isShort = this.#held.release(fn, pool, instance, report)
    if (isShort && job.kind === 'call') this.#rewarm(fn, pool)
    if (job.kind === 'call' && !(report instanceof EdgefnError)) {
      this.#inline.ranOnThread(fn, pool, report, this.#nowMs())
    }
    job.settle(report)
    this.#held.gauges.countPool(fn, pool)
    if (this.#closing !== null && this.#room.running === 0) return this.#closing()
    this.#startWaiting()
  }

  /** Keeps the minimum alive after an instance had to go, if a thread is free for it anyway [R5]. */
  #rewarm(fn: WorkerFunction, pool: Pool): void {
    if (this.#waiting.length > 0) return
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

  /** `naps` is what the threads' count was before the last look at them. */
  #countWaiting(naps = this.#threads.naps): void {
    const { length } = this.#waiting
    this.#stats.setWorker('queue_length', length)
    this.#room.looked(length, naps)
  }
}
