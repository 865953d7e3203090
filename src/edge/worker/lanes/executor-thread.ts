/** An executor thread as the main thread sees it: one call at a time, and word when it is lost. */

import { Worker } from 'node:worker_threads'

import { EdgefnError, errorMessage, isErrorCode } from '../../../errors.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { GuestRequest } from '../call.ts'
import type { RunReport } from '../runtime/runner.ts'
import type { FromThread, ThreadData, ToThread } from './messages.ts'

/** Milliseconds past its limit after which a call that neither returned nor could be stopped is given up. */
const overdueMsMax = 5_000
/** How long parsing a module, or the initialisation of a warm instance, may take on top or instead. */
const loadMsMax = 60_000

export interface ExecutorThreadOptions {
  readonly entry: string
  readonly control: SharedArrayBuffer
  readonly index: number
  /** Called once, when the thread will never answer again; its running call has been failed already. */
  readonly onLost: (reason: string) => void
}

/** Starts a thread of this program by re-entering `entry`, the path of `main.ts` (a compiled binary's `Bun.main`). */
export function startThread(entry: string, data: ThreadData): Worker {
  return new Worker(entry, { workerData: data })
}

interface Waiting {
  readonly settle: (report: RunReport | EdgefnError) => void
  readonly overdue: ReturnType<typeof setTimeout>
}

export class ExecutorThread {
  readonly index: number
  /** Resolves to the engine's version; rejects with `engine_missing` when the thread cannot run guests here. */
  readonly ready: Promise<string>
  readonly #thread: Worker
  readonly #onLost: (reason: string) => void
  #waiting: Waiting | null = null
  #lost = false

  constructor(options: ExecutorThreadOptions) {
    this.index = options.index
    this.#onLost = options.onLost
    this.#thread = startThread(options.entry, {
      edgefn_thread: 'executor',
      control: options.control,
      index: options.index,
    })
    const started = Promise.withResolvers<string>()
    this.ready = started.promise
    this.ready.catch(() => {})
    this.#thread.on('message', (message: FromThread) => {
      if (message.type === 'ready') return started.resolve(message.engine)
      if (message.type === 'done') return this.#settle(message.report)
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

  /**
   * Runs a request in instance `instance` of this thread, which parses the module first unless it is `loaded`. Rejects
   * with `worker_lost` when the thread is lost meanwhile.
   */
  call(
    fn: WorkerFunction,
    instance: number,
    request: GuestRequest,
    loaded: boolean,
  ): Promise<RunReport> {
    const limitMs = fn.max_execution_ms + (loaded ? 0 : loadMsMax)
    return this.#ask({ type: 'call', fn, instance, request }, limitMs)
  }

  /** Loads the module and keeps a warm instance. */
  prepare(fn: WorkerFunction, instance: number): Promise<RunReport> {
    return this.#ask({ type: 'prepare', fn, instance }, Math.max(fn.max_execution_ms, loadMsMax))
  }

  destroy(instance: number): void {
    this.#post({ type: 'destroy', instance })
  }

  unload(key: string): void {
    this.#post({ type: 'unload', key })
  }

  /** Ends the thread. One that is lost may never come out of the engine; it ends with its process. */
  async close(): Promise<void> {
    if (this.#lost) return
    this.#lost = true
    await this.#thread.terminate()
  }

  #post(message: ToThread): void {
    if (!this.#lost) this.#thread.postMessage(message)
  }

  #ask(message: ToThread, limitMs: number): Promise<RunReport> {
    return new Promise((resolve, reject) => {
      const overdue = setTimeout(
        () =>
          this.#lose('A guest could not be stopped; neither stop token nor host deadline worked.'),
        limitMs + overdueMsMax,
      )
      const settle = (report: RunReport | EdgefnError) =>
        report instanceof EdgefnError ? reject(report) : resolve(report)
      this.#waiting = { settle, overdue }
      this.#post(message)
    })
  }

  #settle(report: RunReport | EdgefnError): void {
    const waiting = this.#waiting
    if (waiting === null) return
    clearTimeout(waiting.overdue)
    this.#waiting = null
    waiting.settle(report)
  }

  #lose(reason: string): void {
    if (this.#lost) return
    this.#lost = true
    this.#settle(new EdgefnError('worker_lost', 'The executor that ran the call was lost.'))
    this.#onLost(reason)
  }
}
