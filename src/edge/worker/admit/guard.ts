/** What keeps calls from a function that does harm: its quarantine (`edge/verdicts.ts`) and its circuit breaker (`edge/breaker.ts`). */

import type { ErrorCode } from '../../../errors.ts'
import { EdgefnError } from '../../../errors.ts'
import { verdictOf } from '../../breaker.ts'
import type { BreakerFile, Ticket } from '../../breaker-file.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { VerdictFile } from '../../verdicts.ts'

export interface Guard {
  /**
   * Throws `function_quarantined` or `circuit_open`, with `details.retry_after_ms`, when a call would be refused; asked
   * before anything is done for it.
   */
  check(fn: WorkerFunction): void
  /**
   * Takes the call in, to be settled once. Throws `circuit_open` when it opened meanwhile, or when others are trying the
   * function out.
   */
  enter(fn: WorkerFunction): Ticket
  /** Says how a call ended: with the code that it failed with, or null. `nowMs` is of the monotonic clock. */
  settle(ticket: Ticket, code: ErrorCode | null, nowMs: number): void
}

/** Milliseconds for which the time of day need not be asked again where only the breaker's window, of seconds, is concerned. */
const coarseMs = 50

export interface GuardDeps {
  readonly verdicts: VerdictFile
  readonly breakers: BreakerFile
  /** Milliseconds since the epoch. */
  readonly now: () => number
}

export function createGuard({ verdicts, breakers, now }: GuardDeps): Guard {
  let asked = 0
  let askedMs = Number.NEGATIVE_INFINITY
  return {
    check(fn) {
      const quarantined = verdicts.refusal(fn)
      if (quarantined !== null) throw quarantined
      if (breakers.isClosed(fn.slot)) return
      const waitMs = breakers.waitMs(fn, now())
      if (waitMs > 0) throw circuitOpen(fn, waitMs)
    },
    enter(fn) {
      const ticket = breakers.enter(fn, now)
      if (typeof ticket === 'number') throw circuitOpen(fn, ticket)
      return ticket
    },
    settle(ticket, code, nowMs) {
      if (code !== null || ticket.period !== null) {
        return breakers.settle(ticket, verdictOf(code), now())
      }
      if (nowMs - askedMs > coarseMs) {
        askedMs = nowMs
        asked = now()
      }
      breakers.settle(ticket, 'success', asked)
    },
  }
}

function circuitOpen(fn: WorkerFunction, waitMs: number): EdgefnError {
  const message = `Too many calls of ${fn.name} failed; it is tried again in a moment.`
  const details = { version: fn.version, retry_after_ms: Math.ceil(waitMs) }
  return new EdgefnError('circuit_open', message, { details })
}
