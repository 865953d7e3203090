/**
 * Noting what `memory.grow` answered, so that a guest which fails for want of memory can be told from one that is wrong
 * [R6.5]. The engine tells the guest and nobody else that its limit is reached.
 */

import { unsignedBytes } from '../encode.ts'
import { EXPORT_KIND, type Appendix } from './appendix.ts'

/** Export of a rewritten module: `() -> i32`, the last answer; -1 when there was no more memory. Guests may not use the name. */
export const GROWTH_EXPORT = 'edgefn:growth'

const I32 = 0x7f
const CODE = { end: 0x0b, globalGet: 0x23, globalSet: 0x24, i32Const: 0x41 } as const

/** One more global for the last answer, and one more function that tells it. */
export class GrowthNote {
  /** Stands behind every `memory.grow`; its answer stays on the stack. */
  readonly note: Uint8Array

  constructor(appendix: Appendix) {
    const initial = Uint8Array.of(I32, 1, CODE.i32Const, 0, CODE.end)
    const global = unsignedBytes(appendix.global(initial))
    this.note = Uint8Array.of(CODE.globalSet, ...global, CODE.globalGet, ...global)
    const getter = Uint8Array.of(0, CODE.globalGet, ...global, CODE.end)
    const type = appendix.type(new Uint8Array(0), Uint8Array.of(I32))
    appendix.export(GROWTH_EXPORT, EXPORT_KIND.function, appendix.function(type, getter))
  }
}
