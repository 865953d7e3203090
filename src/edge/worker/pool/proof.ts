/**
 * Whether the calls of a function version run in the inline lane, on the HTTP thread (DESIGN section 2): only once enough calls in
 * the thread lane were quick, and no longer when they are not. Pure bookkeeping, in milliseconds of the monotonic clock.
 */

import { LIMITS } from '../../../protocol/limits.ts'

/** So many quick calls make up for a long one: of a hundred calls one may be long. */
const quickCallsPerLong = 100
/** Weight of the last call in the mean of a function's inline calls. */
const meanWeight = 1 / 32

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

  /** Notes one of the calls in the inline lane, of which some are measured. */
  ranInline(busyMs: number, nowMs: number): void {
    this.#calls += 1
    if (busyMs > LIMITS.inlineSlowMs) this.#slow += 1
    this.#meanMs += (busyMs - this.#meanMs) * meanWeight
    const areSlow = this.#slow * quickCallsPerLong > Math.max(this.#calls, quickCallsPerLong)
    if (!areSlow && this.#meanMs <= LIMITS.inlineMeanMsMax) return
    this.leave()
    this.#pausedUntil = nowMs + LIMITS.inlinePauseMsMin
  }

  /** Back to the thread lane, with nothing held against it. */
  leave(): void {
    this.#inline = false
    this.#forgetCalls()
  }

  /** Back to the thread lane after a call that had to be stopped, for longer each time; after many good ones it begins anew. */
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
