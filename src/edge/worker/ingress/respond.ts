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

/**
 * The guest's response; to HEAD Bun sends its length and leaves the body out. Throws `invalid_response` when it cannot
 * be written as HTTP.
 */
export function guestResponse(response: GuestResponse, requestId: string): Response {
  const bodiless = BODILESS.has(response.status)
  const headers: [string, string][] = []
  for (const [name, value] of response.headers) {
    if (name === 'x-request-id' || (bodiless && BODY_FIELDS.has(name))) continue
    headers.push([name, value])
  }
  headers.push(['x-request-id', requestId])
  try {
    return new Response(bodiless ? null : response.body, { status: response.status, headers })
  } catch (cause) {
    throw new EdgefnError('invalid_response', 'The function answered with an invalid response.', {
      cause,
    })
  }
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
