/**
 * Counting of stack depth in functions that can recurse, so that runaway recursion ends in a trap before it takes the
 * host's memory or stack (DESIGN section 4). The engine itself checks neither.
 */

import { signedBytes, unsignedBytes } from '../encode.ts'
import type { FunctionType } from '../module.ts'
import { EXPORT_KIND, type Appendix } from './appendix.ts'

/** Export of a rewritten module: `() -> i32`, the stack bytes left; -1 once the stack has overflowed. Guests may not use the name. */
export const DEPTH_EXPORT = 'edgefn:depth'

const I32 = 0x7f
const EMPTY_BLOCK = 0x40
const CODE = {
  unreachable: 0x00,
  block: 0x02,
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

/**
 * What a module gets when depth is counted in it. A call takes the bytes of its frame; one for which none are left sets
 * the counter to -1 and traps as unreachable. The counter is one more global, and one more function tells it.
 */
export class DepthCounter {
  readonly #appendix: Appendix
  readonly #global: Uint8Array

  constructor(appendix: Appendix, stackBytes: number) {
    this.#appendix = appendix
    const initial = Uint8Array.of(I32, 1, CODE.i32Const, ...signedBytes(stackBytes), CODE.end)
    this.#global = unsignedBytes(appendix.global(initial))
    const getter = Uint8Array.of(0, CODE.globalGet, ...this.#global, CODE.end)
    const type = appendix.type(new Uint8Array(0), Uint8Array.of(I32))
    appendix.export(DEPTH_EXPORT, EXPORT_KIND.function, appendix.function(type, getter))
  }

  /**
   * Stands before the instructions of a function: takes its bytes and opens the block from which they return. A branch to
   * the function's own label, as it was counted before, reaches that block instead. `saved` is a local that nobody else uses:
   * it keeps what was left before.
   */
  prologue(type: FunctionType, frameBytes: number, saved: number): Uint8Array {
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
      ...signedBytes(-1),
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
      CODE.block,
      ...this.#blockType(type),
    )
  }

  /**
   * Stands behind them: gives the bytes back. `stopPoint` is for what deep recursion does on its way back, which may be a
   * lot and need no branch.
   */
  epilogue(saved: number, stopPoint: Uint8Array): Uint8Array {
    return Uint8Array.of(
      CODE.localGet,
      ...unsignedBytes(saved),
      CODE.globalSet,
      ...this.#global,
      ...stopPoint,
      CODE.end,
    )
  }

  #blockType(type: FunctionType): Uint8Array {
    const [only, second] = type.results
    if (only === undefined) return Uint8Array.of(EMPTY_BLOCK)
    if (second === undefined) return Uint8Array.of(only)
    return signedBytes(this.#appendix.type(new Uint8Array(0), type.results))
  }
}
