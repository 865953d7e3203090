/** One worker process as the agent sees it: requests and answers over IPC, its deadlines, its end. */

import type { z } from 'zod'

import { EdgefnError, isErrorCode } from '../../../errors.ts'
import type { Log } from '../../../telemetry/log.ts'
import type { IpcError, ToAgent, ToWorker, WorkerFunction } from '../../ipc.ts'
import { toAgentSchema } from '../../ipc.ts'
import { type Assignment, partsOf } from '../../table-parts.ts'
import { artifactKey } from '../node-state.ts'

/** A worker silent for longer than this is hung and is killed. */
const startMsMax = 30_000
/** It waits for a thread, loads, and initialises an instance, each within a limit of the worker's own. */
const prepareMsMax = 30_000
const serveMsMax = 5_000
const assignMsMax = 10_000
/** How long a draining worker may finish its calls, and a signalled one may take to go. */
const drainMsMax = 10_000
const terminateMsMax = 2_000

export type WorkerReady = Extract<ToAgent, { type: 'ready' }>
export type FetchRequest = Extract<ToAgent, { type: 'fetch' }>
export type PreviewRequest = Extract<ToAgent, { type: 'preview' }>

export interface WorkerExit {
  readonly code: number | null
  readonly signal: string | null
  /** Why it ended, for who is to blame: what it was killed for, the signal, `exit`; null when it drained as told. */
  readonly reason: string | null
  readonly lived_ms: number
}

/** What the agent kills a worker for. */
export type KillReason = 'memory_limit' | 'prepare_hung' | 'hung' | 'start_failed' | 'closing'

/** Ends that no guest can bring about: the worker's main thread, which runs none, did not do its part. */
const BLAMELESS: ReadonlySet<string> = new Set([
  'hung',
  'start_failed',
  'closing',
] satisfies KillReason[])

/** Whether what ran in a worker that ended for `reason` may be why. */
export function mayBlame(reason: string): boolean {
  return !BLAMELESS.has(reason)
}

interface WorkerProcessOptions {
  readonly command: readonly string[]
  readonly seat: number
  /** It listens only when it is told to by `serve`. */
  readonly spare: boolean
  readonly log: Log
  onFetch(request: FetchRequest, worker: WorkerProcess): void
  onPreview(request: PreviewRequest, worker: WorkerProcess): void
}

interface Waiter<T> {
  resolve(value: T): void
  reject(error: EdgefnError): void
}

export class WorkerProcess {
  readonly pid: number
  readonly seat: number
  /** Settles once: the worker listens, or why it never will. */
  readonly ready: Promise<WorkerReady>
  readonly exited: Promise<WorkerExit>
  readonly #log: Log
  readonly #child: Bun.Subprocess<'ignore', 'inherit', 'inherit'>
  readonly #becameReady = Promise.withResolvers<WorkerReady>()
  /** A spare can be told to serve; null for a worker that does so by itself. */
  readonly #standsBy: PromiseWithResolvers<null> | null
  readonly #prepares = new Map<string, Waiter<IpcError | null>[]>()
  readonly #assigns = new Map<string, Waiter<null>[]>()
  /** The table that the worker has. */
  #known: Assignment | null = null
  /** Ends with the assignment that was asked for last. */
  #assigning: Promise<void> = Promise.resolve()
  #dead = false
  #killedFor: KillReason | null = null

  /** Starts the process. Throws what spawn throws (no such file, no memory). */
  constructor(options: WorkerProcessOptions) {
    this.#log = options.log
    this.seat = options.seat
    this.#standsBy = options.spare ? Promise.withResolvers<null>() : null
    this.#standsBy?.promise.catch(() => {})
    this.ready = this.#becameReady.promise
    this.ready.catch(() => {})
    const startedAt = performance.now()
    const { promise: exited, resolve: resolveExited } = Promise.withResolvers<WorkerExit>()
    this.exited = exited
    this.#child = Bun.spawn({
      cmd: [...options.command],
      stdin: 'ignore',
      stdout: 'inherit',
      stderr: 'inherit',
      serialization: 'json',
      ipc: (message: unknown) => this.#receive(message, options),
      onExit: (_child, code, signal) => {
        this.#buried()
        const name = signal === null ? null : String(signal)
        const reason = this.#killedFor ?? name ?? (code === 0 ? null : 'exit')
        resolveExited({ code, signal: name, reason, lived_ms: performance.now() - startedAt })
      },
    })
    this.pid = this.#child.pid
    const started = this.#standsBy?.promise ?? this.ready
    void this.#limit<unknown>(started, startMsMax, 'start').catch(() => {})
  }

  /** Has a spare listen, which then is a worker like any other; does nothing to one that is no spare. */
  async serve(port: number): Promise<void> {
    if (this.#standsBy === null) return
    await this.#standsBy.promise
    this.send({ type: 'serve', port })
    await this.#limit(this.ready, serveMsMax, 'serve')
  }

  /** Loads and warms a function. Throws the worker's own error, or `worker_lost` when it died or hung over it. */
  async prepare(fn: WorkerFunction): Promise<void> {
    const answer = this.#ask(this.#prepares, artifactKey(fn), { type: 'prepare', function: fn })
    const what = `prepare ${fn.name}@${fn.version}`
    const error = await this.#limit(answer, prepareMsMax, what, 'prepare_hung')
    if (error !== null) throw fromIpcError(error)
  }

  /** Swaps the worker's table, one after the other. Throws `worker_lost` when it died or hung. */
  assign(table: Assignment): Promise<void> {
    const assigned = this.#assigning.then(() => this.#assign(table))
    this.#assigning = assigned.catch(() => {})
    return assigned
  }

  async #assign(table: Assignment): Promise<void> {
    for (const part of partsOf(this.#known, table)) {
      const answer = this.#ask(this.#assigns, String(table.revision), part)
      await this.#limit(answer, assignMsMax, `assign revision ${table.revision}`)
    }
    this.#known = table
  }

  /** Sends without waiting; a dead worker is told nothing. */
  send(message: ToWorker): void {
    if (this.#dead) return
    try {
      this.#child.send(message)
    } catch (thrown) {
      // The channel closes a moment before the exit is seen.
      this.#log.debug('A worker could not be told.', { error_message: String(thrown) })
    }
  }

  kill(reason: KillReason): void {
    if (this.#dead) return
    this.#killedFor ??= reason
    this.#child.kill('SIGKILL')
  }

  /** Ends the worker: drain, then SIGTERM, then SIGKILL. Resolves when it is gone. */
  async stop(): Promise<void> {
    this.send({ type: 'drain' })
    if (await this.#goneWithin(drainMsMax)) return
    this.#log.warn('A worker did not drain in time and is terminated.', {
      context: { pid: this.pid, drain_ms_max: drainMsMax },
    })
    this.#child.kill('SIGTERM')
    if (await this.#goneWithin(terminateMsMax)) return
    this.kill('closing')
    await this.exited
  }

  async #goneWithin(ms: number): Promise<boolean> {
    const timer = Promise.withResolvers<boolean>()
    const handle = setTimeout(() => timer.resolve(false), ms)
    const gone = await Promise.race([this.exited.then(() => true), timer.promise])
    clearTimeout(handle)
    return gone
  }

  #ask<T>(waiters: Map<string, Waiter<T>[]>, key: string, message: ToWorker): Promise<T> {
    if (this.#dead) return Promise.reject(this.#lost())
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    waiters.set(key, [...(waiters.get(key) ?? []), { resolve, reject }])
    this.send(message)
    return promise
  }

  /** Kills the worker when `answer` is not there in time; its death then rejects the answer. */
  async #limit<T>(
    answer: Promise<T>,
    ms: number,
    what: string,
    reason: KillReason = 'hung',
  ): Promise<T> {
    const handle = setTimeout(() => {
      this.#log.error('A worker does not answer and is killed.', {
        error_type: 'worker_lost',
        context: { pid: this.pid, asked: what, waited_ms: ms },
      })
      this.kill(reason)
    }, ms)
    try {
      return await answer
    } finally {
      clearTimeout(handle)
    }
  }

  #receive(message: unknown, options: WorkerProcessOptions): void {
    const parsed = toAgentSchema.safeParse(message)
    if (!parsed.success) {
      this.#log.error('A worker sent a message that is not in the protocol; it is dropped.', {
        error_message: parsed.error.issues[0]?.message ?? '',
        context: { pid: this.pid },
      })
      return
    }
    this.#dispatch(parsed.data, options)
  }

  #dispatch(message: z.infer<typeof toAgentSchema>, options: WorkerProcessOptions): void {
    switch (message.type) {
      case 'ready':
        return this.#becameReady.resolve(message)
      case 'standby':
        return this.#standsBy?.resolve(null)
      case 'failed':
        return this.#becameReady.reject(fromIpcError(message.error))
      case 'prepared':
        return this.#prepares.get(artifactKey(message))?.shift()?.resolve(message.error)
      case 'taken':
      case 'assigned':
        return this.#assigns.get(String(message.revision))?.shift()?.resolve(null)
      case 'fetch':
        return options.onFetch(message, this)
      case 'preview':
        return options.onPreview(message, this)
    }
  }

  #buried(): void {
    this.#dead = true
    const error = this.#lost()
    this.#becameReady.reject(error)
    this.#standsBy?.reject(error)
    for (const waiters of [this.#prepares, this.#assigns]) {
      for (const waiter of [...waiters.values()].flat()) waiter.reject(error)
      waiters.clear()
    }
  }

  #lost(): EdgefnError {
    return new EdgefnError('worker_lost', `Worker process ${this.pid} ended.`)
  }
}

/** An error that crossed the process border; codes of an unknown kind are the guest's load failing. */
function fromIpcError(error: IpcError): EdgefnError {
  return new EdgefnError(
    isErrorCode(error.code) ? error.code : 'function_load_failed',
    error.message,
  )
}
