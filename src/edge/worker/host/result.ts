/** What host functions of the module `edgefn` answer below zero (docs/GUEST-ABI.md), and filling a guest's buffer. */

import type { Host } from './host.ts'

export const RESULTS = {
  /** No header, variable or key of that name. */
  notFound: -1,
  /** An argument out of range, or a call at the wrong time. */
  invalid: -2,
  /** A key, value, name or label over its limit. */
  tooLarge: -3,
  /** The function has used up what it may store. */
  quotaFull: -4,
  /** The node cannot do it now: its disk is full or ill. */
  unavailable: -5,
  /** Others were writing all the time; -6 to -11 are of fetches. */
  busy: -12,
  /** SQLite refuses the statement or what it does; `sql_result` has its words. */
  sqlError: -13,
} as const

/** Copies as much of `value` as fits into the guest's buffer and returns its full length. */
export function fill(host: Host, buffer: number, capacity: number, value: Uint8Array): number {
  host.memory.writeBytes(buffer, value.subarray(0, capacity >>> 0))
  return value.length
}
