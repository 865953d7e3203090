/** What a caller gets for anything thrown: the only place where an error becomes an HTTP status and a body. */

import type { EdgefnError } from '../errors.ts'
import { toEdgefnError } from '../errors.ts'
import type { ErrorBody } from '../protocol/api.ts'

/** Seconds a caller is asked to wait after 429 and 503, where nobody knows better. */
const retryAfterSeconds = 1

export interface ErrorAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: ErrorBody
}

/**
 * The answer for `thrown`. What is not an EdgefnError becomes `internal` with a fixed sentence: neither its message nor
 * any cause or stack leaves the process.
 */
export function errorAnswer(thrown: unknown, requestId: string): ErrorAnswer {
  const error = toEdgefnError(thrown)
  return {
    status: error.status,
    headers: headersOf(error, requestId),
    body: {
      error: {
        code: error.code,
        message: error.message,
        ...(error.details === undefined ? {} : { details: error.details }),
        request_id: requestId,
        retryable: error.retryable,
      },
    },
  }
}

/** The same as a `Response`. */
export function errorResponse(thrown: unknown, requestId: string): Response {
  const { status, headers, body } = errorAnswer(thrown, requestId)
  return new Response(JSON.stringify(body), { status, headers })
}

function headersOf(error: EdgefnError, requestId: string): Record<string, string> {
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    'x-request-id': requestId,
  }
  if (error.status === 429 || error.status === 503) {
    const ms = error.details?.['retry_after_ms']
    headers['retry-after'] = `${typeof ms === 'number' ? Math.ceil(ms / 1000) : retryAfterSeconds}`
  }
  // The rest of the body is not read, so nothing can come after it.
  if (error.code === 'body_too_large') headers['connection'] = 'close'
  if (error.status === 401) headers['www-authenticate'] = 'Bearer'
  return headers
}
