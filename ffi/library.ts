/** libwasmedge's C API as bun:ffi sees it: one symbol table, opened on demand, its version checked. */

import { dlopen, FFIType } from 'bun:ffi'
import type { Pointer } from 'bun:ffi'
import { existsSync } from 'node:fs'

const { ptr, u32, u64, void: none, bool, i32, cstring } = FFIType

/**
 * A struct passed by value becomes the registers it travels in: WasmEdge_String {u32, ptr} is (u64, ptr), WasmEdge_ValType
 * (8 bytes) is u64, WasmEdge_Result {u32} is u32. Lengths and offsets are u64 because 0.17 widened some of them.
 */
const SYMBOLS = {
  WasmEdge_VersionGet: { args: [], returns: cstring },
  WasmEdge_VersionGetMajor: { args: [], returns: u32 },
  WasmEdge_VersionGetMinor: { args: [], returns: u32 },
  WasmEdge_LogOff: { args: [], returns: none },
  WasmEdge_ResultGetMessage: { args: [u32], returns: cstring },

  WasmEdge_ValTypeGenI32: { args: [], returns: u64 },
  WasmEdge_ValTypeGenI64: { args: [], returns: u64 },
  WasmEdge_ValTypeGenF32: { args: [], returns: u64 },
  WasmEdge_ValTypeGenF64: { args: [], returns: u64 },

  WasmEdge_ConfigureCreate: { args: [], returns: ptr },
  WasmEdge_ConfigureAddProposal: { args: [ptr, i32], returns: none },
  WasmEdge_ConfigureRemoveProposal: { args: [ptr, i32], returns: none },
  WasmEdge_ConfigureSetMaxMemoryPage: { args: [ptr, u64], returns: none },
  WasmEdge_ConfigureSetForceInterpreter: { args: [ptr, bool], returns: none },
  WasmEdge_ConfigureCompilerSetOptimizationLevel: { args: [ptr, i32], returns: none },
  WasmEdge_ConfigureCompilerSetOutputFormat: { args: [ptr, i32], returns: none },
  WasmEdge_ConfigureCompilerSetInterruptible: { args: [ptr, bool], returns: none },
  WasmEdge_ConfigureDelete: { args: [ptr], returns: none },

  WasmEdge_CompilerCreate: { args: [ptr], returns: ptr },
  WasmEdge_CompilerCompileFromBuffer: { args: [ptr, ptr, u64, ptr], returns: u32 },
  WasmEdge_CompilerDelete: { args: [ptr], returns: none },

  WasmEdge_LoaderCreate: { args: [ptr], returns: ptr },
  WasmEdge_LoaderParseFromBuffer: { args: [ptr, ptr, ptr, u32], returns: u32 },
  WasmEdge_LoaderDelete: { args: [ptr], returns: none },
  WasmEdge_ValidatorCreate: { args: [ptr], returns: ptr },
  WasmEdge_ValidatorValidate: { args: [ptr, ptr], returns: u32 },
  WasmEdge_ValidatorDelete: { args: [ptr], returns: none },
  WasmEdge_ASTModuleDelete: { args: [ptr], returns: none },

  WasmEdge_StoreCreate: { args: [], returns: ptr },
  WasmEdge_StoreDelete: { args: [ptr], returns: none },
  WasmEdge_ExecutorCreate: { args: [ptr, ptr], returns: ptr },
  WasmEdge_ExecutorInstantiate: { args: [ptr, ptr, ptr, ptr], returns: u32 },
  WasmEdge_ExecutorRegisterImport: { args: [ptr, ptr, ptr], returns: u32 },
  WasmEdge_ExecutorInvoke: { args: [ptr, ptr, ptr, u32, ptr, u32], returns: u32 },
  WasmEdge_ExecutorAsyncInvoke: { args: [ptr, ptr, ptr, u32], returns: ptr },
  WasmEdge_ExecutorDelete: { args: [ptr], returns: none },
  WasmEdge_AsyncWait: { args: [ptr], returns: none },
  WasmEdge_AsyncCancel: { args: [ptr], returns: none },
  WasmEdge_AsyncDelete: { args: [ptr], returns: none },

  WasmEdge_ModuleInstanceCreate: { args: [u64, ptr], returns: ptr },
  WasmEdge_ModuleInstanceAddFunction: { args: [ptr, u64, ptr, ptr], returns: none },
  WasmEdge_ModuleInstanceFindFunction: { args: [ptr, u64, ptr], returns: ptr },
  WasmEdge_ModuleInstanceFindMemory: { args: [ptr, u64, ptr], returns: ptr },
  WasmEdge_ModuleInstanceDelete: { args: [ptr], returns: none },
  WasmEdge_FunctionTypeCreate: { args: [ptr, u32, ptr, u32], returns: ptr },
  WasmEdge_FunctionTypeDelete: { args: [ptr], returns: none },
  WasmEdge_FunctionInstanceCreate: { args: [ptr, ptr, ptr, u64], returns: ptr },

  WasmEdge_MemoryInstanceGetPageSize: { args: [ptr], returns: u32 },
  WasmEdge_MemoryInstanceGetPointer: { args: [ptr, u64, u64], returns: ptr },
  WasmEdge_CallingFrameGetMemoryInstance: { args: [ptr, u32], returns: ptr },
} as const

/** What only newer versions have: 0.17 ignores compiled code unless a run mode asks for it. */
const RUN_MODE_SYMBOLS = {
  WasmEdge_ConfigureSetRunMode: { args: [ptr, i32], returns: none },
} as const

export type Wasmedge = ReturnType<typeof dlopen<typeof SYMBOLS>>['symbols'] & {
  /** Null in a library that has no run modes. */
  readonly setRunMode: ((config: Pointer, mode: number) => void) | null
}

/** Names the dynamic linker is asked for, newest convention first. */
const LIBRARY_NAMES = [
  'libwasmedge.so.0',
  'libwasmedge.so',
  'libwasmedge.0.dylib',
  'libwasmedge.dylib',
]

/** The C API that `SYMBOLS` describes came with 0.14; 0.18 has not been seen. */
const minorMin = 14
const minorMax = 17

export class LibraryMissing extends Error {
  override readonly name = 'LibraryMissing'
}

/**
 * Opens libwasmedge in this thread and silences its log, which would print every trap to stdout. Costs 10 ms the first
 * time in a process (it pulls in LLVM). Throws LibraryMissing when it is absent or not a version from 0.14 to 0.17.
 */
export function openWasmedge(): Wasmedge {
  const symbols = openFirst()
  const minor = symbols.WasmEdge_VersionGetMinor()
  if (symbols.WasmEdge_VersionGetMajor() !== 0 || minor < minorMin || minor > minorMax) {
    const version = String(symbols.WasmEdge_VersionGet())
    throw new LibraryMissing(
      `libwasmedge ${version} is not supported; edgefn needs 0.${minorMin} to 0.${minorMax}.`,
    )
  }
  symbols.WasmEdge_LogOff()
  return symbols
}

/**
 * By name, so that the dynamic linker looks where this system keeps its libraries. When it finds none, Bun takes a file of
 * that name from the working directory; code from there is never run.
 */
function openFirst(): Wasmedge {
  const failures: string[] = []
  for (const name of LIBRARY_NAMES) {
    if (existsSync(name)) {
      failures.push(`${name} in the working directory is not loaded; start elsewhere`)
      continue
    }
    try {
      return { ...dlopen(name, SYMBOLS).symbols, setRunMode: runModeOf(name) }
    } catch (thrown) {
      failures.push(thrown instanceof Error ? thrown.message : String(thrown))
    }
  }
  throw new LibraryMissing(`libwasmedge could not be opened (${failures[0] ?? 'no name tried'}).`)
}

function runModeOf(name: string): Wasmedge['setRunMode'] {
  try {
    const { WasmEdge_ConfigureSetRunMode: set } = dlopen(name, RUN_MODE_SYMBOLS).symbols
    return (config, mode) => void set(config, mode)
  } catch {
    return null
  }
}
