/** The dispatcher's side of the inline lane: who is let in, whose instance runs a call there, and who has to go. */

import { EdgefnError } from '../../../errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { StatsFile } from '../../stats.ts'
import type { VerdictFile } from '../../verdicts.ts'
import type { GuestRequest, Outcome } from '../call.ts'
import { codeKey, keepsInstances, poolKey } from '../call.ts'
import type { ThreadSet } from '../lanes/thread-set.ts'
import type { RunReport } from '../runtime/runner.ts'
import type { Holdings } from './holdings.ts'
import type { Instance } from './instance.ts'
import type { Pool } from './pool.ts'
import { InlineTurn, InlineWaste } from './proof.ts'
import { failedOutcome } from './refusals.ts'

export interface InlineCallsOptions {
  readonly threads: ThreadSet
  readonly stats: StatsFile
  readonly verdicts: VerdictFile
  readonly held: Holdings
  /** Milliseconds of a monotonic clock. */
  readonly nowMs: () => number
}

/** An instance that is used all the time is noted as used so often. */
const touchMs = 100
/** A request in a fresh instance needs none of the pool's. */
const FRESH_INSTANCE = -1

export class InlineCalls {
  readonly #threads: ThreadSet
  readonly #stats: StatsFile
  readonly #verdicts: VerdictFile
  readonly #held: Holdings
  readonly #nowMs: () => number
  readonly #waste = new InlineWaste()
  /** Keys of modules that a function has proved here, and no function has disgraced since. */
  readonly #proven = new Set<string>()
  readonly #turn = new InlineTurn((end) => setImmediate(end))

  constructor({ threads, stats, verdicts, held, nowMs }: InlineCallsOptions) {
    this.#threads = threads
    this.#stats = stats
    this.#verdicts = verdicts
    this.#held = held
    this.#nowMs = nowMs
  }

  /** Notes a call, whichever lane it will run in. */
  calls(fn: WorkerFunction, nowMs: number): void {
    this.#turn.calls(fn, nowMs)
  }

  /** Runs a call of a function that has proved itself; null when the thread lane is to run it. `nowMs` is when it began. */
  attempt(fn: WorkerFunction, pool: Pool, request: GuestRequest, nowMs: number): Outcome | null {
    // Suspects take turns, which the thread lane sees to.
    if (this.#verdicts.refusal(fn) !== null || this.#verdicts.isApart(fn)) return null
    if (!this.#turn.hasRoom(pool.proof.quick, nowMs)) return null
    const { inline } = this.#threads
    const form = this.#threads.form(pool.code)
    if (!keepsInstances(fn.abi)) {
      const report = inline.call(fn, FRESH_INSTANCE, request, form)
      if (report !== null && nowMs - pool.inlineUsedMs > touchMs) {
        pool.inlineUsedMs = nowMs
        this.#held.usedCode(pool, inline.index, report.code_bytes)
      }
      return this.#judged(pool, report, nowMs)
    }
    const kept = pool.idleOn(inline.index)
    if (kept === null) return this.#attemptCold(fn, pool, request, nowMs)
    const report = inline.call(fn, kept.id, request, form)
    const isSame = report?.memory_at === kept.memoryAt && report.bytes === kept.bytes
    if (report?.alive === true && isSame) {
      if (nowMs - kept.usedMs > touchMs) {
        pool.touch(kept, nowMs)
        this.#held.usedCode(pool, inline.index, report.code_bytes)
      }
      this.#held.ran(kept)
    } else if (pool.lease(kept)) {
      this.#release(fn, pool, kept, report ?? GONE)
    }
    return this.#judged(pool, report, nowMs)
  }

  /**
   * The pool of a function that is let in with its first call, because another one has proved the module that it runs; null
   * when it has to prove itself. Of 10 000 functions most are called too seldom for that.
   */
  join(fn: WorkerFunction, nowMs: number): Pool | null {
    if (fn.compiled === null || !this.#proven.has(codeKey(fn))) return null
    // Not one that was replaced while the body of its request came in: no pool is made for it any more.
    if (!this.#held.gauges.isServed(poolKey(fn))) return null
    const pool = this.#held.pool(fn)
    if (pool.leased > 0 || !pool.proof.mayJoin(nowMs)) return null
    if (!this.#mayBeLetIn(fn, pool, nowMs)) return null
    pool.proof.promote()
    return pool
  }

  /** Forgets what was proved of modules that nobody has any more. */
  forgetUnused(): void {
    for (const code of this.#proven) if (!this.#held.isUsed(code)) this.#proven.delete(code)
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
      this.#threads.form(pool.code)?.may_inline === true &&
      fn.abi !== 'wws' &&
      bytes <= LIMITS.inlineCodeBytesMax &&
      this.#held.pressure === 0 &&
      !this.#waste.isMuch(nowMs) &&
      !this.#verdicts.isApart(fn)
    )
  }

  #letIn(fn: WorkerFunction, pool: Pool, nowMs: number): void {
    const { inline } = this.#threads
    if (!this.#held.hasRoomToLoad(fn) || !inline.open()) return pool.proof.fall(nowMs)
    const form = this.#threads.form(pool.code)
    if (!keepsInstances(fn.abi)) {
      const report = inline.prepare(fn, FRESH_INSTANCE, form)
      if (!report.outcome.ok) return pool.proof.fall(nowMs)
      this.#held.usedCode(pool, inline.index, report.code_bytes)
      this.#proven.add(pool.code)
      return pool.proof.promote()
    }
    const instance = this.#held.create(fn, pool, inline.index)
    if (instance === null) return pool.proof.fall(nowMs)
    const report = inline.prepare(fn, instance.id, form)
    this.#release(fn, pool, instance, report)
    if (!report.alive) return pool.proof.fall(nowMs)
    this.#held.keepOnly(pool, inline.index)
    pool.proof.promote()
    this.#proven.add(pool.code)
  }

  #attemptCold(
    fn: WorkerFunction,
    pool: Pool,
    request: GuestRequest,
    nowMs: number,
  ): Outcome | null {
    const { inline } = this.#threads
    if (this.#held.pressure === 2) return null
    const instance = this.#held.create(fn, pool, inline.index)
    if (instance === null) return null
    const report = inline.call(fn, instance.id, request, this.#threads.form(pool.code))
    this.#release(fn, pool, instance, report ?? GONE)
    if (report?.alive === true) this.#held.keepOnly(pool, inline.index)
    return this.#judged(pool, report, nowMs)
  }

  #release(fn: WorkerFunction, pool: Pool, instance: Instance, report: RunReport): void {
    this.#held.release(fn, pool, instance, report)
    this.#held.gauges.countPool(fn, pool)
  }

  #judged(pool: Pool, report: RunReport | null, nowMs: number): Outcome | null {
    if (report === null) {
      const tookMs = this.#nowMs() - nowMs
      this.#stats.addWorker('inline_overruns', 1)
      this.#turn.took(tookMs)
      // More than it may have is what the machine had no processor for.
      this.#waste.wasted(Math.min(tookMs, LIMITS.inlineMsMax), nowMs)
      pool.proof.fall(nowMs)
      this.#proven.delete(pool.code)
      return null
    }
    const { busy_ms, execution_ms } = report.outcome
    this.#stats.addWorker('inline_calls', 1)
    this.#turn.took(execution_ms)
    if (pool.proof.ranInline(busy_ms, nowMs)) {
      this.#waste.wasted(busy_ms, nowMs)
      if (this.#waste.isMuch(nowMs) && pool.proof.inline) pool.proof.fall(nowMs)
    }
    if (!pool.proof.inline) this.#proven.delete(pool.code)
    return report.outcome
  }
}

/** Of a call that was stopped: its instance is no more. */
const GONE: RunReport = {
  outcome: failedOutcome(new EdgefnError('execution_timeout', 'It is run again elsewhere.')),
  alive: false,
  bytes: 0,
  memory_at: 0,
  memory_bytes: 0,
  table_bytes: 0,
  code_bytes: 0,
  loaded: true,
  form: null,
}
