/**
 * Which version of a split function a request goes to. A user is a point between 0 and 100, by a hash that is the same on every node
 * and in every process; the versions, in ascending order, have stretches as long as their weights. So a user stays with
 * a version for as long as its stretch holds the point, and with two versions a change of the weights moves exactly the users that it
 * has to.
 */

import type { Sticky } from '../../../protocol/split.ts'
import type { SplitRow } from '../../ipc.ts'
import type { Connection, HeaderRecord } from './request.ts'
import { fieldIn } from './request.ts'

/** FNV-1a over UTF-16 code units; what it lacks in its high bits `spread` makes up for. */
function hashOf(text: string, seed: number): number {
  let hash = seed
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index)
    hash = Math.imul(hash ^ (unit & 0xff), 0x01000193)
    hash = Math.imul(hash ^ (unit >>> 8), 0x01000193)
  }
  return hash
}

/** The last step of MurmurHash3: each bit of the result depends on all bits of the hash. */
function spread(hash: number): number {
  let mixed = hash ^ (hash >>> 16)
  mixed = Math.imul(mixed, 0x85ebca6b)
  mixed ^= mixed >>> 13
  mixed = Math.imul(mixed, 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}

const fnvOffset = 0x811c9dc5

/** What the hashes of a function's users begin with: who is among the first tenth of one is not so of all. */
export function seedOf(functionId: string): number {
  return hashOf(functionId, fnvOffset)
}

/** The user's point: at least 0, less than 100. */
export function pointOf(seed: number, user: string): number {
  return (spread(hashOf(user, seed)) / 2 ** 32) * 100
}

/** The version whose stretch holds the point. */
export function versionAt(arms: SplitRow['arms'], point: number): number {
  let end = 0
  let version = 0
  for (const arm of arms) {
    version = arm.version
    end += arm.weight
    if (point < end) return version
  }
  return version
}

/** Who makes the request, as far as the split wants to know. */
export function userOf(sticky: Sticky, record: HeaderRecord, connection: Connection): string {
  if (sticky !== 'client') {
    const value =
      'header' in sticky
        ? fieldIn(record, sticky.header)
        : cookieIn(fieldIn(record, 'cookie'), sticky.cookie)
    if (value !== undefined && value !== '') return value
  }
  const address = connection.peer()?.address ?? ''
  // The same client, whichever family the listener has.
  return address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address
}

/** The first cookie of a name; undefined when there is none. */
export function cookieIn(field: string | undefined, name: string): string | undefined {
  if (field === undefined) return undefined
  for (const pair of field.split(';')) {
    const equals = pair.indexOf('=')
    if (equals > 0 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim()
  }
  return undefined
}
