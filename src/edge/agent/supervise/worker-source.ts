/**
 * Where places get their processes from: a spare worker that is started and idle, so that the place of one that died is taken
 * at once (its start costs 100 ms, of which taking over saves nearly all), or a new process when there is none.
 */

import { errorMessage } from '../../../errors.ts'
import type { Log } from '../../../telemetry/log.ts'
import { restartDelayMs } from './restart-delay.ts'
import { Seats } from './seats.ts'
import type { FetchRequest, PreviewRequest, WorkerExit } from './worker-process.ts'
import { WorkerProcess } from './worker-process.ts'

/** A spare that lives as long was not killed by its own start. */
const youngMs = 5_000

export interface WorkerSourceOptions {
  readonly workers: number
  /** Whether a spare is kept. */
  readonly spare: boolean
  readonly log: Log
  command(seat: number, spare: boolean): readonly string[]
  onFetch(request: FetchRequest, worker: WorkerProcess): void
  onPreview(request: PreviewRequest, worker: WorkerProcess): void
  onStarted(seat: number, pid: number): void
  /** A process has ended; nothing writes its seat's shared memory until another is started. */
  onExit(seat: number, reason: string | null): void
}

export class WorkerSource {
  readonly #options: WorkerSourceOptions
  readonly #seats: Seats
  #spare: WorkerProcess | null = null
  #youngDeaths = 0
  #timer: ReturnType<typeof setTimeout> | null = null
  #closed = false

  constructor(options: WorkerSourceOptions) {
    this.#options = options
    // One more for the spare, or for the successor of one that serves still.
    this.#seats = new Seats(options.workers + 1)
  }

  /** The spare's process; null while there is none. */
  get sparePid(): number | null {
    return this.#spare?.pid ?? null
  }

  /** A process for a place. Throws what spawn throws. */
  start(): WorkerProcess {
    const spare = this.#spare
    this.#spare = null
    return spare ?? this.#spawn(false)
  }

  /** A place's process has ended; `reason` is null when it was to end. */
  ended(worker: WorkerProcess, reason: string | null): void {
    this.#options.onExit(worker.seat, reason)
    this.#seats.release(worker.seat)
  }

  /** Starts a spare if there is none; called when the places are served, to which the processor belongs before. */
  fill(): void {
    if (!this.#options.spare || this.#closed || this.#spare !== null || this.#timer !== null) return
    try {
      const spare = this.#spawn(true)
      this.#spare = spare
      void spare.exited.then((exit) => this.#lost(spare, exit))
    } catch (thrown) {
      this.#options.log.warn('A spare worker could not be started.', {
        error_message: errorMessage(thrown),
      })
    }
  }

  /** Ends the spare. */
  async close(): Promise<void> {
    this.#closed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    const spare = this.#spare
    await spare?.stop()
  }

  #spawn(spare: boolean): WorkerProcess {
    const { command, log, onFetch, onPreview, onStarted } = this.#options
    const seat = this.#seats.take()
    try {
      const worker = new WorkerProcess({
        ...{ command: command(seat, spare), seat, spare, log, onFetch, onPreview },
      })
      onStarted(seat, worker.pid)
      return worker
    } catch (thrown) {
      this.#seats.release(seat)
      throw thrown
    }
  }

  /** A spare that ended while it was one; a place's process is the place's business. */
  #lost(spare: WorkerProcess, exit: WorkerExit): void {
    if (this.#spare !== spare) return
    this.#spare = null
    this.ended(spare, this.#closed ? null : exit.reason)
    if (this.#closed) return
    this.#youngDeaths = exit.lived_ms < youngMs ? this.#youngDeaths + 1 : 0
    this.#options.log.warn('A spare worker ended and is replaced.', {
      error_type: 'worker_lost',
      context: { seat: spare.seat, code: exit.code, signal: exit.signal, reason: exit.reason },
    })
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.fill()
    }, restartDelayMs(this.#youngDeaths))
  }
}
