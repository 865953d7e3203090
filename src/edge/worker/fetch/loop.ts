/**
 * Functions that fetch themselves, directly or around a few corners: each turn would hold another executor thread until its
 * deadline. `CDN-Loop` (RFC 8586) counts the turns, across nodes and other people's caches too.
 */

import { LIMITS } from '../../../protocol/limits.ts'
import { FetchError } from './outcome.ts'

export const LOOP_FIELD = 'cdn-loop'
const OURS = 'edgefn'
/** Characters of a field that is passed on; a list that long has been through more than a few places. */
const loopCharsMax = 1024

/**
 * The field of a fetch that a call makes, from the fields of the call's own request. Throws FetchError when the request has
 * come through here too often.
 */
export function loopField(headers: readonly (readonly [string, string])[]): string {
  const before = headers.filter(([name]) => name === LOOP_FIELD).map(([, value]) => value)
  const places = before.join(', ')
  const turns = places.split(',').filter((each) => each.split(';')[0]?.trim() === OURS).length
  if (turns >= LIMITS.fetchLoopsMax || places.length > loopCharsMax) {
    const message = `The request has been fetched by functions ${turns} times; it goes round in circles.`
    throw new FetchError('too_many_redirects', message)
  }
  return places === '' ? OURS : `${places}, ${OURS}`
}
