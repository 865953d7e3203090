/**
 * Counting of stack depth in functions that can recurse, so that runaway recursion ends in a trap before it takes the
 * host's memory or stack (DESIGN section 4). The engine itself checks neither. This is the interpreter's way; compiled code
 * counts the same figures otherwise (`budget.ts`).
 */

import { signedBytes, unsignedBytes } from '../encode.ts'
import { EXPORT_KIND, type Appendix } from './appendix.ts'

/**
 * Export of a rewritten module: `() -> i32`, the stack bytes left between calls; `OVERFLOWN` once the stack has overflowed.
 * Guests may not use the name.
 */
export const DEPTH_EXPORT = 'edgefn:depth'

/** What the export answers once the stack has overflowed. */
export const OVERFLOWN = -1

const I32 = 0x7f
const EMPTY_BLOCK = 0x40
const CODE = {
  unreachable: 0x00,
  if: 0x04,
  end: 0x0b,
  localGet: 0x20,
  localTee: 0x22,
  globalGet: 0x23,
  globalSet: 0x24,
  i32Const: 0x41,
  i32LessUnsigned: 0x49,
  i32Subtract: 0x6b,
} as const

/** Adds the global that the export tells. Returns its index. */
export function addDepthExport(appendix: Appendix, stackBytes: number): number {
  const initial = Uint8Array.of(I32, 1, CODE.i32Const, ...signedBytes(stackBytes), CODE.end)
  const index = appendix.global(initial)
  const getter = Uint8Array.of(0, CODE.globalGet, ...unsignedBytes(index), CODE.end)
  const type = appendix.type(new Uint8Array(0), Uint8Array.of(I32))
  appendix.export(DEPTH_EXPORT, EXPORT_KIND.function, appendix.function(type, getter))
  return index
}

/**
 * What a module gets when depth is counted in it. A call takes the bytes of its frame; one for which none are left sets
 * the counter to `OVERFLOWN` and traps as unreachable. The counter is one more global, and one more function tells it.
 */
export class DepthCounter {
  readonly #global: Uint8Array

  constructor(appendix: Appendix, stackBytes: number) {
    this.#global = unsignedBytes(addDepthExport(appendix, stackBytes))
  }

  /**
   * Stands before the instructions of a function: takes its bytes. `saved` is a local that nobody else uses: it keeps what was
   * left before.
   */
  prologue(frameBytes: number, saved: number): Uint8Array {
    const local = unsignedBytes(saved)
    const frame = [CODE.i32Const, ...signedBytes(frameBytes)]
    return Uint8Array.of(
      CODE.globalGet,
      ...this.#global,
      CODE.localTee,
      ...local,
      ...frame,
      CODE.i32LessUnsigned,
      CODE.if,
      EMPTY_BLOCK,
      CODE.i32Const,
      ...signedBytes(OVERFLOWN),
      CODE.globalSet,
      ...this.#global,
      CODE.unreachable,
      CODE.end,
      CODE.localGet,
      ...local,
      ...frame,
      CODE.i32Subtract,
      CODE.globalSet,
      ...this.#global,
    )
  }

  /** Stands where the function returns (`exit.ts`): gives the bytes back. */
  epilogue(saved: number): Uint8Array {
    return Uint8Array.of(CODE.localGet, ...unsignedBytes(saved), CODE.globalSet, ...this.#global)
  }
}
