/**
 * Functions that fetch themselves, directly or around a few corners: each turn would hold another executor thread until its
 * deadline. `CDN-Loop` (RFC 8586) counts the turns, across nodes and other people's caches too.
 */

import { LIMITS } from '../../../protocol/limits.ts'
import { headerFields } from '../header-lines.ts'
import { FetchError } from './outcome.ts'

export const LOOP_FIELD = 'cdn-loop'
const OURS = 'edgefn'
/** Characters of a field that is passed on; a list that long has been through more than a few places. */
const loopCharsMax = 1024

/** Where the request of some header lines has been, as its fields say; nothing for most. */
export function placesOf(headerLines: string): string {
  if (!headerLines.includes(`${LOOP_FIELD}: `)) return ''
  const fields = headerFields(headerLines).filter(([name]) => name === LOOP_FIELD)
  return fields.map(([, value]) => value).join(', ')
}

/**
 * The field of a fetch that a call makes, from where the call's own request has been. Throws FetchError when it has come
 * through here too often.
 */
export function loopField(places: string): string {
  const turns = places.split(',').filter((each) => each.split(';')[0]?.trim() === OURS).length
  if (turns >= LIMITS.fetchLoopsMax || places.length > loopCharsMax) {
    const message = `The request has been fetched by functions ${turns} times; it goes round in circles.`
    throw new FetchError('too_many_redirects', message)
  }
  return places === '' ? OURS : `${places}, ${OURS}`
}
