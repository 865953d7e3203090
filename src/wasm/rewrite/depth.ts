/**
 * Counting of stack depth in functions that can recurse, so that runaway recursion ends in a trap before it takes the
 * host's memory or stack (DESIGN section 4). The engine itself checks neither.
 */

import { Writer } from '../encode.ts'
import type { FunctionType, WasmModule } from '../module.ts'
import type { SectionChange } from './sections.ts'
import { STOP_POINT } from './stop-points.ts'

/** Export of a rewritten module: `() -> i32`, the cells left; -1 once the stack has overflowed. Guests may not use the name. */
export const DEPTH_EXPORT = 'edgefn:depth'

/** Cells that every call costs besides its own values: the engine's frame, and what it keeps beside it. */
const frameCells = 16

const I32 = 0x7f
const EMPTY_BLOCK = 0x40
const CODE = {
  unreachable: 0x00,
  block: 0x02,
  if: 0x04,
  end: 0x0b,
  globalGet: 0x23,
  globalSet: 0x24,
  i32Const: 0x41,
  i32LessUnsigned: 0x49,
  i32Add: 0x6a,
  i32Subtract: 0x6b,
} as const

/**
 * What a module gets when depth is counted in it. A call costs its parameters, locals and operands in cells, and
 * `frameCells`; a call for which no cells are left sets the counter to -1 and traps as unreachable. The counter is one more
 * global, and one more function tells it.
 */
export class DepthCounter {
  readonly #module: WasmModule
  readonly #cells: number
  readonly #types: TypeAppendix
  readonly #global: Uint8Array

  constructor(module: WasmModule, cells: number) {
    this.#module = module
    this.#cells = cells
    this.#types = new TypeAppendix(module)
    this.#global = unsigned(module.globals.length)
  }

  /**
   * Stands before the instructions of a function: takes its cells and opens the block from which they return. A branch to
   * the function's own label, as it was counted before, reaches that block instead.
   */
  prologue(type: FunctionType, cells: number): Uint8Array {
    const load = [CODE.globalGet, ...this.#global, CODE.i32Const, ...signed(frameCells + cells)]
    return Uint8Array.of(
      ...load,
      CODE.i32LessUnsigned,
      CODE.if,
      EMPTY_BLOCK,
      CODE.i32Const,
      ...signed(-1),
      CODE.globalSet,
      ...this.#global,
      CODE.unreachable,
      CODE.end,
      ...load,
      CODE.i32Subtract,
      CODE.globalSet,
      ...this.#global,
      CODE.block,
      ...blockType(type, this.#types),
    )
  }

  /**
   * Stands behind them: gives the cells back. The stop point is for what deep recursion does on its way back, which may be
   * a lot and need no branch.
   */
  epilogue(cells: number): Uint8Array {
    return Uint8Array.of(
      CODE.globalGet,
      ...this.#global,
      CODE.i32Const,
      ...signed(frameCells + cells),
      CODE.i32Add,
      CODE.globalSet,
      ...this.#global,
      ...STOP_POINT,
      CODE.end,
    )
  }

  /** The body of the function that tells the counter; it comes behind all others. */
  getter(): Uint8Array {
    return Uint8Array.of(0, CODE.globalGet, ...this.#global, CODE.end)
  }

  /** The changes of the sections other than code, when all prologues have been made. */
  changes(): Readonly<Record<number, SectionChange>> {
    const getter = this.#types.indexOf(new Uint8Array(0), Uint8Array.of(I32))
    return {
      1: { added: this.#types.added, bytes: this.#types.bytes() },
      3: { added: 1, bytes: unsigned(getter) },
      6: {
        added: 1,
        bytes: Uint8Array.of(I32, 1, CODE.i32Const, ...signed(this.#cells), CODE.end),
      },
      7: { added: 1, bytes: exportEntry(DEPTH_EXPORT, this.#module.functions.length) },
    }
  }
}

function blockType(type: FunctionType, types: TypeAppendix): Uint8Array {
  const [only, second] = type.results
  if (only === undefined) return Uint8Array.of(EMPTY_BLOCK)
  if (second === undefined) return Uint8Array.of(only)
  return signed(types.indexOf(new Uint8Array(0), type.results))
}

/** Types that the rewriting needs: the module's own where they are there, else new ones behind them. */
class TypeAppendix {
  readonly #indices = new Map<string, number>()
  readonly #bytes = new Writer(64)
  readonly #own: number
  added = 0

  constructor(module: WasmModule) {
    this.#own = module.types.length
    for (const [index, type] of module.types.entries()) {
      const key = keyOf(type.params, type.results)
      if (type.params.length === 0 && !this.#indices.has(key)) this.#indices.set(key, index)
    }
  }

  indexOf(params: Uint8Array, results: Uint8Array): number {
    const key = keyOf(params, results)
    const known = this.#indices.get(key)
    if (known !== undefined) return known
    const index = this.#own + this.added
    this.added += 1
    this.#indices.set(key, index)
    this.#bytes.u8(0x60)
    for (const list of [params, results]) {
      this.#bytes.u32(list.length)
      this.#bytes.raw(list)
    }
    return index
  }

  bytes(): Uint8Array {
    return this.#bytes.done()
  }
}

function keyOf(params: Uint8Array, results: Uint8Array): string {
  return `${params.join()}>${results.join()}`
}

function exportEntry(name: string, functionIndex: number): Uint8Array {
  const out = new Writer(32)
  const bytes = new TextEncoder().encode(name)
  out.u32(bytes.length)
  out.raw(bytes)
  out.u8(0)
  out.u32(functionIndex)
  return out.done()
}

function unsigned(value: number): Uint8Array {
  const out = new Writer(5)
  out.u32(value)
  return out.done()
}

/** Signed LEB128 of a 32-bit integer, as constants and block types are written. */
function signed(value: number): Uint8Array {
  const bytes: number[] = []
  let rest = value
  for (;;) {
    const low = rest & 0x7f
    rest >>= 7
    const done = (rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)
    bytes.push(done ? low : low | 0x80)
    if (done) return Uint8Array.from(bytes)
  }
}
