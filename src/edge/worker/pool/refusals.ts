/** How the dispatcher says no to a call that it does not run. */

import { EdgefnError } from '../../../errors.ts'
import type { Outcome } from '../call.ts'

export function clientGone(): EdgefnError {
  return new EdgefnError('client_gone', 'The client left before its call began.')
}

export function overloaded(message: string): EdgefnError {
  return new EdgefnError('overloaded', message)
}

/** The outcome of a call that never ran. */
export function failedOutcome(error: EdgefnError): Outcome {
  const { code, message, details } = error
  return {
    ok: false,
    ...{ code, message, ...(details === undefined ? {} : { details }) },
    execution_ms: 0,
    busy_ms: 0,
    cold: false,
    logs: [],
    logs_dropped: 0,
    entered_ms: 0,
    left_ms: 0,
  }
}
