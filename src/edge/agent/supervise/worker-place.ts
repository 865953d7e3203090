/** One place among the node's workers: keeps a process in it, for ever, and brings each new one up to the current table. */

import { EdgefnError, errorMessage, toEdgefnError } from '../../../errors.ts'
import type { Log } from '../../../telemetry/log.ts'
import type { ToWorker, WorkerFunction } from '../../ipc.ts'
import { pause } from '../pause.ts'
import type { Assignment } from '../../table-parts.ts'
import { residentBytes } from './proc.ts'
import { restartDelayMs } from './restart-delay.ts'
import type { WorkerExit, WorkerProcess } from './worker-process.ts'
import type { WorkerSource } from './worker-source.ts'

/** A worker that dies younger than this died of its start. */
const youngMs = 5_000
/** How long a worker that has a successor sends its clients elsewhere before it stops listening. */
const partMs = 1_000

interface WorkerPlaceOptions {
  readonly index: number
  readonly log: Log
  readonly memory_bytes_max: number
  readonly source: WorkerSource
  /** Port that the workers listen on; 0: the system chooses. */
  port(): number
  /** The table a new worker gets; asked at the moment it is ready. */
  table(): Assignment
  /** What a new worker is told before it gets its first table. */
  greeting(): readonly ToWorker[]
  /** The worker listens and has the table. */
  onServing(port: number): void
  /** Whether a function may be run; asked before a new worker warms it. */
  mayRun(fn: WorkerFunction): boolean
  /** A worker reported that it cannot run, or died before it was ready. */
  onFailed(error: EdgefnError, youngDeaths: number): void
}

export class WorkerPlace {
  readonly #options: WorkerPlaceOptions
  readonly #closing = new AbortController()
  #process: WorkerProcess | null = null
  #serving = false
  #ready = false
  #restarts = 0
  #run: Promise<void> | null = null

  constructor(options: WorkerPlaceOptions) {
    this.#options = options
  }

  open(): void {
    this.#run = this.#keep()
  }

  /** The process, when it listens and has a table. */
  get serving(): WorkerProcess | null {
    return this.#serving ? this.#process : null
  }

  get restarts(): number {
    return this.#restarts
  }

  get pid(): number | null {
    return this.#process?.pid ?? null
  }

  /** Gives the worker a new table; one that is only starting gets the current table when it is ready. */
  async assign(table: Assignment): Promise<void> {
    if (this.#ready) await this.#process?.assign(table).catch(ignoreLoss)
  }

  /** Gives the worker another form of a function in its table; one that is only starting gets it with the table. */
  upgrade(fn: WorkerFunction): void {
    if (this.#ready) this.#process?.send({ type: 'upgrade', function: fn })
  }

  /** Says something that the greeting says from now on too; one that is only starting gets it so. */
  tell(message: ToWorker): void {
    if (this.#ready) this.#process?.send(message)
  }

  /** Replaces a worker whose resident memory is over the limit. */
  checkMemory(): void {
    const { memory_bytes_max: limit, log, index } = this.#options
    const bytes = this.#process === null ? null : residentBytes(this.#process.pid)
    if (bytes === null || bytes <= limit) return
    log.warn('A worker is over its memory limit and is replaced.', {
      error_type: 'worker_lost',
      context: { worker: index, pid: this.#process?.pid, bytes, bytes_max: limit },
    })
    this.#process?.kill('memory_limit')
  }

  /**
   * Another process takes the place; the one before serves until then, and ends when its calls have. Throws `worker_lost` when
   * the new one cannot serve, and the old one stays; resolves at once in a place that is getting a new one anyway.
   */
  async renew(): Promise<void> {
    const old = this.serving
    if (old === null) return
    const { source, table, onServing } = this.#options
    const successor = source.start()
    try {
      await this.#seat(successor)
      await this.#warm(successor, table(), () => this.#process === old)
      if (this.#process !== old) throw new EdgefnError('worker_lost', 'The worker ended meanwhile.')
    } catch (thrown) {
      successor.kill('start_failed')
      await successor.exited
      source.ended(successor, null)
      throw thrown
    }
    this.#process = successor
    // What changed while it was brought up.
    for (const message of this.#options.greeting()) successor.send(message)
    await this.assign(table())
    old.send({ type: 'part' })
    await pause(partMs, this.#closing.signal)
    await old.stop()
    onServing(this.#options.port())
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#process?.stop()
    await this.#run
  }

  async #keep(): Promise<void> {
    let youngDeaths = 0
    while (!this.#closing.signal.aborted) {
      const exit = await this.#live(youngDeaths)
      if (this.#closing.signal.aborted) return
      youngDeaths = exit.lived_ms < youngMs ? youngDeaths + 1 : 0
      this.#restarts += 1
      const { log, index } = this.#options
      log.warn('A worker ended and is replaced.', {
        error_type: 'worker_lost',
        context: {
          worker: index,
          code: exit.code,
          signal: exit.signal,
          reason: exit.reason,
          young_deaths: youngDeaths,
        },
      })
      await pause(restartDelayMs(youngDeaths), this.#closing.signal)
    }
  }

  /** One process from start to end. Never throws. */
  async #live(youngDeaths: number): Promise<WorkerExit> {
    const { source, onFailed } = this.#options
    const startedAt = performance.now()
    try {
      let worker = source.start()
      this.#process = worker
      void this.#bringUp(worker).catch((thrown) => {
        onFailed(toEdgefnError(thrown), youngDeaths + 1)
        worker.kill('start_failed')
      })
      let exit = await worker.exited
      source.ended(worker, this.#closing.signal.aborted ? null : exit.reason)
      while (this.#process !== null && this.#process !== worker) {
        worker = this.#process
        exit = await worker.exited
        source.ended(worker, this.#closing.signal.aborted ? null : exit.reason)
      }
      // Since it has the place: it may have been a spare for days.
      return { ...exit, lived_ms: performance.now() - startedAt }
    } catch (thrown) {
      const message = `The worker process could not be started: ${errorMessage(thrown)}`
      onFailed(new EdgefnError('internal', message, { cause: thrown }), youngDeaths + 1)
      return { code: null, signal: null, reason: null, lived_ms: 0 }
    } finally {
      this.#ready = false
      this.#serving = false
      this.#process = null
    }
  }

  /** Table first, so that the worker serves at once; then one warm instance of each function. */
  async #bringUp(worker: WorkerProcess): Promise<void> {
    const port = await this.#seat(worker, () => (this.#ready = true))
    if (this.#process !== worker) return
    this.#serving = true
    this.#options.onServing(port)
    await this.#warm(worker, this.#options.table(), () => this.#process === worker)
  }

  /** Has a process listen with the table of the moment; returns its port. */
  async #seat(worker: WorkerProcess, onReady: () => void = () => undefined): Promise<number> {
    await worker.serve(this.#options.port())
    const { port } = await worker.ready
    onReady()
    for (const message of this.#options.greeting()) worker.send(message)
    await worker.assign(this.#options.table())
    return port
  }

  async #warm(worker: WorkerProcess, table: Assignment, isWanted: () => boolean): Promise<void> {
    for (const fn of table.functions.values()) {
      if (!isWanted() || this.#closing.signal.aborted) return
      if (fn.path === null || !this.#options.mayRun(fn)) continue
      try {
        await worker.prepare(fn)
      } catch (thrown) {
        this.#options.log.warn('A function could not be warmed in a new worker.', {
          function_id: fn.function_id,
          error_type: toEdgefnError(thrown).code,
          error_message: errorMessage(thrown),
        })
      }
    }
  }
}

/** The replacement gets the current table by itself. */
function ignoreLoss(): void {}
