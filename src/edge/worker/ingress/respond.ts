/** What a call came to → the one Response of its request. */

import { EdgefnError } from '../../../errors.ts'
import { errorResponse } from '../../../http/error-response.ts'
import type { Method } from '../../../protocol/manifest.ts'
import type { GuestResponse, Outcome } from '../call.ts'

/** Statuses whose responses have no body (RFC 9110 15.3.5, 15.3.6, 15.4.5). */
const BODILESS = new Set([204, 205, 304])
/** Fields that describe a body. */
const BODY_FIELDS = new Set(['content-type', 'content-length', 'content-encoding'])

/** The failed outcome as an error with the same code. */
export function outcomeError(outcome: Outcome & { ok: false }): EdgefnError {
  const { code, message, details } = outcome
  return new EdgefnError(code, message, details === undefined ? {} : { details })
}

/** What a response with certain headers begins with; the request's id is set anew each time. */
interface Start {
  readonly status: number
  readonly headers: Headers
}

/**
 * Makes responses. Headers that came before as the same object, from a function that runs on this thread, are not put together
 * again.
 */
export class Responder {
  readonly #starts = new WeakMap<GuestResponse['headers'], Start>()

  /**
   * The guest's response; to HEAD Bun sends its length and leaves the body out. Throws `invalid_response` when it cannot
   * be written as HTTP.
   */
  respond(response: GuestResponse, requestId: string): Response {
    const { status, headers, body } = response
    const bodiless = BODILESS.has(status)
    try {
      let start = this.#starts.get(headers)
      if (start === undefined || start.status !== status) {
        start = { status, headers: headersOf(headers, bodiless) }
        this.#starts.set(headers, start)
      }
      start.headers.set('x-request-id', requestId)
      return new Response(bodiless ? null : body, start)
    } catch (cause) {
      throw new EdgefnError('invalid_response', 'The function answered with an invalid response.', {
        cause,
      })
    }
  }
}

function headersOf(fields: GuestResponse['headers'], bodiless: boolean): Headers {
  const headers = new Headers()
  for (const [name, value] of fields) {
    if (!bodiless || !BODY_FIELDS.has(name)) headers.append(name, value)
  }
  return headers
}

/** 405 with the methods that would do. */
export function methodRefusal(
  message: string,
  allow: readonly Method[],
  requestId: string,
): Response {
  const response = errorResponse(new EdgefnError('method_not_allowed', message), requestId)
  response.headers.set('allow', allow.join(', '))
  return response
}
