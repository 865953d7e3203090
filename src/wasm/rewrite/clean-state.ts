/**
 * Setting an instance back (DESIGN section 5): the host restores its memory by copying, and what it cannot reach, the mutable
 * globals, is kept in more globals and set back by functions of ours.
 */

import { unsignedBytes, Writer } from '../encode.ts'
import { VALUE_TYPES } from '../module.ts'
import type { ValueType, WasmModule } from '../module.ts'
import { OPCODE, PREFIX } from '../opcodes.ts'
import { EXPORT_KIND, type Appendix } from './appendix.ts'
import type { FunctionProfile } from './profile.ts'

/**
 * Exports of a rewritten module whose instances can be set back, both `() -> ()`: the first notes what is in all mutable globals, the
 * second puts it there again. Guests may not use the names.
 */
export const KEEP_EXPORT = 'edgefn:keep'
export const RESTORE_EXPORT = 'edgefn:restore'

/** A module with more mutable globals is not made ready to be set back: copying them takes time, and each is there twice. */
const keptGlobalsMax = 256

const TABLE_SET = 0x26
/** Behind the prefix of bulk operations: what drops a segment or changes a table. The others change memory. */
const BULK_TRACES: readonly number[] = [
  9, // data.drop
  12, // table.init
  13, // elem.drop
  14, // table.copy
  15, // table.grow
  17, // table.fill
]
const CODE = { globalGet: 0x23, globalSet: 0x24 } as const

/** Whether an instruction changes what setting an instance back does not reach: tables and segments. */
export function leavesTraces(opcode: number): boolean {
  if (opcode === TABLE_SET) return true
  return opcode >> 8 === PREFIX.bulk && BULK_TRACES.includes(opcode & 0xff)
}

/**
 * Adds both exports, if instances can be set back. All other globals must have been added before, for they are set
 * back too.
 */
export function addCleanState(
  module: WasmModule,
  profiles: readonly FunctionProfile[],
  appendix: Appendix,
): void {
  if (profiles.some((profile) => profile.leavesTraces)) return
  const kept = mutableGlobals(module, appendix)
  if (kept.length > keptGlobalsMax) return
  const keep = new Writer(64)
  const restore = new Writer(64)
  keep.u8(0)
  restore.u8(0)
  for (const { index, type } of kept) {
    const copy = appendix.global(Uint8Array.of(type, 1, ...zeroOf(type)))
    keep.raw(moved(index, copy))
    restore.raw(moved(copy, index))
  }
  for (const [name, body] of [
    [KEEP_EXPORT, keep],
    [RESTORE_EXPORT, restore],
  ] as const) {
    body.u8(OPCODE.end)
    const type = appendix.type(new Uint8Array(0), new Uint8Array(0))
    appendix.export(name, EXPORT_KIND.function, appendix.function(type, body.done()))
  }
}

interface KeptGlobal {
  readonly index: number
  /** The byte of its type. */
  readonly type: number
}

function mutableGlobals(module: WasmModule, appendix: Appendix): KeptGlobal[] {
  const own = module.globals.flatMap(({ type, mutable }, index) =>
    mutable ? [{ index, type: byteOf(type) }] : [],
  )
  const added = appendix.globalTypes.map((type, at) => ({
    index: module.globals.length + at,
    type,
  }))
  return [...own, ...added]
}

function moved(from: number, to: number): Uint8Array {
  return Uint8Array.of(CODE.globalGet, ...unsignedBytes(from), CODE.globalSet, ...unsignedBytes(to))
}

function byteOf(type: ValueType): number {
  for (const [byte, each] of VALUE_TYPES) if (each === type) return byte
  throw new Error(`${type} is no value type.`)
}

/** A constant expression for a type's zero. */
function zeroOf(type: number): readonly number[] {
  switch (VALUE_TYPES.get(type)) {
    case 'i32':
      return [0x41, 0, OPCODE.end]
    case 'i64':
      return [0x42, 0, OPCODE.end]
    case 'f32':
      return [0x43, ...Array<number>(4).fill(0), OPCODE.end]
    case 'f64':
      return [0x44, ...Array<number>(8).fill(0), OPCODE.end]
    case 'v128':
      return [PREFIX.simd, 12, ...Array<number>(16).fill(0), OPCODE.end]
    case 'funcref':
    case 'externref':
      return [0xd0, type, OPCODE.end]
    case undefined:
      throw new Error(`${type} is no value type.`)
  }
}
