/**
 * The memory that executor threads and the watchdog share: one slot per executor thread, saying whether a guest runs in it
 * and until when (DESIGN section 3). Plain numbers and Atomics, because it is read by threads that share nothing else.
 */

/**
 * States of a slot, in the low two bits of its word; the bits above count the calls, so that a watchdog that looked at one
 * call can never claim the next. Who may move it: see `CallSlot` and `runWatchdog`.
 */
export const SLOT = {
  /** No guest runs. */
  idle: 0,
  /** A guest runs; whoever changes this first, runner or watchdog, has won. */
  running: 1,
  /** The watchdog has claimed the call and may be cancelling its executor. */
  stopping: 2,
  /** The runner has returned from a claimed call and waits for the watchdog to let go. */
  returned: 3,
} as const

/** The state in a slot's word. */
export function slotState(word: number): number {
  return word & 3
}

const HEADER_BYTES = 64
const SLOT_BYTES = 64

/** Size for `threads` executor threads. */
export function controlBytes(threads: number): number {
  return HEADER_BYTES + threads * SLOT_BYTES
}

/** States of the word that says whether compiled code may run in this process (`runtime/compiled-code.ts`). */
export const HOLDER = { none: 0, parking: 1, parked: 2 } as const

/** Shared by all slots: how to wake the watchdog, and whether the engine's holder is parked. */
export class ControlHeader {
  /** Bumped and notified to wake the watchdog early. */
  readonly wake: Int32Array
  /** One of HOLDER. */
  readonly holder: Int32Array
  readonly #nextWake: Float64Array
  readonly #inlineUsed: Int32Array
  readonly #closed: Int32Array

  constructor(control: SharedArrayBuffer) {
    this.wake = new Int32Array(control, 0, 1)
    this.#nextWake = new Float64Array(control, 8, 1)
    this.holder = new Int32Array(control, 16, 1)
    this.#inlineUsed = new Int32Array(control, 20, 1)
    this.#closed = new Int32Array(control, 24, 1)
  }

  /** Whether the watchdog is to end. */
  get closed(): boolean {
    return Atomics.load(this.#closed, 0) === 1
  }

  /** Tells the watchdog to end: no call runs any more that it would have to stop. */
  close(): void {
    Atomics.store(this.#closed, 0, 1)
    this.wakeNow()
  }

  wakeNow(): void {
    Atomics.add(this.wake, 0, 1)
    Atomics.notify(this.wake, 0)
  }

  /** 1 from a call in the inline lane until the watchdog has seen it: it looks often while there are such calls. */
  get inlineUsed(): number {
    return this.#inlineUsed[0] ?? 0
  }

  set inlineUsed(used: 0 | 1) {
    this.#inlineUsed[0] = used
  }

  /** Monotonic milliseconds at which the watchdog looks next. */
  get nextWakeMs(): number {
    return this.#nextWake[0] ?? 0
  }

  set nextWakeMs(at: number) {
    this.#nextWake[0] = at
  }
}

/** One executor thread's slot, as seen from either side. */
export class SlotCells {
  readonly state: Int32Array
  readonly #numbers: Float64Array

  constructor(control: SharedArrayBuffer, index: number) {
    const at = HEADER_BYTES + index * SLOT_BYTES
    this.state = new Int32Array(control, at, 1)
    this.#numbers = new Float64Array(control, at + 8, 4)
  }

  get deadlineMs(): number {
    return this.#numbers[0] ?? 0
  }

  /** Address of the executor's cancel handle. */
  get stop(): number {
    return this.#numbers[1] ?? 0
  }

  /** Address of the polled page of the instance that runs; 0 while none does, or none that polls. */
  get pollPage(): number {
    return this.#numbers[2] ?? 0
  }

  set pollPage(address: number) {
    this.#numbers[2] = address
  }

  /** Whether the deadline is the function's own limit, and not that of the thread that it runs on. */
  get isOwnLimit(): boolean {
    return this.#numbers[3] === 1
  }

  set(deadlineMs: number, stop: number, isOwnLimit: boolean): void {
    this.#numbers[0] = deadlineMs
    this.#numbers[1] = stop
    this.#numbers[2] = 0
    this.#numbers[3] = isOwnLimit ? 1 : 0
  }
}

/** The runner's side: an executor thread marks its calls with this. */
export class CallSlot {
  readonly #cells: SlotCells
  readonly #header: ControlHeader
  /** The word of the call that runs now. */
  #running = 0

  constructor(control: SharedArrayBuffer, index: number) {
    this.#cells = new SlotCells(control, index)
    this.#header = new ControlHeader(control)
  }

  /** From now until `end` the watchdog may stop the executor behind `stop`, once `deadlineMs` has passed. */
  begin(deadlineMs: number, stop: number, isOwnLimit = true): void {
    const calls = (this.#running >> 2) + 1
    this.#running = (calls << 2) | SLOT.running
    this.#cells.set(deadlineMs, stop, isOwnLimit)
    Atomics.store(this.#cells.state, 0, this.#running)
    if (deadlineMs >= this.#header.nextWakeMs) return
    this.#header.wakeNow()
  }

  /**
   * Names the page that the instance about to be invoked polls. It must stay mapped until `end` has returned: the watchdog
   * may take it away at any moment before.
   */
  watch(pollPage: number): void {
    this.#cells.pollPage = pollPage
  }

  /** Whether the watchdog has claimed the call; to be asked between two invocations of one call. */
  get claimed(): boolean {
    return Atomics.load(this.#cells.state, 0) !== this.#running
  }

  /**
   * Ends the call. True: the runner won and nobody will touch the executor. False: the watchdog had claimed it; when this
   * returns it has let go, and the executor must be thrown away.
   */
  end(): boolean {
    const { state } = this.#cells
    const call = this.#running - SLOT.running
    const won = Atomics.compareExchange(state, 0, this.#running, call + SLOT.idle)
    if (won === this.#running) return true
    Atomics.store(state, 0, call + SLOT.returned)
    while (slotState(Atomics.load(state, 0)) === SLOT.returned) {
      this.#header.wakeNow()
      Atomics.wait(state, 0, call + SLOT.returned, 5)
    }
    return false
  }
}
