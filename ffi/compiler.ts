/** libwasmedge's ahead-of-time compiler. Runs in a process of its own: it may crash, and takes as much memory as it likes. */

import { ptr } from 'bun:ffi'

import { createConfig } from './config.ts'
import { handle, NativeError, RESULT } from './handles.ts'
import type { Wasmedge } from './library.ts'

/** Numbers of `WasmEdge_CompilerOptimizationLevel` that are used. */
export const OPTIMIZATION = { O0: 0, O2: 2 } as const
export type OptimizationLevel = keyof typeof OPTIMIZATION

/** `WasmEdge_CompilerOutputFormat_Wasm`: a module with native code in a custom section. */
const OUTPUT_WASM = 1

export interface CompileSettings {
  readonly level: OptimizationLevel
  /** Whether the code looks at the stop token by itself, which costs several times the run time (DESIGN section 3). */
  readonly interruptible: boolean
}

/** Compiles a module into the file `path`. Throws NativeError when the compiler refuses; may not return at all. */
export function compileModule(
  lib: Wasmedge,
  bytes: Uint8Array<ArrayBuffer>,
  path: string,
  { level, interruptible }: CompileSettings,
): void {
  const config = createConfig(lib, { memoryPages: 1, compiled: true })
  lib.WasmEdge_ConfigureCompilerSetOptimizationLevel(config, OPTIMIZATION[level])
  lib.WasmEdge_ConfigureCompilerSetOutputFormat(config, OUTPUT_WASM)
  lib.WasmEdge_ConfigureCompilerSetInterruptible(config, interruptible)
  const compiler = handle(lib.WasmEdge_CompilerCreate(config), 'Compiler')
  const target = new TextEncoder().encode(`${path}\0`)
  const code = lib.WasmEdge_CompilerCompileFromBuffer(
    compiler,
    ptr(bytes),
    bytes.byteLength,
    ptr(target),
  )
  lib.WasmEdge_CompilerDelete(compiler)
  lib.WasmEdge_ConfigureDelete(config)
  if (code !== RESULT.success) {
    throw new NativeError(code, String(lib.WasmEdge_ResultGetMessage(code)))
  }
}
