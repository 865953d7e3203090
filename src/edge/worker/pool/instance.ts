/** An instance in a pool, and what it is taken to cost its worker. */

import { LIMITS, PAGE_BYTES } from '../../../protocol/limits.ts'
import type { WorkerFunction } from '../../ipc.ts'

export interface Instance {
  readonly id: number
  readonly thread: number
  /** Bytes of its linear memory, and of what it has besides. */
  bytes: number
  /** Where its linear memory is, and the bytes of that alone; 0 until its first call has ended. */
  memoryAt: number
  memoryBytes: number
  /** What it counts for in the pools' budget (`instanceCost`), less what it has not touched of its memory if that was looked at. */
  cost: number
  /** Bytes of its memory that it had not touched when it was looked at; 0 once it has run again. */
  untouched: number
  /** Whether it waits to be looked at. */
  unseen: boolean
  /** Monotonic milliseconds of its last use. */
  usedMs: number
}

/** What is known of an instance's size, in bytes. */
export interface InstanceSizes {
  /** Of its own copy of the code (`instanceCodeBytes`). */
  readonly code: number
  readonly memory: number
  readonly tables: number
}

/**
 * Bytes that an instance is taken to cost as long as nobody has looked what it has touched of its linear memory: all of that, its tables,
 * its copy of the interpreted code, and what the engine keeps for it besides.
 */
export function instanceCost({ code, memory, tables }: InstanceSizes): number {
  return LIMITS.instanceBytesFixed + code + memory + tables
}

type Form = Pick<WorkerFunction, 'size_bytes' | 'compiled'>

/** Bytes of code that each instance of a function has for itself: the interpreter copies it, compiled code is shared. */
export function instanceCodeBytes({ size_bytes, compiled }: Form): number {
  return compiled === null ? size_bytes * LIMITS.instanceCodeBytesPerModuleByte : 0
}

/** Bytes that the code of a function takes on each thread that holds it. */
export function threadCodeBytes({ size_bytes, compiled }: Form): number {
  if (compiled === null) return size_bytes * LIMITS.codeBytesPerModuleByte
  return compiled.module.size_bytes * LIMITS.codeBytesPerCompiledByte
}

/** How many threads the memory that its code takes lets a function be loaded in. */
export function holdersMax(fn: Form): number {
  const perThread = threadCodeBytes(fn)
  return Math.max(Math.floor(LIMITS.functionCodeBytesMax / perThread), 1)
}

/** No instruction is shorter than a byte; 36 bytes are measured for one in the thread and 30 in the instance. */
const loadingBytesPerModuleByte = 66

/** Bytes that loading a function on one more thread and making an instance may take, before it is known. */
export function loadingBytesMax(fn: Form): number {
  return fn.compiled === null ? fn.size_bytes * loadingBytesPerModuleByte : threadCodeBytes(fn)
}

/** Bytes that a thread takes by itself; 5 MiB were measured of one that has just been started, 6.7 of one that has run guests. */
export const threadBytes = 7 * 2 ** 20

/** Bytes that a call may take besides code: its thread and a linear memory as large as it may become. */
export function runningBytesMax({ memory_pages }: Pick<WorkerFunction, 'memory_pages'>): number {
  return threadBytes + memory_pages * PAGE_BYTES
}
