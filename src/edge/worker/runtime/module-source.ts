/** Where a thread gets a function's module from: the node's cache, verified, in the form that is to run. */

import { readFileSync } from 'node:fs'

import { EdgefnError, errorMessage } from '../../../errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { WasmModule } from '../../../wasm/module.ts'
import { interpretedForm } from '../../../wasm/rewrite/forms.ts'
import { tableBytesMax } from '../../../wasm/tables.ts'
import type { WorkerFunction } from '../../ipc.ts'
import { poolKey } from '../call.ts'
import { threadCodeBytes } from '../pool/instance.ts'
import type { CompiledCode } from './compiled-code.ts'
import type { Engine } from './engine.ts'

/** Bytes that the engine keeps in a thread for an instruction it interprets, besides the copy in each instance. */
const bytesPerInstruction = 36

export interface LoadedFunction {
  /** Bytes that the code takes on this thread. */
  readonly code_bytes: number
  /** Bytes that the tables of an instance may come to. */
  readonly table_bytes: number
}

/**
 * Loads a function's module under its pool key. A compiled form that cannot be loaded gives way to the interpreter, unless
 * `strict` says that it is being tried. Throws EdgefnError.
 */
export function loadFunction(
  engine: Engine,
  compiledCode: CompiledCode,
  fn: WorkerFunction,
  strict: boolean,
): LoadedFunction {
  const artifact = readVerified(fn)
  const { bytes, module } = interpretedForm(artifact, LIMITS.stackBytesMax)
  requirePages(module, fn.memory_pages)
  const table_bytes = tableBytesMax(module)
  if (fn.compiled !== null) {
    try {
      engine.loadModule(poolKey(fn), compiledCode.open(fn), true)
      return { code_bytes: threadCodeBytes(fn), table_bytes }
    } catch (thrown) {
      if (strict) throw thrown
      compiledCode.degraded(fn, thrown)
    }
  }
  engine.loadModule(poolKey(fn), bytes, false)
  return { code_bytes: module.instructions * bytesPerInstruction, table_bytes }
}

/** The engine gives a module that starts with more memory than its limit the limit, and says nothing. */
function requirePages(module: WasmModule, limit: number): void {
  const pages = module.memories[0]?.min ?? 0
  if (pages <= limit) return
  const message = `Module needs at least ${pages} memory pages, memory_pages is ${limit}.`
  throw new EdgefnError('function_load_failed', message)
}

/** The cached module's bytes; a file that is not what its name promises is never parsed (P4). */
function readVerified(fn: WorkerFunction): Uint8Array<ArrayBuffer> {
  if (fn.path === null) {
    throw new EdgefnError('function_unavailable', 'The module is not in the local cache.')
  }
  let bytes: Uint8Array<ArrayBuffer>
  try {
    bytes = new Uint8Array(readFileSync(fn.path))
  } catch (thrown) {
    const message = `The cached module cannot be read: ${errorMessage(thrown)}.`
    throw new EdgefnError('artifact_mismatch', message, { cause: thrown })
  }
  const digest = new Bun.CryptoHasher('sha256').update(bytes).digest('hex')
  if (digest !== fn.sha256) {
    throw new EdgefnError('artifact_mismatch', 'The cached module does not have its digest.')
  }
  return bytes
}
