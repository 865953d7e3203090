/** From an artifact, as ingest stores it, to what the interpreter and the compiler get. */

import { decodeModule } from '../decode.ts'
import type { WasmModule } from '../module.ts'
import { withResultMemory } from './result-memory.ts'
import type { CompiledModule, CompilerSettings } from './safeguard.ts'
import { safeguardForCompiler, safeguardModule } from './safeguard.ts'

export interface InterpretedForm {
  readonly bytes: Uint8Array<ArrayBuffer>
  /** What the bytes were made of, for what has to be known of it. */
  readonly module: WasmModule
}

/** What the interpreter runs. `stackBytes` as for `safeguardModule`. */
export function interpretedForm(
  artifact: Uint8Array<ArrayBuffer>,
  stackBytes: number,
): InterpretedForm {
  const { bytes, module } = withImportsServed(artifact)
  return { bytes: safeguardModule(module, stackBytes) ?? bytes, module }
}

/** What the compiler gets, and what it was made of. */
export function compilerForm(
  artifact: Uint8Array<ArrayBuffer>,
  settings: CompilerSettings,
): CompiledModule & { readonly module: WasmModule } {
  const { module } = withImportsServed(artifact)
  return { ...safeguardForCompiler(module, settings), module }
}

function withImportsServed(artifact: Uint8Array<ArrayBuffer>): InterpretedForm {
  const module = decodeModule(artifact)
  const wrapped = withResultMemory(module)
  return wrapped === null
    ? { bytes: artifact, module }
    : { bytes: wrapped, module: decodeModule(wrapped) }
}
