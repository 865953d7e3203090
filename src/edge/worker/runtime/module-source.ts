/** Where a thread gets a function's module from: the node's cache, verified, in the form that is to run. */

import { readFileSync } from 'node:fs'

import { EdgefnError, errorMessage } from '../../../errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import { decodeDeclarations, decodeModule } from '../../../wasm/decode.ts'
import type { WasmModule } from '../../../wasm/module.ts'
import { interpretedForm } from '../../../wasm/rewrite/forms.ts'
import { tableBytesMax } from '../../../wasm/tables.ts'
import type { WorkerFunction } from '../../ipc.ts'
import { codeKey } from '../call.ts'
import { threadCodeBytes } from '../pool/instance.ts'
import type { CompiledCode } from './compiled-code.ts'
import type { Engine } from './engine.ts'
import { mayRunInline } from './inline-imports.ts'

/** Bytes that the engine keeps in a thread for an instruction it interprets, besides the copy in each instance. */
const bytesPerInstruction = 36

export interface LoadedFunction {
  /** Bytes that the code takes on this thread. */
  readonly code_bytes: number
  /** Bytes that the tables of an instance may come to. */
  readonly table_bytes: number
  /** Whether it may run in the inline lane (`inline-imports.ts`). */
  readonly may_inline: boolean
}

/** What the first thread that loads a module has made of it, so that the others need not: verifying and rewriting take time. */
export interface SharedForm extends LoadedFunction {
  /** What the engine is given; null where it is not kept (`lanes/form-cache.ts`), and must be had from the files again. */
  readonly code: SharedArrayBuffer | null
  /** Whether it is native code, which was verified, and not for the interpreter. */
  readonly compiled: boolean
}

export interface LoadSettings {
  /** Fail, instead of giving way to the interpreter, when the compiled form cannot be loaded: it is being tried. */
  readonly strict: boolean
  /** Null when no other thread has loaded the module. */
  readonly form: SharedForm | null
}

/**
 * Loads a function's module under its code key, and returns what other threads can make use of: `form` itself where nothing
 * is new. Throws EdgefnError.
 */
export function loadFunction(
  engine: Engine,
  compiledCode: CompiledCode,
  fn: WorkerFunction,
  { strict, form }: LoadSettings,
): SharedForm {
  if (form !== null && form.code !== null && (!form.compiled || fn.compiled !== null)) {
    const bytes = new Uint8Array(form.code)
    if (form.compiled) compiledCode.makeReady(fn)
    engine.loadModule(codeKey(fn), bytes, form.compiled, decodeDeclarations(bytes).imports)
    return form
  }
  if (fn.compiled !== null) {
    try {
      return loadCompiled(engine, compiledCode, fn)
    } catch (thrown) {
      if (strict) throw thrown
      compiledCode.degraded(fn, thrown)
    }
  }
  return loadInterpreted(engine, fn)
}

function loadCompiled(engine: Engine, compiledCode: CompiledCode, fn: WorkerFunction): SharedForm {
  const code = compiledCode.open(fn)
  const bytes = new Uint8Array(code)
  const declared = decodeDeclarations(bytes)
  requirePages(declared, fn.memory_pages)
  // Whether a table grows is told by the instructions of the artifact, which most need not be asked for.
  const fixed = declared.tables.every(({ min, max }) => min === max)
  const table_bytes = tableBytesMax(fixed ? declared : decodeModule(readVerified(fn)))
  engine.loadModule(codeKey(fn), bytes, true, declared.imports)
  const may_inline = mayRunInline(declared)
  return { code, compiled: true, code_bytes: threadCodeBytes(fn), table_bytes, may_inline }
}

function loadInterpreted(engine: Engine, fn: WorkerFunction): SharedForm {
  const { bytes, module } = interpretedForm(readVerified(fn), LIMITS.stackBytesMax)
  requirePages(module, fn.memory_pages)
  engine.loadModule(codeKey(fn), bytes, false, module.imports)
  const code = new SharedArrayBuffer(bytes.byteLength)
  new Uint8Array(code).set(bytes)
  const code_bytes = module.instructions * bytesPerInstruction
  const table_bytes = tableBytesMax(module)
  // Only compiled code can be stopped within microseconds.
  return { code, compiled: false, code_bytes, table_bytes, may_inline: false }
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
