/** Constant expressions: what a global, an element or a segment's offset may start from. */

import type { ValueType, WasmModule } from './module.ts'
import { OPCODE, PREFIX, unknownOpcode } from './opcodes.ts'
import { proposal } from './problem.ts'
import type { Reader } from './reader.ts'
import { readReferenceType } from './value-types.ts'

/** Opcodes that may begin a constant expression, and thus continue one where extended constants are on. */
const CONTINUATIONS = [0x23, 0x41, 0x42, 0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e]

/** Passes over one constant instruction and its `end`; its type must be `expected`. */
export function readConstant(reader: Reader, module: WasmModule, expected: ValueType): void {
  const type = readInstruction(reader, module)
  if (type !== expected) {
    throw reader.malformed(`A constant of type ${expected} is needed, ${type} is given`)
  }
  const next = reader.u8()
  if (next === OPCODE.end) return
  if (CONTINUATIONS.includes(next)) throw proposal('extended constant expressions', reader.what)
  throw reader.malformed('A constant expression has more than one instruction')
}

function readInstruction(reader: Reader, module: WasmModule): ValueType {
  const opcode = reader.u8()
  switch (opcode) {
    case 0x41:
      reader.s32()
      return 'i32'
    case 0x42:
      reader.skipS64()
      return 'i64'
    case 0x43:
      reader.skip(4)
      return 'f32'
    case 0x44:
      reader.skip(8)
      return 'f64'
    case 0x23:
      return readGlobal(reader, module)
    case 0xd0:
      return readReferenceType(reader)
    case 0xd2:
      readFunctionIndex(reader, module)
      return 'funcref'
    case PREFIX.simd:
      return readVector(reader)
    case PREFIX.bulk:
      throw reader.malformed('An instruction is not constant')
    case 0x00:
    case OPCODE.end:
      throw reader.malformed('A constant expression has no constant')
    default:
      if (opcode >= 0x45 && opcode <= 0xc4) throw reader.malformed('An instruction is not constant')
      throw unknownOpcode(reader, opcode, null)
  }
}

function readGlobal(reader: Reader, module: WasmModule): ValueType {
  const index = reader.u32()
  const global = module.globals[index]
  if (global === undefined || index >= module.importedGlobals) {
    throw reader.malformed(
      `A constant names global ${index}; only the ${module.importedGlobals} imported ones are allowed`,
    )
  }
  if (global.mutable) throw reader.malformed(`A constant names global ${index}, which is mutable`)
  return global.type
}

function readVector(reader: Reader): ValueType {
  if (reader.u32() !== 12) throw reader.malformed('An instruction is not constant')
  reader.skip(16)
  return 'v128'
}

/** The index of a function that exists; it is from now on one that indirect calls can reach. */
export function readFunctionIndex(reader: Reader, module: WasmModule): number {
  const index = reader.u32()
  if (index >= module.functions.length) {
    throw reader.malformed(`Function ${index} is named; there are ${module.functions.length}`)
  }
  module.referenced.add(index)
  return index
}
