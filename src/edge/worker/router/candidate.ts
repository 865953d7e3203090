/** A route prepared for matching: its place in the order as a number, its methods as bits, the answer it gives ready made. */

import { HTTP_METHODS } from '../../../protocol/http-methods.ts'
import type { Method, Route } from '../../../protocol/manifest.ts'
import { rankOf } from './order.ts'

export interface Found {
  readonly kind: 'found'
  readonly route: Route
}

export interface Candidate {
  readonly found: Found
  /** Place in the order of all routes (`order.ts`); of those that match, the smallest is taken. */
  readonly rank: number
  readonly methods: number
  /** The next one of the same path, which takes methods that those before it do not. */
  next: Candidate | null
}

const METHOD_BITS: ReadonlyMap<string, number> = new Map(
  HTTP_METHODS.map((method, index) => [method, 1 << index]),
)
export const EVERY_METHOD = (1 << HTTP_METHODS.length) - 1

/** The bit of a method; 0 for methods that no route can name. */
export function methodBit(method: string): number {
  return METHOD_BITS.get(method) ?? 0
}

/** An empty list of methods takes every method. */
function methodBits(methods: readonly Method[]): number {
  let bits = 0
  for (const method of methods) bits |= methodBit(method)
  return bits === 0 ? EVERY_METHOD : bits
}

export function candidateOf(route: Route): Candidate {
  const found: Found = { kind: 'found', route }
  return { found, rank: rankOf(route), methods: methodBits(route.methods), next: null }
}

/** Whether `a` is taken before `b`. Of equal ranks the older route goes first (ids are UUIDv7), so the order is total. */
export function precedes(a: Candidate, b: Candidate): boolean {
  return a.rank < b.rank || (a.rank === b.rank && a.found.route.route_id < b.found.route.route_id)
}

/**
 * Puts a candidate where it belongs in the list of one path, and leaves out all that find their methods taken by those
 * before them. A list then holds at most one candidate per method, however many routes share the path. Returns its head.
 */
export function withCandidate(head: Candidate | null, candidate: Candidate): Candidate {
  let taken = 0
  let before: Candidate | null = null
  let behind = head
  while (behind !== null && precedes(behind, candidate)) {
    taken |= behind.methods
    before = behind
    behind = behind.next
  }
  if ((candidate.methods & ~taken) === 0) return head ?? candidate
  taken |= candidate.methods
  let last = candidate
  for (; behind !== null; behind = behind.next) {
    if ((behind.methods & ~taken) === 0) continue
    taken |= behind.methods
    last.next = behind
    last = behind
  }
  last.next = null
  if (before === null) return candidate
  before.next = candidate
  return head ?? candidate
}

/** The first of a list that takes a method of `bits`, unless `best` goes before it. */
export function betterOf(
  best: Candidate | null,
  list: Candidate | null,
  bits: number,
): Candidate | null {
  for (let each = list; each !== null; each = each.next) {
    if ((each.methods & bits) !== 0) return best === null || precedes(each, best) ? each : best
  }
  return best
}
