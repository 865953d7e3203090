/** libwasmedge's configuration objects: which proposals are on, how much memory, interpreter or compiled code. */

import type { Pointer } from 'bun:ffi'

import { handle } from './handles.ts'
import type { Wasmedge } from './library.ts'

/**
 * Numbers of `WasmEdge_Proposal` that are on: mutable globals, saturating conversions, sign extension, multiple values, bulk
 * memory, reference types, SIMD. What a version of the library has on by default says nothing.
 */
const PROPOSALS_ON = [0, 1, 2, 3, 4, 5, 6]
/**
 * The others, all off: tail calls, extended const, function references, GC, multiple memories, threads, relaxed SIMD,
 * annotations, memory64, exceptions, components. RELIABILITY: several of them have known memory-safety bugs.
 */
const PROPOSALS_OFF = [7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17]

/** Numbers of `WasmEdge_RunMode`. */
const RUN_MODE = { interpreter: 0, compiled: 2 } as const

export interface ConfigSettings {
  readonly memoryPages: number
  /** Whether native code in a module may run; only for what our own compiler made. */
  readonly compiled: boolean
}

/** The caller deletes it. */
export function createConfig(lib: Wasmedge, { memoryPages, compiled }: ConfigSettings): Pointer {
  const config = handle(lib.WasmEdge_ConfigureCreate(), 'Configure')
  for (const proposal of PROPOSALS_ON) lib.WasmEdge_ConfigureAddProposal(config, proposal)
  for (const proposal of PROPOSALS_OFF) lib.WasmEdge_ConfigureRemoveProposal(config, proposal)
  lib.WasmEdge_ConfigureSetMaxMemoryPage(config, memoryPages)
  lib.WasmEdge_ConfigureSetForceInterpreter(config, !compiled)
  lib.setRunMode?.(config, compiled ? RUN_MODE.compiled : RUN_MODE.interpreter)
  return config
}
