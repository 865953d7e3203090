/**
 * The circuit breaker of one function as a state machine: pure, so that it can be tried against a model. Closed lets every
 * call through and looks at the share of failures; open lets none through; half-open lets a few probes through, whose success
 * closes it and whose failure opens it again, for longer each time.
 */

import type { ErrorCode } from '../errors.ts'
import { ERROR_KINDS } from '../errors.ts'
import { LIMITS } from '../protocol/limits.ts'

export const BREAKER_STATES = ['closed', 'open', 'half_open'] as const
export type BreakerState = (typeof BREAKER_STATES)[number]

export interface Breaker {
  readonly state: BreakerState
  /**
   * Milliseconds of the clock: when the first probe may go (open), or when probes that have not come back are given up
   * (half-open; it also names the period, so that a late probe of an earlier one changes nothing). 0 when closed.
   */
  readonly until: number
  /** How often in a row it has opened, less one. */
  readonly level: number
  /** Probes that run, and those that have succeeded; half-open only. */
  readonly running: number
  readonly succeeded: number
}

export const CLOSED: Breaker = { state: 'closed', until: 0, level: 0, running: 0, succeeded: 0 }
export const levelMax = 63

/** What a call says about its function. */
export type Verdict = 'success' | 'failure' | 'nothing'

/** Calls that ended within the window. */
export interface Window {
  readonly calls: number
  readonly failures: number
}

/** Whether a call goes through, and as what; what the breaker is then. */
export type Admitted =
  | { readonly kind: 'call' }
  | { readonly kind: 'probe'; readonly next: Breaker }
  | { readonly kind: 'refused'; readonly retryMs: number; readonly next: Breaker }

/**
 * What a call that ended with `code`, or well, says about its function. A guest that answers 5xx has done what it was
 * asked; one that does not come to an answer has failed. What client, quota or node did says nothing about it.
 */
export function verdictOf(code: ErrorCode | null): Verdict {
  if (code === null) return 'success'
  if (code === 'worker_lost') return 'failure'
  if (code === 'function_quarantined' || code === 'circuit_open') return 'nothing'
  return ERROR_KINDS[code].fault === 'guest' ? 'failure' : 'nothing'
}

/** How long it stays open at a level. */
export function openMs(level: number): number {
  return Math.min(LIMITS.breakerOpenMsMax, LIMITS.breakerOpenMsMin * 2 ** Math.min(level, 20))
}

/** A call that wants through at `now`. `probeMs` is how long a probe of the function may take until it is given up. */
export function admit(breaker: Breaker, now: number, probeMs: number): Admitted {
  if (breaker.state === 'closed') return { kind: 'call' }
  const current = breaker.state === 'half_open' ? givenUp(breaker, now, probeMs) : breaker
  if (current.state === 'open') {
    const left = current.until - now
    // A clock that was set back must not keep it open for longer than it ever is.
    if (left > 0 && left <= LIMITS.breakerOpenMsMax) {
      return { kind: 'refused', retryMs: left, next: current }
    }
    const next = { ...current, state: 'half_open', until: now + probeMs, running: 1 } as const
    return { kind: 'probe', next: { ...next, succeeded: 0 } }
  }
  if (current.running + current.succeeded >= LIMITS.breakerProbesMax) {
    return { kind: 'refused', retryMs: LIMITS.breakerProbeRetryMs, next: current }
  }
  return { kind: 'probe', next: { ...current, running: current.running + 1 } }
}

/** What the end of a probe makes of it; `period` is the `until` under which the probe went. */
export function settleProbe(
  breaker: Breaker,
  period: number,
  verdict: Verdict,
  now: number,
): Breaker {
  if (breaker.state !== 'half_open' || breaker.until !== period) return breaker
  if (verdict === 'failure') return opened(breaker, now)
  const running = Math.max(breaker.running - 1, 0)
  if (verdict === 'nothing') return { ...breaker, running }
  const succeeded = breaker.succeeded + 1
  return succeeded >= LIMITS.breakerProbesMax ? CLOSED : { ...breaker, running, succeeded }
}

/** What a failure makes of a closed breaker, with the window that it is in. */
export function trip(breaker: Breaker, window: Window, now: number): Breaker {
  if (breaker.state !== 'closed' || window.calls < LIMITS.breakerCallsMin) return breaker
  if (window.failures * 100 < window.calls * LIMITS.breakerFailurePercent) return breaker
  return { ...CLOSED, state: 'open', until: now + openMs(0) }
}

/** What a call that ended with its worker makes of it: a failure, and nobody knows whether it was a probe. */
export function workerDied(breaker: Breaker, window: Window, now: number): Breaker {
  if (breaker.state === 'half_open') return opened(breaker, now)
  return trip(breaker, window, now)
}

/** Whether it keeps calls away at `now`; one whose time is over and that nobody has called since does not. */
export function isTripped({ state, until }: Breaker, now: number): boolean {
  const left = until - now
  return state === 'half_open' || (state === 'open' && left > 0 && left <= LIMITS.breakerOpenMsMax)
}

function opened({ level }: Breaker, now: number): Breaker {
  const next = Math.min(level + 1, levelMax)
  return { state: 'open', until: now + openMs(next), level: next, running: 0, succeeded: 0 }
}

/** A half-open breaker whose time is over: probes that never came back died with their worker, which is a failure. */
function givenUp(breaker: Breaker, now: number, probeMs: number): Breaker {
  const left = breaker.until - now
  if (left > 0 && left <= probeMs) return breaker
  return breaker.running > 0 ? opened(breaker, now) : { ...breaker, until: now + probeMs }
}
