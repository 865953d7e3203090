/**
 * Compiled modules as agent and workers know them (DESIGN section 5): files that this node's own compiler made, named by what
 * they were made from and for, and signed by the node. Nothing else is ever loaded as native code (RELIABILITY finding 1).
 */

import { sign, verify } from 'node:crypto'
import type { KeyObject } from 'node:crypto'

import { z } from 'zod'

import { sha256Schema } from '../protocol/ids.ts'

/** Levels of the compiler that are used, in the order in which a module gets them: soon, then fast. */
export const COMPILE_LEVELS = ['O0', 'O2'] as const
export const compileLevelSchema = z.enum(COMPILE_LEVELS)
export type CompileLevel = z.infer<typeof compileLevelSchema>

/**
 * How compiled guests are stopped: at polls (the normal way), or by looking at the stop token themselves, which is slow
 * and only for a machine where polls do not work (DESIGN section 3).
 */
export const stopModeSchema = z.enum(['polls', 'interruptible'])
export type StopMode = z.infer<typeof stopModeSchema>

/** Changes whenever the rewriting (`src/wasm/rewrite/`) or the checks after compiling do; older files are compiled again. */
export const REWRITER_VERSION = 3

/** A file and what vouches for it. */
export const compiledFileSchema = z.strictObject({
  path: z.string(),
  sha256: sha256Schema,
  size_bytes: z.int().min(8),
  /** Ed25519 by the node over `compiledStatement`, base64. */
  signature: z.string(),
})
export type CompiledFile = z.infer<typeof compiledFileSchema>

/** What a worker needs to run a function compiled. */
export const compiledModuleSchema = z.strictObject({
  level: compileLevelSchema,
  /** `compileTarget`. */
  target: z.string(),
  module: compiledFileSchema,
  /** The compiled holder (`ffi/parked-holder.ts`), without which no compiled code may run. */
  holder: compiledFileSchema,
})
export type CompiledModule = z.infer<typeof compiledModuleSchema>

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
