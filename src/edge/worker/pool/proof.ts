/**
 * Whether the calls of a function version run in the inline lane, on the HTTP thread (DESIGN section 2): only once enough calls in
 * the thread lane were quick, and no longer when they are not. Pure bookkeeping, in milliseconds of the monotonic clock.
 */

import { LIMITS } from '../../../protocol/limits.ts'

/** So many quick calls make up for a long one: of a hundred calls one may be long. */
const quickCallsPerLong = 100
/** Weight of the last call in the mean of a function's inline calls. */
const meanWeight = 1 / 32
/** Milliseconds taken by guests after which the end of the turn is looked for. */
const turnLookMs = 1

export class Proof {
  #inline = false
  /** Quick calls in the thread lane, less what long ones have cost. */
  #made = 0
  /** Calls measured in the inline lane, and those of them that were slow. */
  #calls = 0
  #slow = 0
  #meanMs = 0
  /** How often it had to go, and when it may come again. */
  #falls = 0
  #pausedUntil = 0

  get inline(): boolean {
    return this.#inline
  }

  /** Whether its calls in the inline lane take next to nothing in the mean. */
  get quick(): boolean {
    return this.#meanMs <= LIMITS.inlineQuickMs
  }

  /** Notes a call in the thread lane. True when it may change to the inline lane; `promote` does it. */
  ranOnThread(busyMs: number, nowMs: number): boolean {
    if (this.#inline || nowMs < this.#pausedUntil) return false
    this.#made += busyMs > LIMITS.inlineMeanMsMax ? 1 - quickCallsPerLong : 1
    // One that has become quick must not make up for all of its past.
    this.#made = Math.max(this.#made, -10 * quickCallsPerLong)
    return this.#made >= LIMITS.inlineProofCallsMin
  }

  /** Whether it may change without proof, where its module has proved itself under another function: nothing is held against it. */
  mayJoin(nowMs: number): boolean {
    return !this.#inline && this.#falls === 0 && nowMs >= this.#pausedUntil
  }

  promote(): void {
    this.#inline = true
    this.#meanMs = 0
    this.#forgetCalls()
  }

  /** Notes a call in the inline lane. True when it was a slow one. */
  ranInline(busyMs: number, nowMs: number): boolean {
    this.#calls += 1
    this.#meanMs += (Math.min(busyMs, LIMITS.inlineMsMax) - this.#meanMs) * meanWeight
    const isSlow = busyMs > LIMITS.inlineSlowMs
    if (isSlow) this.#slow += 1
    const areSlow = this.#slow > Math.max(this.#calls / quickCallsPerLong, 1)
    if (areSlow || this.#meanMs > LIMITS.inlineMeanMsMax) this.fall(nowMs)
    return isSlow
  }

  /** Back to the thread lane, with nothing held against it. */
  leave(): void {
    this.#inline = false
    this.#forgetCalls()
  }

  /** Back to the thread lane for what its calls have taken, for longer each time; after many good ones it begins anew. */
  fall(nowMs: number): void {
    if (this.#calls >= LIMITS.inlineForgivenCalls) this.#falls = 0
    const pauseMs = LIMITS.inlinePauseMsMin * 2 ** this.#falls
    this.#pausedUntil = nowMs + Math.min(pauseMs, LIMITS.inlinePauseMsMax)
    this.#falls += 1
    this.leave()
  }

  #forgetCalls(): void {
    this.#made = 0
    this.#calls = 0
    this.#slow = 0
  }
}

/** The time that calls have wasted in the inline lane, which is everybody's. */
export class InlineWaste {
  #ms = 0
  #atMs = 0
  /** When it is no longer much. */
  #muchUntilMs = Number.NEGATIVE_INFINITY

  wasted(ms: number, nowMs: number): void {
    const left = this.#ms * 0.5 ** ((nowMs - this.#atMs) / LIMITS.inlineWasteHalfMs)
    this.#ms = left + ms
    this.#atMs = nowMs
    const halves = Math.log2(this.#ms / LIMITS.inlineWastedMsMax)
    this.#muchUntilMs = nowMs + halves * LIMITS.inlineWasteHalfMs
  }

  isMuch(nowMs: number): boolean {
    return nowMs < this.#muchUntilMs
  }
}

/**
 * What guests take of a turn of the HTTP thread's event loop. A turn answers all requests that have arrived, so that somebody
 * else's, which arrives meanwhile, waits for all of them.
 */
export class InlineTurn {
  readonly #atEnd: (end: () => void) => void
  #tookMs = 0
  #endIsKnown = false
  #last: unknown = null
  #sharedUntilMs = Number.NEGATIVE_INFINITY

  /** `atEnd` calls when the turn has ended. */
  constructor(atEnd: (end: () => void) => void) {
    this.#atEnd = atEnd
  }

  /** Notes a call, in whichever lane: while all are of the same function, it is in nobody's way. */
  calls(fn: unknown, nowMs: number): void {
    if (fn === this.#last) return
    if (this.#last !== null) this.#sharedUntilMs = nowMs + LIMITS.inlineSharedMs
    this.#last = fn
  }

  hasRoom(quick: boolean, nowMs: number): boolean {
    const tookMs = this.#tookMs
    if (tookMs < LIMITS.inlineTurnMsMax || nowMs >= this.#sharedUntilMs) return true
    return quick && tookMs < LIMITS.inlineTurnQuickMsMax
  }

  took(ms: number): void {
    this.#tookMs += ms
    // Calls that take next to nothing need not know when a turn ends.
    if (this.#endIsKnown || this.#tookMs < turnLookMs) return
    this.#endIsKnown = true
    this.#atEnd(() => {
      this.#endIsKnown = false
      this.#tookMs = 0
    })
  }
}
