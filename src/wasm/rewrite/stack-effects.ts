/** How many operands each instruction takes and gives, for those whose effect does not depend on a type. */

import { BULK_SLOT, PREFIX, SIMD_SLOT } from '../opcodes.ts'

/** Operands taken in the high four bits, given in the low four, by the slots of `opcodes.ts`. */
const effectOf = new Uint8Array(0x300)

function set(first: number, last: number, takes: number, gives: number): void {
  effectOf.fill((takes << 4) | gives, first, last + 1)
}

/** Ranges of one-byte opcodes: first, last, takes, gives. What is missing (control, calls) depends on types. */
const ONE_BYTE: readonly (readonly [number, number, number, number])[] = [
  [0x1a, 0x1a, 1, 0], // drop
  [0x1b, 0x1c, 3, 1], // select
  [0x20, 0x20, 0, 1], // local.get
  [0x21, 0x21, 1, 0],
  [0x22, 0x22, 1, 1],
  [0x23, 0x23, 0, 1], // global.get
  [0x24, 0x24, 1, 0],
  [0x25, 0x25, 1, 1], // table.get
  [0x26, 0x26, 2, 0],
  [0x28, 0x35, 1, 1], // loads
  [0x36, 0x3e, 2, 0], // stores
  [0x3f, 0x3f, 0, 1], // memory.size
  [0x40, 0x40, 1, 1], // memory.grow
  [0x41, 0x44, 0, 1], // constants
  [0x45, 0xc4, 1, 1], // numeric; the binary ones follow
  [0x46, 0x4f, 2, 1],
  [0x51, 0x66, 2, 1],
  [0x6a, 0x78, 2, 1],
  [0x7c, 0x8a, 2, 1],
  [0x92, 0x98, 2, 1],
  [0xa0, 0xa6, 2, 1],
  [0xd0, 0xd0, 0, 1], // ref.null
  [0xd1, 0xd1, 1, 1],
  [0xd2, 0xd2, 0, 1], // ref.func
]

const BULK: readonly (readonly [number, number, number, number])[] = [
  [0, 7, 1, 1], // saturating conversions
  [8, 8, 3, 0], // memory.init
  [10, 12, 3, 0], // copy, fill, table.init; data.drop and elem.drop do nothing to the stack
  [14, 14, 3, 0], // table.copy
  [15, 15, 2, 1], // table.grow
  [16, 16, 0, 1], // table.size
  [17, 17, 3, 0], // table.fill
]

const SIMD: readonly (readonly [number, number, number, number])[] = [
  [0x0d, 0xff, 2, 1], // most are binary; the others follow
  [0x00, 0x0a, 1, 1], // loads
  [0x0b, 0x0b, 2, 0], // store
  [0x0c, 0x0c, 0, 1], // constant
  [0x0f, 0x16, 1, 1], // splats, extract_lane
  [0x18, 0x19, 1, 1],
  [0x1b, 0x1b, 1, 1],
  [0x1d, 0x1d, 1, 1],
  [0x1f, 0x1f, 1, 1],
  [0x21, 0x21, 1, 1],
  [0x4d, 0x4d, 1, 1], // not
  [0x52, 0x52, 3, 1], // bitselect
  [0x53, 0x53, 1, 1], // any_true
  [0x58, 0x5b, 2, 0], // store_lane
  [0x5c, 0x64, 1, 1],
  [0x67, 0x6a, 1, 1],
  [0x74, 0x75, 1, 1],
  [0x7a, 0x7a, 1, 1],
  [0x7c, 0x81, 1, 1],
  [0x83, 0x84, 1, 1],
  [0x87, 0x8a, 1, 1],
  [0x94, 0x94, 1, 1],
  [0xa0, 0xa1, 1, 1],
  [0xa3, 0xa4, 1, 1],
  [0xa7, 0xaa, 1, 1],
  [0xc0, 0xc1, 1, 1],
  [0xc3, 0xc4, 1, 1],
  [0xc7, 0xca, 1, 1],
  [0xe0, 0xe1, 1, 1],
  [0xe3, 0xe3, 1, 1],
  [0xec, 0xed, 1, 1],
  [0xef, 0xef, 1, 1],
  [0xf8, 0xff, 1, 1],
]

for (const [first, last, takes, gives] of ONE_BYTE) set(first, last, takes, gives)
for (const [first, last, takes, gives] of BULK) {
  set(BULK_SLOT + first, BULK_SLOT + last, takes, gives)
}
for (const [first, last, takes, gives] of SIMD) {
  set(SIMD_SLOT + first, SIMD_SLOT + last, takes, gives)
}

/** By how much an instruction changes the height of the operand stack; 0 for control instructions and calls. */
export function stackChange(opcode: number): number {
  const effect = effectOf[slotOf(opcode)] ?? 0
  return (effect & 0x0f) - (effect >> 4)
}

function slotOf(opcode: number): number {
  const prefix = opcode >> 8
  if (prefix === PREFIX.bulk) return BULK_SLOT + (opcode & 0xff)
  return prefix === PREFIX.simd ? SIMD_SLOT + (opcode & 0xff) : opcode
}
