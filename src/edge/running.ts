/**
 * What every executor thread of the node runs at this moment, in one memory-mapped file of all workers (DESIGN section 1). A
 * thread writes its own cell before it touches a module and clears it afterwards, so that the agent can read, when a
 * worker has died, whose code was running in it.
 */

import { LIMITS } from '../protocol/limits.ts'
import { mapShared } from './shared-file.ts'

/** Of a seat: its process, and which of its threads was given up, plus one (0: none was). */
const HEADER_CELLS = 16
const HEADER = { pid: 0, lost: 1 } as const
/** Of a thread: slot plus one (0: it runs nothing), and version. */
const THREAD_CELLS = 2
/** The last one is the main thread, where the inline lane is. */
const threadsMax = LIMITS.executorThreadsMax + LIMITS.sleepingThreadsMax + 1
const SEAT_CELLS = HEADER_CELLS + threadsMax * THREAD_CELLS

/** A function version by its slot. */
export interface RunningSlot {
  readonly slot: number
  readonly version: number
}

/** Where the threads of one worker write what they run. */
export interface RunningSeat {
  readonly path: string
  /** Seats of the node's workers, and which of them this is. */
  readonly seats: number
  readonly seat: number
}

export class RunningFile {
  readonly #cells: Int32Array<ArrayBufferLike>

  /** Opens the file, made when it is missing. Every process gives the same number of seats. */
  constructor(path: string, seats: number) {
    this.#cells = new Int32Array(mapShared(path, seats * SEAT_CELLS * 4))
  }

  /** A process has the seat from now on, which the agent has cleared. */
  occupy(seat: number, pid: number): void {
    Atomics.store(this.#cells, seat * SEAT_CELLS + HEADER.pid, pid)
  }

  /** The process in a seat; 0 while there is none. */
  pid(seat: number): number {
    return Atomics.load(this.#cells, seat * SEAT_CELLS + HEADER.pid)
  }

  /** The thread runs the function from now until `end`. The slot is written last, because it is what counts. */
  begin(seat: number, thread: number, slot: number, version: number): void {
    const at = cellOf(seat, thread)
    this.#cells[at + 1] = version
    Atomics.store(this.#cells, at, slot + 1)
  }

  end(seat: number, thread: number): void {
    Atomics.store(this.#cells, cellOf(seat, thread), 0)
  }

  /** The thread does not come back: when its worker ends, what it ran is the reason, and nothing else is. */
  lost(seat: number, thread: number): void {
    Atomics.store(this.#cells, seat * SEAT_CELLS + HEADER.lost, thread + 1)
  }

  /** Whether one of its threads was given up. */
  hasLost(seat: number): boolean {
    return Atomics.load(this.#cells, seat * SEAT_CELLS + HEADER.lost) > 0
  }

  /** What ran in a seat when its process ended: what its lost thread ran, else what all of its threads did. */
  read(seat: number): RunningSlot[] {
    const lost = Atomics.load(this.#cells, seat * SEAT_CELLS + HEADER.lost)
    if (lost > 0) return this.#thread(seat, lost - 1)
    const threads = Array.from({ length: threadsMax }, (_, thread) => thread)
    return threads.flatMap((thread) => this.#thread(seat, thread))
  }

  /** Forgets a seat, before another process is started in it. */
  clear(seat: number): void {
    const first = seat * SEAT_CELLS
    for (let at = first; at < first + SEAT_CELLS; at += 1) Atomics.store(this.#cells, at, 0)
  }

  #thread(seat: number, thread: number): RunningSlot[] {
    const at = cellOf(seat, thread)
    const slot = Atomics.load(this.#cells, at) - 1
    return slot < 0 ? [] : [{ slot, version: this.#cells[at + 1] ?? 0 }]
  }
}

function cellOf(seat: number, thread: number): number {
  return seat * SEAT_CELLS + HEADER_CELLS + thread * THREAD_CELLS
}
