/**
 * Counting of stack depth in functions that can recurse, so that runaway recursion ends in a trap before it takes the
 * host's memory or stack (DESIGN section 4). The engine itself checks neither.
 */

import { SECTION } from '../decode.ts'
import { Writer } from '../encode.ts'
import { InstructionCursor } from '../instructions.ts'
import type { FunctionType, WasmModule } from '../module.ts'
import { functionType } from '../module.ts'
import { OPCODE } from '../opcodes.ts'
import { Reader } from '../reader.ts'
import { findRecursive } from './call-graph.ts'
import type { FunctionProfile } from './profile.ts'
import { countLocals, profileBodies } from './profile.ts'
import { encodeModule } from './sections.ts'

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
  branch: 0x0c,
  globalGet: 0x23,
  globalSet: 0x24,
  i32Const: 0x41,
  i32LessUnsigned: 0x49,
  i32Add: 0x6a,
  i32Subtract: 0x6b,
} as const

/**
 * The module with depth counted, or null when nothing in it can recurse and it is to be run as it is. A call costs its parameters, locals and
 * operands in cells, and `frameCells`; a call for which no cells are left sets the counter to -1 and traps as unreachable.
 * Functions that cannot recurse are copied as they are. `module` is a normalised one.
 */
export function countDepth(module: WasmModule, cells: number): Uint8Array<ArrayBuffer> | null {
  const referenced = new Set(module.referenced)
  const profiles = profileBodies(module, referenced)
  const recursive = findRecursive(module, profiles, referenced)
  if (!recursive.subarray(0, module.functions.length).includes(1)) return null
  const types = new TypeAppendix(module)
  const depth = module.globals.length
  const code = new Writer(module.bytes.length)
  code.u32(module.bodies.length + 1)
  for (const [at, profile] of profiles.entries()) {
    writeBody(code, module, at, recursive[module.importedFunctions + at] === 1, profile, {
      depth,
      types,
    })
  }
  writeSized(code, Uint8Array.of(0, CODE.globalGet, ...unsigned(depth), CODE.end))
  const getter = types.indexOf(new Uint8Array(0), Uint8Array.of(I32))
  return encodeModule(module, {
    1: { added: types.added, bytes: types.bytes() },
    3: { added: 1, bytes: unsigned(getter) },
    6: {
      added: 1,
      bytes: Uint8Array.of(I32, 1, CODE.i32Const, ...signed(cells), CODE.end),
    },
    7: { added: 1, bytes: exportEntry(DEPTH_EXPORT, module.functions.length) },
    [SECTION.code]: { replaced: code.done() },
  })
}

interface Places {
  /** Index of the counter among the globals. */
  readonly depth: number
  readonly types: TypeAppendix
}

function writeBody(
  out: Writer,
  module: WasmModule,
  at: number,
  recursive: boolean,
  profile: FunctionProfile,
  places: Places,
): void {
  const body = module.bodies[at]
  if (body === undefined) throw new Error(`Body ${at} is missing.`)
  if (!recursive) return writeSized(out, module.bytes.subarray(body.start, body.end))
  const type = functionType(module, module.importedFunctions + at)
  const depth = unsigned(places.depth)
  const cost = signed(frameCells + profile.cells)
  const rewritten = new Writer(body.end - body.start + 64)
  rewritten.raw(module.bytes.subarray(body.start, body.code))
  rewritten.raw(prologue(depth, cost))
  // Inside this block a branch to the function's own label, as it was counted before, reaches the block instead.
  rewritten.u8(CODE.block)
  rewritten.raw(blockType(type, places.types))
  copyReturningByBranch(rewritten, module, at)
  rewritten.raw(Uint8Array.of(CODE.globalGet, ...depth, CODE.i32Const, ...cost, CODE.i32Add))
  rewritten.raw(Uint8Array.of(CODE.globalSet, ...depth, CODE.end))
  writeSized(out, rewritten.done())
}

function prologue(depth: Uint8Array, cost: Uint8Array): Uint8Array {
  const load = [CODE.globalGet, ...depth, CODE.i32Const, ...cost]
  return Uint8Array.of(
    ...load,
    CODE.i32LessUnsigned,
    CODE.if,
    EMPTY_BLOCK,
    CODE.i32Const,
    ...signed(-1),
    CODE.globalSet,
    ...depth,
    CODE.unreachable,
    CODE.end,
    ...load,
    CODE.i32Subtract,
    CODE.globalSet,
    ...depth,
  )
}

/** Copies a body's instructions, its last `end` included, with every `return` made a branch to the outermost block. */
function copyReturningByBranch(out: Writer, module: WasmModule, at: number): void {
  const body = module.bodies[at]
  if (body === undefined) throw new Error(`Body ${at} is missing.`)
  const reader = new Reader(module.bytes, body.code, body.end, 'a function')
  const cursor = new InstructionCursor(module, reader)
  cursor.begin(functionType(module, module.importedFunctions + at), countLocals(module, body))
  let copied = body.code
  while (cursor.next()) {
    if (cursor.opcode !== OPCODE.return) continue
    out.raw(module.bytes.subarray(copied, cursor.start))
    out.u8(CODE.branch)
    out.u32(cursor.depth)
    copied = reader.at
  }
  out.raw(module.bytes.subarray(copied, body.end))
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

function writeSized(out: Writer, bytes: Uint8Array): void {
  out.u32(bytes.length)
  out.raw(bytes)
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
