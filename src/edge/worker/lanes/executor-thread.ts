/** An executor thread as the main thread sees it: one call at a time, and word when it is lost. */

import type { MessagePort, Worker } from 'node:worker_threads'

import { EdgefnError, errorMessage, isErrorCode } from '../../../errors.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { RunningSeat } from '../../running.ts'
import type { GuestRequest } from '../call.ts'
import { codeKey, poolKey } from '../call.ts'
import type { HostOptions } from '../host/host.ts'
import type { SharedForm } from '../runtime/module-source.ts'
import type { RunReport } from '../runtime/runner.ts'
import type { FormCache } from './form-cache.ts'
import { SLOT, SlotCells, slotState } from './control.ts'
import type { FromThread, ToThread } from './messages.ts'
import { startThread, threadEnd } from './thread.ts'

/**
 * Milliseconds past its deadline after which a guest that could not be stopped is given up. Stopped ones are back within
 * milliseconds; the rest is for a machine that has no processor for the thread: on two cores with thirteen times the work that
 * they can do, the slowest of 250 stops was back 742 ms late.
 */
const stopMsMax = 2_000
/** Milliseconds between the look that finds a guest overdue and the one that gives it up. */
const secondLookMs = 100
/** How long a thread may be busy with a call besides running its guest: parsing and rewriting the module, mostly. */
const otherMsMax = 60_000

export interface ExecutorThreadOptions {
  readonly entry: string
  readonly control: SharedArrayBuffer
  readonly rest: SharedArrayBuffer
  readonly running: RunningSeat
  readonly index: number
  readonly host: HostOptions
  /** Public key of what the node compiles. */
  readonly compile_key: string
  /** What threads of this worker have made of modules, by code key; those that load one put it here. */
  readonly forms: FormCache
  /** Milliseconds of the clock of the deadlines in `control`. */
  readonly nowMs: () => number
  /** A new line to the worker's fetch thread. */
  readonly connectFetches: () => MessagePort
  /** The guest has fallen asleep, and `RestBoard.want` asked to be told. */
  readonly onAsleep: () => void
  /**
   * Called once, when the thread will never answer again; its running call has been failed already. `stuck` is the guest
   * that could not be stopped, if that is why.
   */
  readonly onLost: (reason: string, stuck: StuckGuest | null) => void
}

/** A guest that neither stop token nor host deadline stopped: a defect of edgefn (RELIABILITY promise 2). */
export interface StuckGuest {
  readonly function_id: string
  readonly version: number
  readonly sha256: string
  /** How long it has run past its deadline. */
  readonly overdue_ms: number
}

/** Functions that a thread knows at a time; a node may have 10 000, and some tens of threads in each worker. */
const functionsToldMax = 256

interface Waiting {
  readonly fn: WorkerFunction
  /** Its pool key. */
  readonly key: string
  readonly settle: (report: RunReport | EdgefnError) => void
  readonly sinceMs: number
  /** The next look at whether the thread is stuck. */
  look: ReturnType<typeof setTimeout>
  /** Whether the last look found its guest running too long past its deadline. */
  isOverdue: boolean
}

export class ExecutorThread {
  readonly index: number
  /** Resolves to the engine's version; rejects with `engine_missing` when the thread cannot run guests here. */
  readonly ready: Promise<string>
  readonly #thread: Worker
  readonly #cells: SlotCells
  readonly #nowMs: () => number
  readonly #connectFetches: () => MessagePort
  #fetchesConnected = false
  readonly #onLost: ExecutorThreadOptions['onLost']
  readonly #forms: FormCache
  /** Functions as the thread was told of them, by pool key: cloning one with each call takes longer than all the rest. */
  readonly #told = new Map<string, WorkerFunction>()
  /** Code keys of modules that the thread has said it holds. */
  readonly #holds = new Set<string>()
  #waiting: Waiting | null = null
  #idleSinceMs: number
  #lost = false

  constructor(options: ExecutorThreadOptions) {
    this.index = options.index
    this.#cells = new SlotCells(options.control, options.index)
    this.#nowMs = options.nowMs
    this.#idleSinceMs = options.nowMs()
    this.#connectFetches = options.connectFetches
    this.#onLost = options.onLost
    this.#forms = options.forms
    this.#thread = startThread(options.entry, {
      edgefn_thread: 'executor',
      control: options.control,
      rest: options.rest,
      running: options.running,
      index: options.index,
      host: options.host,
      compile_key: options.compile_key,
    })
    const started = Promise.withResolvers<string>()
    this.ready = started.promise
    this.ready.catch(() => {})
    this.#thread.on('message', (message: FromThread) => {
      if (message.type === 'ready') return started.resolve(message.engine)
      if (message.type === 'done') return this.#done(message.report)
      if (message.type === 'asleep') return options.onAsleep()
      const { code, message: text } = message.error
      return started.reject(new EdgefnError(isErrorCode(code) ? code : 'internal', text))
    })
    this.#thread.on('error', (thrown) => {
      started.reject(thrown)
      this.#lose(`An executor thread failed: ${errorMessage(thrown)}.`)
    })
    this.#thread.on('exit', () => this.#lose('An executor thread ended.'))
  }

  get busy(): boolean {
    return this.#waiting !== null || this.#lost
  }

  /** How long it has run nothing. */
  get idleMs(): number {
    return this.busy ? 0 : this.#nowMs() - this.#idleSinceMs
  }

  /** Pool key of what it runs; null while it runs nothing. */
  get runs(): string | null {
    return this.#waiting?.key ?? null
  }

  /**
   * Runs a request in instance `instance` of this thread, which parses the module first if it has to. Rejects with
   * `worker_lost` when the thread is lost meanwhile.
   */
  call(fn: WorkerFunction, instance: number, request: GuestRequest): Promise<RunReport> {
    const key = this.#tell(fn)
    return this.#ask(fn, key, { type: 'call', key, instance, request, form: this.#formFor(fn) })
  }

  /** Loads the module and keeps a warm instance. */
  prepare(fn: WorkerFunction, instance: number): Promise<RunReport> {
    const key = this.#tell(fn)
    return this.#ask(fn, key, { type: 'prepare', key, instance, form: this.#formFor(fn) })
  }

  destroy(instance: number): void {
    this.#post({ type: 'destroy', instance })
  }

  /** Has the process give freed memory back; the thread is busy with it for some tens of milliseconds. */
  returnMemory(): void {
    this.#post({ type: 'return_memory' })
  }

  unload(key: string): void {
    this.#holds.delete(key)
    this.#post({ type: 'unload', key })
  }

  /** Ends a thread that runs nothing, as soon as it has let go of what the engine holds for it. */
  async end(): Promise<void> {
    this.#post({ type: 'end' })
    this.#lost = true
    await threadEnd(this.#thread)
  }

  /** A function in this form is not run any more; `functionId` when the function is not run at all. */
  forget(key: string, functionId: string | null): void {
    const knew = this.#told.delete(key)
    if (knew || functionId !== null) this.#post({ type: 'forget', key, function_id: functionId })
  }

  /** As `end`. One that is lost may never come out of the engine; it ends with its process. */
  async close(): Promise<void> {
    if (!this.#lost) await this.end()
  }

  /** Tells the thread of a function that it does not know, or not as it is now. Returns its pool key. */
  #tell(fn: WorkerFunction): string {
    const key = poolKey(fn)
    if (this.#told.get(key) === fn) return key
    // Told again when it is called again.
    const [oldest] = this.#told.size < functionsToldMax ? [] : this.#told.keys()
    if (oldest !== undefined) this.forget(oldest, null)
    this.#told.set(key, fn)
    this.#post({ type: 'function', key, fn })
    return key
  }

  #formFor(fn: WorkerFunction): SharedForm | null {
    const key = codeKey(fn)
    return this.#holds.has(key) ? null : this.#forms.use(key)
  }

  #done(report: RunReport): void {
    if (this.#waiting !== null) {
      const { fn, key } = this.#waiting
      const code = codeKey(fn)
      if (report.form !== null) this.#forms.put(code, report.form)
      if (report.loaded) this.#holds.add(code)
      else this.#told.delete(key)
    }
    this.#settle(report)
  }

  #post(message: ToThread): void {
    if (!this.#lost) this.#thread.postMessage(message)
  }

  /** Before the first call of a function that may fetch; until then the thread has no line for it. */
  #letFetch(): void {
    if (this.#fetchesConnected || this.#lost) return
    this.#fetchesConnected = true
    const port = this.#connectFetches()
    this.#thread.postMessage({ type: 'fetch_port', port } satisfies ToThread, [port])
  }

  #ask(fn: WorkerFunction, key: string, message: ToThread): Promise<RunReport> {
    if (fn.http_allow.length > 0) this.#letFetch()
    return new Promise((resolve, reject) => {
      const settle = (report: RunReport | EdgefnError) =>
        report instanceof EdgefnError ? reject(report) : resolve(report)
      const look = setTimeout(() => this.#look(), fn.max_execution_ms + stopMsMax)
      this.#waiting = { fn, key, settle, sinceMs: this.#nowMs(), look, isOverdue: false }
      this.#post(message)
    })
  }

  /**
   * Gives the thread up when its guest runs on past its deadline. Judged by the shared slot and not by this timer, which a
   * busy main thread holds up as much as it holds up the answer.
   */
  #look(): void {
    const waiting = this.#waiting
    if (waiting === null) return
    const { fn, sinceMs } = waiting
    const now = this.#nowMs()
    const runs = slotState(Atomics.load(this.#cells.state, 0)) !== SLOT.idle
    const overdueMs = runs ? now - this.#cells.deadlineMs : 0
    if (overdueMs >= stopMsMax && !waiting.isOverdue) {
      // If the whole process stood still, the answer may be there as soon as this timer is done.
      waiting.isOverdue = true
      waiting.look = setTimeout(() => this.#look(), secondLookMs)
      return
    }
    if (overdueMs >= stopMsMax) {
      const { function_id, version, sha256 } = fn
      const stuck = { function_id, version, sha256, overdue_ms: Math.round(overdueMs) }
      return this.#lose(
        'A guest could not be stopped; neither stop token nor host deadline worked.',
        stuck,
      )
    }
    if (!runs && now - sinceMs >= fn.max_execution_ms + otherMsMax) {
      return this.#lose('An executor thread does not answer.')
    }
    waiting.look = setTimeout(() => this.#look(), stopMsMax - Math.max(overdueMs, 0))
  }

  #settle(report: RunReport | EdgefnError): void {
    const waiting = this.#waiting
    if (waiting === null) return
    clearTimeout(waiting.look)
    this.#waiting = null
    this.#idleSinceMs = this.#nowMs()
    waiting.settle(report)
  }

  #lose(reason: string, stuck: StuckGuest | null = null): void {
    if (this.#lost) return
    this.#lost = true
    this.#settle(new EdgefnError('worker_lost', 'The executor that ran the call was lost.'))
    this.#onLost(reason, stuck)
  }
}
