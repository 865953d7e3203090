/** An instance in a pool, and what it is taken to cost its worker. */

import { LIMITS } from '../../../protocol/limits.ts'

export interface Instance {
  readonly id: number
  readonly thread: number
  /** Bytes of its linear memory. */
  bytes: number
  /** What it counts for in the pools' budget (`instanceCost`). */
  cost: number
  /** Monotonic milliseconds of its last use. */
  usedMs: number
}

/** What is known of an instance's size, in bytes. */
export interface InstanceSizes {
  /** Of the whole module as stored. */
  readonly module: number
  readonly memory: number
  readonly tables: number
}

/**
 * Bytes that an instance is taken to cost: its linear memory in full, because a guest may touch all of it, its tables, its
 * copy of the interpreted code, and what the engine keeps for it besides.
 */
export function instanceCost({ module, memory, tables }: InstanceSizes): number {
  const code = module * LIMITS.instanceCodeBytesPerModuleByte
  return LIMITS.instanceBytesFixed + code + memory + tables
}
