/** The opcodes edgefn runs and the immediates that follow each: MVP, sign extension, saturating float, bulk memory, references, SIMD. */

import type { EdgefnError } from '../errors.ts'
import { hex, proposal } from './problem.ts'
import type { Reader } from './reader.ts'

/** What stands behind an opcode. `unknown` is 0, so that whatever is not listed is refused. */
export const IMMEDIATE = {
  unknown: 0,
  none: 1,
  block: 2,
  else: 3,
  end: 4,
  label: 5,
  branchTable: 6,
  function: 7,
  typeTable: 8,
  selectTypes: 9,
  local: 10,
  global: 11,
  table: 12,
  /** Alignment and offset; the operand is the natural alignment as a power of two. */
  memoryArgument: 13,
  /** Alignment, offset, lane; the operand as above. */
  memoryArgumentLane: 14,
  memory: 15,
  i32: 16,
  i64: 17,
  /** As many bytes as the operand says. */
  bytes: 18,
  referenceType: 19,
  dataMemory: 20,
  data: 21,
  memoryMemory: 22,
  elementTable: 23,
  element: 24,
  tableTable: 25,
  shuffle: 26,
  /** A lane number below the operand. */
  lane: 27,
  return: 28,
} as const
type Immediate = (typeof IMMEDIATE)[keyof typeof IMMEDIATE]

export const PREFIX = { bulk: 0xfc, simd: 0xfd } as const

/** Opcodes that the code of this folder names; prefixed ones are `prefix << 8 | number`. */
export const OPCODE = {
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  branch: 0x0c,
  branchIf: 0x0d,
  return: 0x0f,
  call: 0x10,
  callIndirect: 0x11,
  memoryGrow: 0x40,
  refFunc: 0xd2,
} as const

/** Kind of immediate and its operand, by slot: one-byte opcodes, then 0xfc ones, then 0xfd ones. */
export const immediateOf = new Uint8Array(0x300)
export const operandOf = new Uint8Array(0x300)
export const BULK_SLOT = 0x100
export const SIMD_SLOT = 0x200

function set(first: number, last: number, immediate: Immediate, operand = 0): void {
  immediateOf.fill(immediate, first, last + 1)
  operandOf.fill(operand, first, last + 1)
}

function setOneByteOpcodes(): void {
  set(0x00, 0x01, IMMEDIATE.none)
  set(0x02, 0x04, IMMEDIATE.block)
  set(0x05, 0x05, IMMEDIATE.else)
  set(0x0b, 0x0b, IMMEDIATE.end)
  set(0x0c, 0x0d, IMMEDIATE.label)
  set(0x0e, 0x0e, IMMEDIATE.branchTable)
  set(0x0f, 0x0f, IMMEDIATE.return)
  set(0x10, 0x10, IMMEDIATE.function)
  set(0x11, 0x11, IMMEDIATE.typeTable)
  set(0x1a, 0x1b, IMMEDIATE.none)
  set(0x1c, 0x1c, IMMEDIATE.selectTypes)
  set(0x20, 0x22, IMMEDIATE.local)
  set(0x23, 0x24, IMMEDIATE.global)
  set(0x25, 0x26, IMMEDIATE.table)
  // From i32.load to i64.store32.
  const alignments = [2, 3, 2, 3, 0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 2, 3, 2, 3, 0, 1, 0, 1, 2]
  for (const [i, alignment] of alignments.entries()) {
    set(0x28 + i, 0x28 + i, IMMEDIATE.memoryArgument, alignment)
  }
  set(0x3f, 0x40, IMMEDIATE.memory)
  set(0x41, 0x41, IMMEDIATE.i32)
  set(0x42, 0x42, IMMEDIATE.i64)
  set(0x43, 0x43, IMMEDIATE.bytes, 4)
  set(0x44, 0x44, IMMEDIATE.bytes, 8)
  set(0x45, 0xc4, IMMEDIATE.none)
  set(0xd0, 0xd0, IMMEDIATE.referenceType)
  set(0xd1, 0xd1, IMMEDIATE.none)
  set(0xd2, 0xd2, IMMEDIATE.function)
}

function setBulkOpcodes(): void {
  set(BULK_SLOT, BULK_SLOT + 7, IMMEDIATE.none)
  const bulk = ['dataMemory', 'data', 'memoryMemory', 'memory', 'elementTable', 'element'] as const
  for (const [i, name] of bulk.entries()) {
    set(BULK_SLOT + 8 + i, BULK_SLOT + 8 + i, IMMEDIATE[name])
  }
  set(BULK_SLOT + 14, BULK_SLOT + 14, IMMEDIATE.tableTable)
  set(BULK_SLOT + 15, BULK_SLOT + 17, IMMEDIATE.table)
}

function setSimdOpcodes(): void {
  const alignments = [4, 3, 3, 3, 3, 3, 3, 0, 1, 2, 3, 4]
  for (const [i, alignment] of alignments.entries()) {
    set(SIMD_SLOT + i, SIMD_SLOT + i, IMMEDIATE.memoryArgument, alignment)
  }
  set(SIMD_SLOT + 12, SIMD_SLOT + 12, IMMEDIATE.bytes, 16)
  set(SIMD_SLOT + 13, SIMD_SLOT + 13, IMMEDIATE.shuffle)
  set(SIMD_SLOT + 14, SIMD_SLOT + 0xff, IMMEDIATE.none)
  const lanes = [16, 16, 16, 8, 8, 8, 4, 4, 2, 2, 4, 4, 2, 2]
  for (const [i, count] of lanes.entries()) {
    set(SIMD_SLOT + 21 + i, SIMD_SLOT + 21 + i, IMMEDIATE.lane, count)
  }
  for (let i = 0; i < 8; i++) {
    set(SIMD_SLOT + 84 + i, SIMD_SLOT + 84 + i, IMMEDIATE.memoryArgumentLane, i & 3)
  }
  set(SIMD_SLOT + 92, SIMD_SLOT + 92, IMMEDIATE.memoryArgument, 2)
  set(SIMD_SLOT + 93, SIMD_SLOT + 93, IMMEDIATE.memoryArgument, 3)
  const holes = [
    0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2, 0xb3, 0xb4, 0xbb, 0xc2, 0xc5, 0xc6, 0xcf, 0xd0, 0xd2,
    0xd3, 0xd4, 0xe2, 0xee,
  ]
  for (const hole of holes) set(SIMD_SLOT + hole, SIMD_SLOT + hole, IMMEDIATE.unknown)
}

setOneByteOpcodes()
setBulkOpcodes()
setSimdOpcodes()

/** One-byte opcodes and prefixes that belong to proposals edgefn leaves off. */
const PROPOSALS: ReadonlyMap<number, string> = new Map([
  ...[0x06, 0x07, 0x08, 0x09, 0x0a, 0x18, 0x19, 0x1f].map(
    (op) => [op, 'exception handling'] as const,
  ),
  ...[0x12, 0x13].map((op) => [op, 'tail calls'] as const),
  ...[0x14, 0x15, 0xd4, 0xd5, 0xd6].map((op) => [op, 'typed function references'] as const),
  ...[0xd3, 0xfb].map((op) => [op, 'garbage collection (GC)'] as const),
  [0xfe, 'threads'],
])

/** The refusal of an opcode that is not in the tables; `number` is what follows a prefix. */
export function unknownOpcode(reader: Reader, opcode: number, number: number | null): EdgefnError {
  const place = `${reader.what}, opcode ${hex(opcode)}${number === null ? '' : ` ${number}`}`
  const name = PROPOSALS.get(opcode)
  if (name !== undefined) return proposal(name, place)
  if (opcode === PREFIX.simd && number !== null && number >= 0x100 && number <= 0x113) {
    return proposal('relaxed SIMD', place)
  }
  if (opcode === PREFIX.bulk && number !== null && number >= 19 && number <= 22) {
    return proposal('wide arithmetic', place)
  }
  return reader.malformed(`Opcode ${hex(opcode)}${number === null ? '' : ` ${number}`} is unknown`)
}
