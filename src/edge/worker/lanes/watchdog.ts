/** The watchdog thread: ends calls that pass their deadline (DESIGN section 3, RELIABILITY promise 2) [R6.2 P11]. */

import type { AsyncHandle } from '../../../../ffi/handles.ts'
import type { Libc } from '../../../../ffi/libc.ts'
import { openLibc } from '../../../../ffi/libc.ts'
import type { Wasmedge } from '../../../../ffi/library.ts'
import { openWasmedge } from '../../../../ffi/library.ts'
import { PAGE_OF_POLLS_BYTES } from '../../../wasm/rewrite/polls.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import { RunningFile } from '../../running.ts'
import type { RunningSeat } from '../../running.ts'
import { ControlHeader, SLOT, SlotCells, slotState } from './control.ts'

/** Milliseconds between looks when no deadline is nearer. */
const restMsMax = 50
/**
 * The same while calls run in the inline lane, whose deadlines are near: with looks this frequent, none of them has to wake the
 * watchdog, which would take longer than the call.
 */
const inlineRestMs = 5
/** So many looks in a row without such a call end that. */
const inlineLooksMax = 200
/**
 * Milliseconds after it was first told to stop after which a guest that cannot be, on the thread that everybody waits for, ends
 * the process. Not after its deadline: a process that was frozen past that has told nobody yet.
 */
const inlineStuckMs = 2_000
/** Milliseconds between repeated orders to one guest; an order given between two invocations of a call is lost. */
const repeatMs = 2

export interface WatchdogOptions {
  readonly control: SharedArrayBuffer
  readonly threads: number
  /** Where the process writes what runs; null where there is no inline lane, whose slot is the one behind the threads'. */
  readonly running: RunningSeat | null
}

/** What the process ends with; to the agent it is a death like any other, blamed on what ran. */
const STUCK_EXIT_CODE = 70

/** Runs until `ControlHeader.close`, or as long as its process. */
export function runWatchdog(options: WatchdogOptions): void {
  const lib = openWasmedge()
  const libc = openLibc()
  const { monotonicMs } = libc
  const header = new ControlHeader(options.control)
  const slots = Array.from(
    { length: options.threads + (options.running === null ? 0 : 1) },
    (_, index) => new SlotCells(options.control, index),
  )
  const inlineSlot = slots[options.threads]
  const patience = new InlinePatience(libc)
  let quietLooks = inlineLooksMax
  /** How often the call that is being stopped in the inline lane was told to. Not since when: the process may stand still. */
  let inlineOrders = 0
  for (;;) {
    const seen = Atomics.load(header.wake, 0)
    if (header.closed) return
    const now = monotonicMs()
    quietLooks = header.inlineUsed === 1 ? 0 : quietLooks + 1
    header.inlineUsed = 0
    let next = now + (quietLooks < inlineLooksMax ? inlineRestMs : restMsMax)
    for (const slot of slots) next = Math.min(next, lookAt(slot, now))
    header.nextWakeMs = next
    Atomics.wait(header.wake, 0, seen, Math.max(next - monotonicMs(), 0))
  }

  /** Does what the slot needs and returns when it wants to be looked at again. */
  function lookAt(slot: SlotCells, now: number): number {
    const word = Atomics.load(slot.state, 0)
    switch (slotState(word)) {
      case SLOT.running: {
        const { deadlineMs } = slot
        // The word holds the call's number: if another call has begun since, its deadline was misread and nothing happens.
        if (Atomics.load(slot.state, 0) !== word) return now
        if (slot === inlineSlot) patience.sees(word)
        if (deadlineMs > now) return deadlineMs
        const laterMs =
          slot === inlineSlot && !slot.isOwnLimit ? patience.leftMs(now - deadlineMs) : 0
        if (laterMs > 0) return now + laterMs
        const claimed = word - SLOT.running + SLOT.stopping
        if (Atomics.compareExchange(slot.state, 0, word, claimed) !== word) return now
        if (slot === inlineSlot) inlineOrders = 1
        order(lib, libc, slot)
        return now + repeatMs
      }
      case SLOT.stopping:
        if (slot === inlineSlot) {
          if (inlineOrders * repeatMs > inlineStuckMs) endProcess()
          inlineOrders += 1
        }
        order(lib, libc, slot)
        return now + repeatMs
      case SLOT.returned:
        // Nothing is being cancelled at this point of the loop, so the runner may have its executor back.
        Atomics.store(slot.state, 0, word - SLOT.returned + SLOT.idle)
        Atomics.notify(slot.state, 0)
        return now + restMsMax
      default:
        return now + restMsMax
    }
  }

  /** Only what ran on the main thread is to be blamed. */
  function endProcess(): void {
    if (options.running === null) return
    const { path, seats, seat } = options.running
    new RunningFile(path, seats).lost(seat, options.threads)
    libc.exitNow(STUCK_EXIT_CODE)
  }
}

/**
 * How long a call in the inline lane may still run past its deadline, because the machine has had no processor for it: what is
 * not its fault must not send its function back to the thread lane.
 */
class InlinePatience {
  readonly #libc: Libc
  #word = 0
  #cpuMs = 0

  constructor(libc: Libc) {
    this.#libc = libc
  }

  /** A call is seen to run; its processor time counts from the first time that it is. */
  sees(word: number): void {
    if (word === this.#word) return
    this.#word = word
    this.#cpuMs = this.#libc.mainThreadCpuMs()
  }

  leftMs(overdueMs: number): number {
    if (overdueMs >= LIMITS.inlineWallMsMax - LIMITS.inlineMsMax) return 0
    const hadMs = this.#libc.mainThreadCpuMs() - this.#cpuMs
    // A part of it may have been before the first look.
    return LIMITS.inlineMsMax - inlineRestMs - hadMs
  }
}

/**
 * Tells a claimed guest to stop, in both ways: interpreted code looks at its executor's stop token, compiled code faults at
 * its next poll when the polled page is gone. Until it has let go of the slot, neither can be taken from under it.
 */
function order(lib: Wasmedge, libc: Libc, slot: SlotCells): void {
  lib.WasmEdge_AsyncCancel(slot.stop as AsyncHandle)
  const { pollPage } = slot
  if (pollPage !== 0) libc.forbid(pollPage, PAGE_OF_POLLS_BYTES)
}
