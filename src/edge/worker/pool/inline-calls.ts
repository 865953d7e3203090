/** The dispatcher's side of the inline lane: who is let in, whose instance runs a call there, and who has to go. */

import { LIMITS } from '../../../protocol/limits.ts'
import type { MemoryPressure, WorkerFunction } from '../../ipc.ts'
import type { StatsFile } from '../../stats.ts'
import type { VerdictFile } from '../../verdicts.ts'
import type { GuestRequest, Outcome } from '../call.ts'
import { keepsInstances } from '../call.ts'
import type { ThreadSet } from '../lanes/thread-set.ts'
import type { RunReport } from '../runtime/runner.ts'
import type { Instance } from './instance.ts'
import type { Pool } from './pool.ts'
import { InlineWaste } from './proof.ts'

/** What the dispatcher does for the lane, as for any thread. */
export interface InlineHost {
  readonly pressure: () => MemoryPressure
  /** Whether the function's code may be loaded once more. */
  readonly hasRoomToLoad: (fn: WorkerFunction) => boolean
  /** Leases a new instance on a thread; null when there may be none. */
  readonly create: (fn: WorkerFunction, pool: Pool, thread: number) => Instance | null
  /** Ends a lease. */
  readonly release: (fn: WorkerFunction, pool: Pool, instance: Instance, report: RunReport) => void
  /** Notes that a thread has used the function's code. */
  readonly usedCode: (pool: Pool, thread: number, report: RunReport) => void
}

export interface InlineCallsOptions {
  readonly threads: ThreadSet
  readonly stats: StatsFile
  readonly verdicts: VerdictFile
  readonly host: InlineHost
}

/** An instance that is used all the time is noted as used so often. */
const touchMs = 100
/** A request in a fresh instance needs none of the pool's. */
const FRESH_INSTANCE = -1

export class InlineCalls {
  readonly #threads: ThreadSet
  readonly #stats: StatsFile
  readonly #verdicts: VerdictFile
  readonly #host: InlineHost
  readonly #waste = new InlineWaste()

  constructor({ threads, stats, verdicts, host }: InlineCallsOptions) {
    this.#threads = threads
    this.#stats = stats
    this.#verdicts = verdicts
    this.#host = host
  }

  /** Runs a call of a function that has proved itself; null when the thread lane is to run it. `nowMs` is when it began. */
  attempt(fn: WorkerFunction, pool: Pool, request: GuestRequest, nowMs: number): Outcome | null {
    // Suspects take turns, which the thread lane sees to.
    if (this.#verdicts.refusal(fn) !== null || this.#verdicts.isApart(fn)) return null
    const { inline } = this.#threads
    const form = this.#threads.form(pool.key)
    if (!keepsInstances(fn.abi)) {
      const report = inline.call(fn, FRESH_INSTANCE, request, form)
      if (report !== null && nowMs - pool.inlineUsedMs > touchMs) {
        pool.inlineUsedMs = nowMs
        this.#host.usedCode(pool, inline.index, report)
      }
      return this.#judged(pool, report, nowMs)
    }
    const kept = pool.idleOn(inline.index)
    if (kept === null) return this.#attemptCold(fn, pool, request, nowMs)
    const report = inline.call(fn, kept.id, request, form)
    if (report?.alive === true && report.bytes === kept.bytes) {
      if (nowMs - kept.usedMs > touchMs) {
        pool.touch(kept, nowMs)
        this.#host.usedCode(pool, inline.index, report)
      }
    } else if (pool.lease(kept)) {
      this.#host.release(fn, pool, kept, report ?? GONE)
    }
    return this.#judged(pool, report, nowMs)
  }

  /** Notes a call in the thread lane, after which the function may be let in. */
  ranOnThread(fn: WorkerFunction, pool: Pool, { outcome }: RunReport, nowMs: number): void {
    if (pool.proof.inline || pool.promoting || fn.compiled === null || outcome.cold) return
    if (!pool.proof.ranOnThread(outcome.busy_ms, nowMs)) return
    if (!this.#mayBeLetIn(fn, pool, nowMs)) return
    pool.promoting = true
    // Not now: somebody waits for the answer.
    setImmediate(() => {
      pool.promoting = false
      if (!pool.retired) this.#letIn(fn, pool, nowMs)
    })
  }

  #mayBeLetIn(fn: WorkerFunction, pool: Pool, nowMs: number): boolean {
    const bytes = fn.compiled?.module.size_bytes ?? Number.POSITIVE_INFINITY
    return (
      this.#threads.form(pool.key)?.may_inline === true &&
      fn.abi !== 'wws' &&
      bytes <= LIMITS.inlineCodeBytesMax &&
      this.#host.pressure() === 0 &&
      !this.#waste.isMuch(nowMs) &&
      !this.#verdicts.isApart(fn)
    )
  }

  #letIn(fn: WorkerFunction, pool: Pool, nowMs: number): void {
    const { inline } = this.#threads
    if (!this.#host.hasRoomToLoad(fn) || !inline.open()) return pool.proof.fall(nowMs)
    const form = this.#threads.form(pool.key)
    if (!keepsInstances(fn.abi)) {
      const report = inline.prepare(fn, FRESH_INSTANCE, form)
      if (!report.outcome.ok) return pool.proof.fall(nowMs)
      this.#host.usedCode(pool, inline.index, report)
      return pool.proof.promote(nowMs)
    }
    const instance = this.#host.create(fn, pool, inline.index)
    if (instance === null) return pool.proof.fall(nowMs)
    const report = inline.prepare(fn, instance.id, form)
    this.#host.release(fn, pool, instance, report)
    if (report.alive) pool.proof.promote(nowMs)
    else pool.proof.fall(nowMs)
  }

  #attemptCold(
    fn: WorkerFunction,
    pool: Pool,
    request: GuestRequest,
    nowMs: number,
  ): Outcome | null {
    const { inline } = this.#threads
    if (this.#host.pressure() === 2) return null
    const instance = this.#host.create(fn, pool, inline.index)
    if (instance === null) return null
    const report = inline.call(fn, instance.id, request, this.#threads.form(pool.key))
    this.#host.release(fn, pool, instance, report ?? GONE)
    return this.#judged(pool, report, nowMs)
  }

  #judged(pool: Pool, report: RunReport | null, nowMs: number): Outcome | null {
    if (report === null) {
      this.#stats.addWorker('inline_overruns', 1)
      this.#waste.wasted(LIMITS.inlineMsMax, nowMs)
      pool.proof.fall(nowMs)
      return null
    }
    const { execution_ms } = report.outcome
    if (execution_ms > LIMITS.inlineSlowMs) this.#waste.wasted(execution_ms, nowMs)
    this.#stats.addWorker('inline_calls', 1)
    pool.proof.ranInline(execution_ms, nowMs)
    return report.outcome
  }
}

/** Of a call that was stopped: its instance is no more. */
const GONE: RunReport = {
  outcome: {
    ...{ ok: false, code: 'execution_timeout', message: '' },
    ...{
      execution_ms: 0,
      busy_ms: 0,
      cold: false,
      logs: [],
      logs_dropped: 0,
      entered_ms: 0,
      left_ms: 0,
    },
  },
  alive: false,
  bytes: 0,
  table_bytes: 0,
  code_bytes: 0,
  loaded: true,
  form: null,
}
