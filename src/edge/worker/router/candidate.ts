/** A route prepared for matching: its place in the order as a number, its methods as bits. */

import { HTTP_METHODS, type Method, type Route } from '../../../protocol/manifest.ts'

export interface Candidate {
  readonly route: Route
  /** Place in the order of the whole table; the smallest that matches is taken. */
  readonly ordinal: number
  readonly methods: number
}

const METHOD_BITS: ReadonlyMap<string, number> = new Map(
  HTTP_METHODS.map((method, index) => [method, 1 << index]),
)
const EVERY_METHOD = (1 << HTTP_METHODS.length) - 1

/** The bit of a method; 0 for methods that no route can name. */
export function methodBit(method: string): number {
  return METHOD_BITS.get(method) ?? 0
}

/** An empty list of methods takes every method. */
export function methodBits(methods: readonly Method[]): number {
  return methods.reduce((bits, method) => bits | methodBit(method), 0) || EVERY_METHOD
}

export function methodsOf(bits: number): Method[] {
  return HTTP_METHODS.filter((method) => (bits & methodBit(method)) !== 0)
}

/**
 * Adds a candidate to the list of one path, unless those before it already take all its methods. Must be called in
 * order of ordinals; a list then holds at most one candidate per method, however many routes share the path.
 */
export function addCandidate(list: Candidate[], candidate: Candidate): void {
  const taken = list.reduce((bits, earlier) => bits | earlier.methods, 0)
  if ((candidate.methods & ~taken) !== 0) list.push(candidate)
}

/** The first of a list that takes the method. */
export function firstFor(list: readonly Candidate[] | undefined, bit: number): Candidate | null {
  if (list === undefined) return null
  for (const candidate of list) {
    if ((candidate.methods & bit) !== 0) return candidate
  }
  return null
}
