/** Rewriting and compiling one module, until the compiled code is known to keep within its stack. */

import { readFileSync, writeFileSync } from 'node:fs'

import type { OptimizationLevel } from '../../../ffi/compiler.ts'
import { compileModule } from '../../../ffi/compiler.ts'
import type { Wasmedge } from '../../../ffi/library.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { compilerForm } from '../../wasm/rewrite/forms.ts'
import { callBytesMax } from '../../wasm/rewrite/stack-plan.ts'
import type { StopMode } from '../compiled.ts'
import { measureFrames } from './frames.ts'

/** Compilations of one module at most. */
const roundsMax = 4
/** What a frame that was larger than reckoned is taken for in the next round, as a multiple of what was measured. */
const frameMargin = 1.25
/** Stack that code between the guest's functions and the engine may take for one call. */
const connectingBytesMax = 64 * 1024

export interface CompileRequest {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly level: OptimizationLevel
  readonly stopMode: StopMode
  readonly output: string
}

/**
 * Compiles a normalised module into `output` and returns how many rounds it took. Throws what the compiler says, or that the
 * frames of the code could not be brought within bounds.
 */
export function compileGuest(lib: Wasmedge, request: CompileRequest): number {
  const { bytes, level, stopMode, output } = request
  let measured: Float64Array | null = null
  for (let round = 1; round <= roundsMax; round += 1) {
    const rewritten = compilerForm(bytes, {
      stackBytes: LIMITS.stackBytesMax,
      measured,
      polls: stopMode === 'polls',
    })
    compileModule(lib, rewritten.bytes, output, {
      level,
      interruptible: stopMode === 'interruptible',
    })
    const over = framesOver(rewritten, new Uint8Array(readFileSync(output)))
    if (over === null) return round
    measured = largest(measured, over)
  }
  throw new Error(
    `The frames of the code are still larger than reckoned after ${roundsMax} rounds.`,
  )
}

/** What to reckon with for each body in the next round; null when all frames are within what was reckoned. */
function framesOver(
  rewritten: ReturnType<typeof compilerForm>,
  compiled: Uint8Array,
): Float64Array | null {
  const bodies = rewritten.module.bodies.length
  const measured = measureFrames(compiled, rewritten.indirect, callBytesMax(rewritten.module))
  const { functions, otherBytesMax } = measured
  if (otherBytesMax > connectingBytesMax) {
    throw new Error(`Code between functions takes ${otherBytesMax} bytes of stack.`)
  }
  const next = new Float64Array(bodies)
  let over = false
  for (const [index, bytes] of functions.entries()) {
    if (bytes <= (rewritten.frames[index] ?? 0)) continue
    if (index >= bodies) throw new Error(`A function that was added takes ${bytes} bytes of stack.`)
    next[index] = Math.ceil(bytes * frameMargin)
    over = true
  }
  return over ? next : null
}

function largest(before: Float64Array | null, now: Float64Array): Float64Array {
  return before === null ? now : now.map((bytes, index) => Math.max(bytes, before[index] ?? 0))
}

/** Reads an artifact and makes sure that it is the one meant. */
export function readArtifact(path: string, sha256: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(readFileSync(path))
  const digest = new Bun.CryptoHasher('sha256').update(bytes).digest('hex')
  if (digest !== sha256) throw new Error('The artifact does not have its digest.')
  return bytes
}

/** Writes the answer where the agent reads it, after whatever the compiler may have printed. */
export function printAnswer(answer: unknown): void {
  writeFileSync(1, `\n${JSON.stringify(answer)}\n`)
}
