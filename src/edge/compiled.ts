/**
 * Compiled modules as agent and workers know them (DESIGN section 5): files that this node's own compiler made, named by what
 * they were made from and for, and signed by the node. Nothing else is ever loaded as native code (RELIABILITY finding 1).
 */

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
  /** `compileTarget` of `compiled-signature.ts`. */
  target: z.string(),
  module: compiledFileSchema,
  /** The compiled holder (`ffi/parked-holder.ts`), without which no compiled code may run. */
  holder: compiledFileSchema,
})
export type CompiledModule = z.infer<typeof compiledModuleSchema>
