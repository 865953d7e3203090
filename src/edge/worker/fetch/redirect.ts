/** Following redirects as the Fetch standard does: what of a request goes on to the next place. */

import { FetchError } from './outcome.ts'
import type { FetchRequest } from './request.ts'
import type { ResponseHead } from './response-parser.ts'
import { originOf, redirectTarget } from './target.ts'

const STATUSES = new Set([301, 302, 303, 307, 308])

/** Fields that describe a body, and leave with it. */
const OF_THE_BODY = new Set([
  'content-encoding',
  'content-language',
  'content-location',
  'content-type',
])
/** Fields that say who asks; they are meant for the origin that the guest named. */
const CREDENTIALS = new Set(['authorization', 'cookie'])

/** The `Location` to follow, or null when the response is the answer itself. */
export function locationOf(head: ResponseHead): string | null {
  if (!STATUSES.has(head.status)) return null
  return head.headers.find(([name]) => name === 'location')?.[1] ?? null
}

/**
 * The request that a redirect asks for. It is held to allow-list and addresses again, like the first. Throws FetchError
 * when the location is not a URL that may be fetched at all.
 */
export function redirected(
  request: FetchRequest,
  head: ResponseHead,
  location: string,
): FetchRequest {
  // Servers write UTF-8 into it; the parser gives bytes, one to a character.
  const target = redirectTarget(Buffer.from(location, 'latin1').toString('utf8'), request.target)
  if (target === null) {
    throw new FetchError('not_allowed', 'The redirect leads to no URL that may be fetched.')
  }
  const { method, body } = request
  const becomesGet =
    (head.status <= 302 && method === 'POST') ||
    (head.status === 303 && method !== 'GET' && method !== 'HEAD')
  const leavesOrigin = originOf(target) !== originOf(request.target)
  const headers = request.headers.filter(
    ([name]) => !(becomesGet && OF_THE_BODY.has(name)) && !(leavesOrigin && CREDENTIALS.has(name)),
  )
  return becomesGet
    ? { method: 'GET', target, headers, body: new Uint8Array(0) }
    : { method, target, headers, body }
}
