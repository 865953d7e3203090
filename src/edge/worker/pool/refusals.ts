/** How the dispatcher says no to a call that it does not run. */

import type { ErrorCode } from '../../../errors.ts'
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
  const code: ErrorCode = error.code
  return {
    ok: false,
    code,
    message: error.message,
    execution_ms: 0,
    cold: false,
    logs: [],
    logs_dropped: 0,
  }
}
