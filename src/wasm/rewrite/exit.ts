/** One way out for a function that has something to do before it returns, whatever way its code takes. */

import { signedBytes, unsignedBytes } from '../encode.ts'
import type { FunctionType } from '../module.ts'
import { OPCODE } from '../opcodes.ts'
import type { Appendix } from './appendix.ts'

const EMPTY_BLOCK = 0x40
const NOTHING = new Uint8Array(0)

/**
 * Opens a block around all instructions of a function; the `end` that they have closes it. A branch to the function's own
 * label, as it was counted before, reaches that block instead.
 */
export function openExit(appendix: Appendix, { results }: FunctionType): Uint8Array {
  return Uint8Array.of(OPCODE.block, ...blockType(appendix, results))
}

/** Stands in place of a `return`, so many blocks of the function's own deep. */
export function branchToExit(depth: number): Uint8Array {
  return Uint8Array.of(OPCODE.branch, ...unsignedBytes(depth))
}

/** Stands behind the block: what is to be done, and the end of the function. */
export function closeExit(last: Uint8Array): Uint8Array {
  return Uint8Array.of(...last, OPCODE.end)
}

function blockType(appendix: Appendix, results: Uint8Array): Uint8Array {
  const [only, second] = results
  if (only === undefined) return Uint8Array.of(EMPTY_BLOCK)
  if (second === undefined) return Uint8Array.of(only)
  return signedBytes(appendix.type(NOTHING, results))
}
