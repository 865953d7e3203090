/**
 * Threads whose guest waits in a host function take no processor, so they do not count as busy, and others begin in their
 * place. One that wakes up goes on only where a call could begin, else it waits for its turn: otherwise a hundred guests that
 * slept for a moment would then compute side by side. Kept in memory that all threads of a worker share; nobody has to be
 * asked, so that a busy main thread holds up no guest.
 */

/** What a thread does. Only the thread itself moves its cell, but for drowsy → awake, which whoever makes room for it does. */
const STATE = { idle: 0, awake: 1, asleep: 2, drowsy: 3 } as const

const HEADER = {
  /** `RestLimits`. */
  awakeMax: 0,
  ownerAwakeMax: 1,
  totalAwakeMax: 2,
  /** Threads that were started so far. */
  threads: 3,
  /** How many are drowsy. */
  drowsy: 4,
  /** 1: the main thread has calls that wait and wants to be told when a thread falls asleep. */
  wanted: 5,
  /** Counts how often a thread fell asleep. */
  naps: 6,
} as const
const HEADER_CELLS = 16

/** Milliseconds after which a drowsy thread looks by itself whether there is room, whoever should have woken it. */
const drowsyLookMs = 50

export interface RestLimits {
  /** Threads that may be awake, those of one function among them; and with one that is its function's only one awake. */
  readonly awakeMax: number
  readonly ownerAwakeMax: number
  readonly totalAwakeMax: number
}

/** Size for `threads` executor threads: the states of all, and behind them which function each runs. */
export function restBytes(threads: number): number {
  return (HEADER_CELLS + threads * 2) * 4
}

/** Side by side: whoever wakes up reads them all. */
const stateAt = (thread: number) => HEADER_CELLS + thread
const ownerAt = (cells: Int32Array, thread: number) => (cells.length + HEADER_CELLS) / 2 + thread

/** The main thread's side. */
export class RestBoard {
  readonly #cells: Int32Array

  constructor(memory: SharedArrayBuffer, limits: RestLimits) {
    this.#cells = new Int32Array(memory)
    this.#cells[HEADER.awakeMax] = limits.awakeMax
    this.#cells[HEADER.ownerAwakeMax] = limits.ownerAwakeMax
    this.#cells[HEADER.totalAwakeMax] = limits.totalAwakeMax
  }

  /** Notes that threads below `count` exist. */
  started(count: number): void {
    Atomics.store(this.#cells, HEADER.threads, count)
  }

  isAsleep(thread: number): boolean {
    return Atomics.load(this.#cells, stateAt(thread)) === STATE.asleep
  }

  /** Changes whenever a thread has fallen asleep. */
  get naps(): number {
    return Atomics.load(this.#cells, HEADER.naps)
  }

  /** Whether the next thread that falls asleep is to say so (`ThreadRest.tell`); once, and then it must be asked again. */
  want(wanted: boolean): void {
    Atomics.store(this.#cells, HEADER.wanted, Number(wanted))
  }
}

/** An executor thread's side. */
export class ThreadRest {
  readonly #cells: Int32Array
  readonly #thread: number
  readonly #at: number
  readonly #tell: () => void

  /** `tell` is called when this thread falls asleep and the main thread wants to know. */
  constructor(memory: SharedArrayBuffer, thread: number, tell: () => void) {
    this.#cells = new Int32Array(memory)
    this.#thread = thread
    this.#at = stateAt(thread)
    this.#tell = tell
  }

  /** A call begins. `owner` is the number of its function (`WorkerFunction.slot`). */
  begin(owner: number): void {
    this.#cells[ownerAt(this.#cells, this.#thread)] = owner
    this.#move(STATE.awake)
  }

  /** The call is over. */
  end(): void {
    this.#move(STATE.idle)
    this.#handOver()
  }

  /** Does `wait`, which takes no processor, and returns when the thread may go on; at the latest when `leftMs` says 0. */
  during<T>(leftMs: () => number, wait: () => T): T {
    this.#move(STATE.asleep)
    Atomics.add(this.#cells, HEADER.naps, 1)
    this.#handOver()
    if (Atomics.exchange(this.#cells, HEADER.wanted, 0) === 1) this.#tell()
    try {
      return wait()
    } finally {
      this.#wake(leftMs)
    }
  }

  #wake(leftMs: () => number): void {
    if (this.#hasRoom()) return this.#move(STATE.awake)
    const { drowsy, awake } = STATE
    Atomics.add(this.#cells, HEADER.drowsy, 1)
    this.#move(drowsy)
    // In this order: who makes room looks for drowsy threads afterwards, so that one of the two sees the other.
    while (Atomics.load(this.#cells, this.#at) === drowsy) {
      const ms = leftMs()
      if (ms <= 0 || this.#hasRoom()) Atomics.compareExchange(this.#cells, this.#at, drowsy, awake)
      else Atomics.wait(this.#cells, this.#at, drowsy, Math.min(ms, drowsyLookMs))
    }
    Atomics.sub(this.#cells, HEADER.drowsy, 1)
  }

  /** Whether this thread, which is not awake, may be. Two may see the same room; that is one thread too many for a moment. */
  #hasRoom(): boolean {
    const threads = Atomics.load(this.#cells, HEADER.threads)
    return threads <= this.#limit(HEADER.ownerAwakeMax) || this.#fits(this.#ownerOf(this.#thread))
  }

  /** The rule by which the dispatcher begins calls, too: a function that is awake nowhere may be awake once. */
  #fits(owner: number): boolean {
    let all = 0
    let own = 0
    const threads = Atomics.load(this.#cells, HEADER.threads)
    for (let thread = 0; thread < threads; thread += 1) {
      if (Atomics.load(this.#cells, stateAt(thread)) !== STATE.awake) continue
      all += 1
      if (this.#ownerOf(thread) === owner) own += 1
    }
    if (own === 0) return all < this.#limit(HEADER.totalAwakeMax)
    return all < this.#limit(HEADER.awakeMax) && own < this.#limit(HEADER.ownerAwakeMax)
  }

  /** Wakes a drowsy thread in the place of this one, which is not awake any more. */
  #handOver(): void {
    if (Atomics.load(this.#cells, HEADER.drowsy) === 0) return
    const { drowsy, awake } = STATE
    const threads = Atomics.load(this.#cells, HEADER.threads)
    // Not always the same ones first.
    const first = Atomics.load(this.#cells, HEADER.naps) % threads
    let refused = -1
    for (let step = 0; step < threads; step += 1) {
      const thread = (first + step) % threads
      if (Atomics.load(this.#cells, stateAt(thread)) !== drowsy) continue
      const owner = this.#ownerOf(thread)
      if (owner === refused) continue
      if (!this.#fits(owner)) {
        refused = owner
        continue
      }
      const seen = Atomics.compareExchange(this.#cells, stateAt(thread), drowsy, awake)
      if (seen !== drowsy) continue
      Atomics.notify(this.#cells, stateAt(thread))
      return
    }
  }

  #ownerOf(thread: number): number {
    return this.#cells[ownerAt(this.#cells, thread)] ?? 0
  }

  #limit(cell: number): number {
    return this.#cells[cell] ?? 0
  }

  #move(state: number): void {
    Atomics.store(this.#cells, this.#at, state)
  }
}
