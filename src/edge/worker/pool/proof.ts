/**
 * Whether the calls of a function version run in the inline lane, on the HTTP thread (DESIGN section 2): only once enough calls in
 * the thread lane were quick, and no longer when they are not. Pure bookkeeping, in milliseconds of the monotonic clock.
 */

import { LIMITS } from '../../../protocol/limits.ts'

/** Weight of the last call in the mean of a function's inline calls. */
const meanWeight = 1 / 32

export class Proof {
  #inline = false
  /** Calls looked at since it last changed lanes, and those of them that were not quick enough. */
  #calls = 0
  #slow = 0
  #meanMs = 0
  /** How often it had to go, and when it may come again. */
  #falls = 0
  #pausedUntil = 0
  #inlineSince = 0

  get inline(): boolean {
    return this.#inline
  }

  /** Notes a call in the thread lane. True when it may change to the inline lane; `promote` does it. */
  ranOnThread(busyMs: number, nowMs: number): boolean {
    if (this.#inline || nowMs < this.#pausedUntil) return false
    this.#calls += 1
    if (busyMs > LIMITS.inlineMeanMsMax) this.#slow += 1
    if (this.#slow * 100 > Math.max(this.#calls, LIMITS.inlineProofCallsMin)) this.leave()
    return this.#calls >= LIMITS.inlineProofCallsMin
  }

  promote(nowMs: number): void {
    this.#inline = true
    this.#inlineSince = nowMs
    this.#meanMs = 0
    this.#forgetCalls()
  }

  /** Notes a call that ended in the inline lane. */
  ranInline(executionMs: number, nowMs: number): void {
    this.#calls += 1
    const isSlow = executionMs > LIMITS.inlineSlowMs
    if (isSlow) this.#slow += 1
    // A single one may be the machine's doing, and says little of the mean.
    this.#meanMs += (Math.min(executionMs, LIMITS.inlineSlowMs) - this.#meanMs) * meanWeight
    const areSlow = isSlow && this.#slow * 1000 > this.#calls + 1000
    // The first calls on a thread are slow: nothing is compiled for them yet.
    const isLong = this.#calls > LIMITS.inlineProofCallsMin && this.#meanMs > LIMITS.inlineMeanMsMax
    if (!areSlow && !isLong) return
    this.leave()
    this.#pausedUntil = nowMs + LIMITS.inlinePauseMsMin
  }

  /** Back to the thread lane, with nothing held against it. */
  leave(): void {
    this.#inline = false
    this.#forgetCalls()
  }

  /** Back to the thread lane after a call that had to be stopped, for longer each time; who has stayed long enough begins anew. */
  fall(nowMs: number): void {
    if (nowMs - this.#inlineSince >= LIMITS.inlineForgivenMs) this.#falls = 0
    const pauseMs = LIMITS.inlinePauseMsMin * 2 ** this.#falls
    this.#pausedUntil = nowMs + Math.min(pauseMs, LIMITS.inlinePauseMsMax)
    this.#falls += 1
    this.leave()
  }

  #forgetCalls(): void {
    this.#calls = 0
    this.#slow = 0
  }
}

/**
 * The time that calls have wasted in the inline lane, which is everybody's: while it is much, no function is let in that is not.
 */
export class InlineWaste {
  #ms = 0
  #atMs = 0

  wasted(ms: number, nowMs: number): void {
    this.#ms = this.#left(nowMs) + ms
    this.#atMs = nowMs
  }

  isMuch(nowMs: number): boolean {
    return this.#left(nowMs) > LIMITS.inlineWastedMsMax
  }

  #left(nowMs: number): number {
    return this.#ms * 0.5 ** ((nowMs - this.#atMs) / LIMITS.inlineWasteHalfMs)
  }
}
