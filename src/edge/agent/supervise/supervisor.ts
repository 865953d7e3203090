/** The worker processes of the node: keeps them alive, gives them all the same table, reads their statistics. */

import { EdgefnError, toEdgefnError } from '../../../errors.ts'
import type { Log } from '../../../telemetry/log.ts'
import { armKey } from '../../ipc.ts'
import type {
  IpcError,
  MemoryPressure,
  ToWorker,
  WorkerFunction,
  WorkerOptions,
} from '../../ipc.ts'
import type { Assignment } from '../../table-parts.ts'
import { WorkerPlace } from './worker-place.ts'
import type { FetchRequest, PreviewRequest, WorkerProcess } from './worker-process.ts'
import { WorkerSource } from './worker-source.ts'

/** How often the workers' memory is looked at; a guest can take some 300 MB in this time. */
export const memoryCheckMs = 100
/** Workers that die this often in a row before any was ready: the command itself does not work. */
const startDeathsMax = 5
/** How long `prepare` waits for a worker when none serves at the moment. */
const servingMsMax = 15_000

/** What holds for all workers until something else is said. */
export type ModeMessage = Extract<ToWorker, { type: 'drained' | 'set_log_level' }>

export type WorkerCommand = (options: WorkerOptions) => string[]

export interface SupervisorOptions {
  readonly workers: number
  /** Whether one more process is kept started, to take the place of one that dies. */
  readonly spare: boolean
  readonly memory_bytes_max: number
  readonly listen: { readonly host: string; readonly port: number }
  readonly log: Log
  /** The command line of the worker in a seat: one that listens on `port`, or a spare. */
  command(seat: number, port: number, spare: boolean): string[]
  /** Answers a worker that lacks an artifact with the path, or throws. */
  onFetch(request: FetchRequest): Promise<string>
  /** Brings a version into service for previews, or throws. */
  onPreview(request: PreviewRequest): Promise<void>
  onStarted(seat: number, pid: number): void
  /**
   * The process in a seat has ended; nothing writes its part of the shared memory until another is started. `reason` is
   * null when it was to end.
   */
  onExit(seat: number, reason: string | null): void
  /** Why a function may not be run on this node now; null when it may. */
  refusal(fn: WorkerFunction): EdgefnError | null
}

export class Supervisor {
  readonly #options: SupervisorOptions
  readonly #source: WorkerSource
  readonly #places: WorkerPlace[]
  readonly #started = Promise.withResolvers<number>()
  #table: OwnTable
  #port: number
  #memoryTimer: ReturnType<typeof setInterval> | null = null
  #servingWaiters: (() => void)[] = []
  #closed = false
  /** What every worker is told, and each later one. */
  readonly #modes = new Map<ModeMessage['type'], ModeMessage>()

  /** `table` is what the first workers serve. */
  constructor(options: SupervisorOptions, table: Assignment) {
    this.#options = options
    this.#table = ownTable(table)
    this.#port = options.listen.port
    this.#started.promise.catch(() => {})
    this.#source = this.#makeSource()
    this.#places = Array.from({ length: options.workers }, (_, index) => this.#place(index))
  }

  /**
   * Starts the workers and resolves with their port when the first one serves. Throws the worker's own error when it
   * reports that it cannot run (no libwasmedge, port taken), and `internal` when its command only ever dies.
   */
  async open(): Promise<number> {
    const [first, ...others] = this.#places
    first?.open()
    // With port 0 the system chooses, once; the others share what the first one got.
    if (this.#port === 0) await this.#started.promise
    for (const place of others) place.open()
    this.#memoryTimer = setInterval(() => this.#checkMemory(), memoryCheckMs)
    return this.#started.promise
  }

  /** Port of the workers; the configured one until the first listens. */
  get port(): number {
    return this.#port
  }

  /** Workers that listen and have a table. */
  get serving(): number {
    return this.#places.filter((place) => place.serving !== null).length
  }

  /** Resolves when every place serves, after `msMax` at the latest, and when the supervisor is closed. */
  async allServing(msMax: number): Promise<void> {
    const giveUpAt = performance.now() + msMax
    while (!this.#closed && this.serving < this.#places.length) {
      const left = giveUpAt - performance.now()
      if (left <= 0) return
      const { promise, resolve } = Promise.withResolvers<void>()
      const handle = setTimeout(resolve, left)
      this.#servingWaiters.push(resolve)
      await promise
      clearTimeout(handle)
    }
  }

  get restarts(): readonly number[] {
    return this.#places.map((place) => place.restarts)
  }

  get pids(): number[] {
    const pids = [...this.#places.map((place) => place.pid), this.#source.sparePid]
    return pids.filter((pid) => pid !== null)
  }

  /**
   * Loads a function in every worker without routing to it. One worker tries first, because a module that kills its
   * process must not take all of them at once; when it dies, one more tries. Throws why the function cannot be served.
   */
  async prepare(fn: WorkerFunction): Promise<void> {
    const first = await this.#prepareOnOne(fn)
    const others = this.#places.map((place) => place.serving).filter((worker) => worker !== null)
    const results = await Promise.allSettled(
      others.filter((worker) => worker !== first).map((worker) => worker.prepare(fn)),
    )
    for (const result of results) {
      // A worker that died meanwhile is replaced and loads the function with the table.
      if (result.status === 'rejected' && toEdgefnError(result.reason).code !== 'worker_lost') {
        throw result.reason
      }
    }
  }

  /** Gives every worker the table, now and to each later replacement. Resolves when all living ones have it. */
  async assign(table: Assignment): Promise<void> {
    const own = ownTable(table)
    this.#table = own
    await Promise.all(this.#places.map((place) => place.assign(own)))
  }

  /** Tells every worker that serves how hard the node is pressed for memory. */
  relieve(level: MemoryPressure): void {
    for (const place of this.#places) place.serving?.send({ type: 'memory_pressure', level })
  }

  /** Tells every worker, now and each later one: to refuse requests or to serve, at which level to log. */
  setMode(message: ModeMessage): void {
    this.#modes.set(message.type, message)
    for (const place of this.#places) place.tell(message)
  }

  /** Replaces all workers, one after the other, each by one that serves already. Throws `worker_lost` when one could not be. */
  async renew(): Promise<void> {
    for (const place of this.#places) {
      await place.renew()
      if (this.#closed) throw new EdgefnError('shutting_down', 'The node is shutting down.')
    }
  }

  /**
   * Sends the calls of a function to another form of the version that is served. Nothing happens when that version is no
   * longer the one in the table.
   */
  upgrade(fn: WorkerFunction): void {
    for (const key of [fn.function_id, armKey(fn)]) {
      const served = this.#table.functions.get(key)
      if (served === undefined || !isSameVersion(served, fn)) continue
      const row = { ...served, path: fn.path, compiled: fn.compiled }
      this.#table.functions.set(key, row)
      for (const place of this.#places) place.upgrade(row)
    }
  }

  /** Drains and ends all workers. */
  async close(): Promise<void> {
    this.#closed = true
    if (this.#memoryTimer !== null) clearInterval(this.#memoryTimer)
    this.#started.reject(new EdgefnError('shutting_down', 'The node is shutting down.'))
    for (const wake of this.#servingWaiters.splice(0)) wake()
    await Promise.all([...this.#places.map((place) => place.close()), this.#source.close()])
  }

  #makeSource(): WorkerSource {
    const { workers, spare, log, command, onStarted, onExit } = this.#options
    return new WorkerSource({
      ...{ workers, spare, log, onStarted, onExit },
      command: (seat, isSpare) => command(seat, this.#port, isSpare),
      onFetch: (request, worker) => void this.#answerFetch(request, worker),
      onPreview: (request, worker) => void this.#answerPreview(request, worker),
    })
  }

  #place(index: number): WorkerPlace {
    const { log, memory_bytes_max, refusal } = this.#options
    return new WorkerPlace({
      index,
      log: log.with({ worker: index }),
      memory_bytes_max,
      source: this.#source,
      port: () => this.#port,
      table: () => this.#table,
      greeting: () => [...this.#modes.values()],
      onServing: (port) => {
        this.#port = port
        this.#started.resolve(port)
        for (const wake of this.#servingWaiters.splice(0)) wake()
        if (this.serving === this.#places.length) this.#source.fill()
      },
      mayRun: (fn) => refusal(fn) === null,
      onFailed: (error, deaths) => this.#failed(index, error, deaths),
    })
  }

  #failed(index: number, error: EdgefnError, deaths: number): void {
    if (this.#closed) return
    const { log } = this.#options
    if (error.code !== 'worker_lost') log.failure('A worker cannot run.', error, { worker: index })
    if (error.code !== 'worker_lost') this.#started.reject(error)
    else if (deaths >= startDeathsMax) {
      const message = `The worker process ended ${deaths} times before it was ready.`
      this.#started.reject(new EdgefnError('internal', message, { cause: error }))
    }
  }

  async #prepareOnOne(fn: WorkerFunction): Promise<WorkerProcess> {
    for (let deaths = 0; ;) {
      const refusal = this.#options.refusal(fn)
      if (refusal !== null) throw refusal
      const worker = await this.#anyServing()
      try {
        await worker.prepare(fn)
        return worker
      } catch (thrown) {
        if (toEdgefnError(thrown).code !== 'worker_lost' || this.#closed) throw thrown
        deaths += 1
        if (deaths < 2) continue
        throw new EdgefnError(
          'function_load_failed',
          `Two worker processes died while they loaded ${fn.name} version ${fn.version}.`,
          { cause: thrown },
        )
      }
    }
  }

  async #anyServing(): Promise<WorkerProcess> {
    const deadline = performance.now() + servingMsMax
    for (;;) {
      const worker = this.#places.find((place) => place.serving !== null)?.serving
      if (worker !== null && worker !== undefined) return worker
      const left = deadline - performance.now()
      if (left <= 0 || this.#closed) {
        throw new EdgefnError('worker_lost', 'No worker process is serving on this node.')
      }
      const { promise, resolve } = Promise.withResolvers<void>()
      const handle = setTimeout(resolve, left)
      this.#servingWaiters.push(resolve)
      await promise
      clearTimeout(handle)
    }
  }

  async #answerFetch(request: FetchRequest, worker: WorkerProcess): Promise<void> {
    const { function_id, version } = request
    let path: string | null = null
    let error: IpcError | null = null
    try {
      path = await this.#options.onFetch(request)
    } catch (thrown) {
      const failure = toEdgefnError(thrown)
      error = { code: failure.code, message: failure.message }
    }
    worker.send({ type: 'fetched', function_id, version, path, error })
  }

  async #answerPreview(request: PreviewRequest, worker: WorkerProcess): Promise<void> {
    const { function_id, version } = request
    let error: IpcError | null = null
    try {
      await this.#options.onPreview(request)
    } catch (thrown) {
      const { code, message } = toEdgefnError(thrown)
      error = { code, message }
    }
    worker.send({ type: 'previewed', function_id, version, error })
  }

  #checkMemory(): void {
    for (const place of this.#places) place.checkMemory()
  }
}

/** A table whose functions change when they are upgraded: so does what the workers have, in the same order. */
interface OwnTable extends Assignment {
  readonly functions: Map<string, WorkerFunction>
}

function ownTable(table: Assignment): OwnTable {
  return { ...table, functions: new Map(table.functions) }
}

function isSameVersion(a: WorkerFunction, b: WorkerFunction): boolean {
  return a.function_id === b.function_id && a.version === b.version && a.sha256 === b.sha256
}
