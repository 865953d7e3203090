/** How compiled modules (`compiled.ts`) are named and signed. Apart from their schemas, which the threads that run guests do without. */

import { sign, verify } from 'node:crypto'
import type { KeyObject } from 'node:crypto'

import type { CompiledFile, StopMode } from './compiled.ts'

/** Changes whenever the rewriting (`src/wasm/rewrite/`) or the checks after compiling do; older files are compiled again. */
export const REWRITER_VERSION = 5

/** What native code depends on besides the module: engine, processor, our rewriting. */
export function compileTarget(engine: string, processor: string, stopMode: StopMode): string {
  return `${engine}/${processor}/rewriter-${REWRITER_VERSION}/${stopMode}`
}

/** What a compiled file is made from and for. */
export interface CompiledName {
  /** Digest of the artifact; of the holder its own word. */
  readonly source: string
  readonly level: string
  readonly target: string
}

/** Whether compiled code was made by this rewriting, whose polls and trampolines are the ones that this program expects. */
export function isOwnTarget(target: string): boolean {
  return target.split('/').includes(`rewriter-${REWRITER_VERSION}`)
}

/** How the compiled holder (`ffi/parked-holder.ts`) is signed and kept. */
export function holderName(target: string): CompiledName {
  return { source: 'holder', level: 'O0', target }
}

/** The bytes that the node signs: which file, made from what. */
function compiledStatement({ source, level, target }: CompiledName, sha256: string): Buffer {
  return Buffer.from(`edgefn-compiled-v1\n${source}\n${level}\n${target}\n${sha256}`)
}

/** Signs a compiled file by its digest; base64. */
export function signCompiled(key: KeyObject, name: CompiledName, sha256: string): string {
  return sign(null, compiledStatement(name, sha256), key).toString('base64')
}

/** Whether bytes are the compiled file that the node signed under this name. */
export function verifyCompiled(
  key: KeyObject,
  bytes: Uint8Array,
  file: CompiledFile,
  name: CompiledName,
): boolean {
  const sha256 = new Bun.CryptoHasher('sha256').update(bytes).digest('hex')
  if (sha256 !== file.sha256) return false
  return verify(null, compiledStatement(name, sha256), key, Buffer.from(file.signature, 'base64'))
}
