/**
 * Memory for the results of imported functions that wit-bindgen 0.2 has lowered. Such a function puts a record where its
 * last parameter says and wants `canonical_abi_realloc` to be called for what the record points to; but a host function
 * must not call into the guest (DESIGN section 4). So the guest does it: calls of these imports go through a function that
 * calls the import again and again, and allocates as long as the import asks for it.
 */

import { SECTION } from '../decode.ts'
import { Writer } from '../encode.ts'
import { InstructionCursor } from '../instructions.ts'
import type { Body, FunctionType, WasmModule } from '../module.ts'
import { functionType } from '../module.ts'
import { OPCODE } from '../opcodes.ts'
import { Reader } from '../reader.ts'
import { SPIN_IMPORTS } from '../spin-imports.ts'
import { countLocals } from './profile.ts'
import { encodeModule } from './sections.ts'

/**
 * How an import asks, in the record's own place: its first byte, which else is 0 or 1, and then what the allocation is to
 * be; the address goes where the size was. A record that points to anything has these twelve bytes.
 */
export const RESULT_MEMORY = { pending: 0xff, size: 4, align: 8, answer: 4 } as const

export const REALLOC_EXPORT = 'canonical_abi_realloc'

const FUNCTION_SECTION = 3
const I32 = 0x7f
const EMPTY_BLOCK = 0x40
const CODE = {
  loop: 0x03,
  if: 0x04,
  end: 0x0b,
  branch: 0x0c,
  call: 0x10,
  localGet: 0x20,
  i32Load: 0x28,
  i32Load8: 0x2d,
  i32Store: 0x36,
  i32Const: 0x41,
  i32Equal: 0x46,
} as const

/** Whether results of an import are put into memory by `canonical_abi_realloc`. */
export function needsResultMemory(module: string, name: string): boolean {
  if (!Object.hasOwn(SPIN_IMPORTS, module)) return false
  const rows: readonly (readonly [string, string, string])[] =
    SPIN_IMPORTS[module as keyof typeof SPIN_IMPORTS]
  return rows.some(([each, params, results]) => {
    // A handle alone is given back and answered with nothing; what answers with a number takes the guest's own buffers.
    return each === name && results === '' && params.includes(' ')
  })
}

/**
 * The module with its calls of such imports wrapped, or null when it has none, or no allocator, and is to be taken as it
 * is. `module` is a normalised one, and so is the result.
 */
export function withResultMemory(module: WasmModule): Uint8Array<ArrayBuffer> | null {
  const realloc = module.exports.find(
    ({ name, kind }) => name === REALLOC_EXPORT && kind === 'function',
  )
  const wrapped = module.imports.filter(
    ({ module: from, name, kind }) => kind === 'function' && needsResultMemory(from, name),
  )
  if (realloc === undefined || wrapped.length === 0) return null
  const wrappers = new Map(
    wrapped.map(({ index }, at) => [index, module.functions.length + at] as const),
  )
  const code = new Writer(module.bytes.length)
  const types = new Writer(16)
  code.u32(module.bodies.length + wrappers.size)
  for (const [at, body] of module.bodies.entries()) {
    writeSized(code, redirectCalls(module, at, body, wrappers))
  }
  for (const imported of wrappers.keys()) {
    types.u32(module.functions[imported] ?? 0)
    writeSized(code, wrapper(functionType(module, imported), imported, realloc.index))
  }
  return encodeModule(module, {
    [FUNCTION_SECTION]: { added: wrappers.size, bytes: types.done() },
    [SECTION.code]: { replaced: code.done() },
  })
}

/** One body, its size not included, calling the wrappers. */
function redirectCalls(
  module: WasmModule,
  at: number,
  body: Body,
  wrappers: ReadonlyMap<number, number>,
): Uint8Array {
  const reader = new Reader(module.bytes, body.code, body.end, 'a function')
  const cursor = new InstructionCursor(module, reader)
  cursor.begin(
    functionType(module, module.importedFunctions + at),
    countLocals(module, body).declared,
  )
  const out = new Writer(body.end - body.start + 64)
  let copied = body.start
  while (cursor.next()) {
    const target = cursor.opcode === OPCODE.call ? wrappers.get(cursor.immediate) : undefined
    if (target === undefined) continue
    out.raw(module.bytes.subarray(copied, cursor.start))
    out.u8(OPCODE.call)
    out.u32(target)
    copied = reader.at
  }
  out.raw(module.bytes.subarray(copied, body.end))
  return out.done()
}

/** The body of the function that stands before an import of this type. */
function wrapper(type: FunctionType, imported: number, realloc: number): Uint8Array {
  const out = new Writer(64)
  const record = type.params.length - 1
  if (type.params[record] !== I32) throw new Error(`Import ${imported} has no place for results.`)
  const load = (opcode: number, offset: number) => {
    out.u8(CODE.localGet)
    out.u32(record)
    out.raw(Uint8Array.of(opcode, 0, offset))
  }
  out.raw(Uint8Array.of(0, CODE.loop, EMPTY_BLOCK))
  for (let index = 0; index < type.params.length; index++) {
    out.u8(CODE.localGet)
    out.u32(index)
  }
  out.u8(CODE.call)
  out.u32(imported)
  load(CODE.i32Load8, 0)
  out.raw(Uint8Array.of(CODE.i32Const, 0xff, 0x01, CODE.i32Equal, CODE.if, EMPTY_BLOCK))
  out.u8(CODE.localGet)
  out.u32(record)
  out.raw(Uint8Array.of(CODE.i32Const, 0, CODE.i32Const, 0))
  load(CODE.i32Load, RESULT_MEMORY.align)
  load(CODE.i32Load, RESULT_MEMORY.size)
  out.u8(CODE.call)
  out.u32(realloc)
  out.raw(Uint8Array.of(CODE.i32Store, 0, RESULT_MEMORY.answer, CODE.branch, 1))
  out.raw(Uint8Array.of(CODE.end, CODE.end, CODE.end))
  return out.done()
}

function writeSized(out: Writer, bytes: Uint8Array): void {
  out.u32(bytes.length)
  out.raw(bytes)
}
