/** A cursor over the instructions of one function: opcodes, immediates, nesting; no stack types (those are the engine's job). */

import { MODULE_LIMITS } from './limits.ts'
import type { FunctionType, WasmModule } from './module.ts'
import { functionType } from './module.ts'
import {
  BULK_SLOT,
  IMMEDIATE,
  immediateOf,
  OPCODE,
  operandOf,
  PREFIX,
  SIMD_SLOT,
  unknownOpcode,
} from './opcodes.ts'
import { proposal, unsupported } from './problem.ts'
import type { Reader } from './reader.ts'
import { readReferenceType, readTypeBytes, unknownType } from './value-types.ts'

/**
 * Moves over one function body after the other without allocating. After `next()` the instruction is
 * `bytes[start … reader.at)`, so that a rewriter copies what it does not change. Every index an instruction names is checked
 * against the module's index spaces, hence all declarations must be decoded before.
 */
export class InstructionCursor {
  readonly #module: WasmModule
  readonly #reader: Reader
  /** Opcodes of the open blocks; tells an `else` whether it stands in an `if`. */
  readonly #blocks = new Uint8Array(MODULE_LIMITS.nestingMax)
  /** How many values a branch to each open label carries; the function's own label first. */
  readonly #arities = new Uint16Array(MODULE_LIMITS.nestingMax + 1)
  #locals = 0
  #ended = false
  /** Byte of the opcode, or `prefix << 8 | number`. */
  opcode = 0
  /** Where the instruction begins. */
  start = 0
  /** The first index, label or integer of the instruction; 0 where it has none. */
  immediate = 0
  /** Blocks, loops and ifs open after the instruction. */
  depth = 0
  /** Operands and locals that validating everything passed so far has to visit, beyond a few per instruction. */
  steps = 0
  /** Instructions passed so far, in all functions. */
  instructions = 0

  constructor(module: WasmModule, reader: Reader) {
    this.#module = module
    this.#reader = reader
  }

  /** Begins a function that declares `locals` locals and whose instructions stand from the reader's position to its end. */
  begin(type: FunctionType, locals: number): void {
    this.#locals = type.params.length + locals
    this.#ended = false
    this.#arities[0] = type.results.length
    this.depth = 0
    this.steps += this.#locals + type.results.length
  }

  /** Steps to the next instruction; false when the function's last `end` has been passed. */
  next(): boolean {
    if (this.#ended) return false
    const reader = this.#reader
    this.start = reader.at
    this.instructions += 1
    this.immediate = 0
    const byte = reader.u8()
    let slot = byte
    this.opcode = byte
    if (byte === PREFIX.bulk || byte === PREFIX.simd) {
      const number = reader.u32()
      if (number > 0xff) throw unknownOpcode(reader, byte, number)
      slot = (byte === PREFIX.bulk ? BULK_SLOT : SIMD_SLOT) + number
      this.opcode = (byte << 8) | number
    }
    const immediate = immediateOf[slot] as number
    if (immediate === IMMEDIATE.unknown) {
      throw unknownOpcode(reader, byte, slot > 0xff ? slot & 0xff : null)
    }
    if (immediate !== IMMEDIATE.none) this.#immediates(immediate, operandOf[slot] as number)
    return true
  }

  #immediates(immediate: number, operand: number): void {
    const module = this.#module
    const reader = this.#reader
    switch (immediate) {
      case IMMEDIATE.local:
        this.immediate = this.#index(this.#locals, 'local')
        break
      case IMMEDIATE.i32:
        this.immediate = reader.s32()
        break
      case IMMEDIATE.memoryArgument:
        this.#memoryArgument(operand)
        break
      case IMMEDIATE.function:
        this.immediate = this.#index(module.functions.length, 'function')
        this.#visit(functionType(module, this.immediate))
        break
      case IMMEDIATE.label:
        this.immediate = this.#label()
        break
      case IMMEDIATE.return:
        this.steps += this.#arities[0] as number
        break
      case IMMEDIATE.block:
        this.#block()
        break
      case IMMEDIATE.else:
        this.#else()
        break
      case IMMEDIATE.end:
        this.#end()
        break
      case IMMEDIATE.global:
        this.immediate = this.#index(module.globals.length, 'global')
        break
      case IMMEDIATE.i64:
        reader.skipS64()
        break
      case IMMEDIATE.bytes:
        reader.skip(operand)
        break
      case IMMEDIATE.lane:
        this.#lane(operand)
        break
      case IMMEDIATE.shuffle:
        for (let i = 0; i < 16; i++) this.#lane(32)
        break
      case IMMEDIATE.memoryArgumentLane:
        this.#memoryArgument(operand)
        this.#lane(16 >> operand)
        break
      case IMMEDIATE.branchTable:
        this.#branchTable()
        break
      default:
        this.#rareImmediates(immediate)
    }
  }

  #rareImmediates(immediate: number): void {
    const module = this.#module
    const reader = this.#reader
    const tables = module.tables.length
    switch (immediate) {
      case IMMEDIATE.typeTable:
        this.immediate = this.#index(module.types.length, 'type')
        this.#visit(module.types[this.immediate])
        this.#index(tables, 'table')
        break
      case IMMEDIATE.selectTypes:
        if (reader.u32() !== 1) throw reader.malformed('A select must name exactly one type')
        readTypeBytes(reader, 1)
        break
      case IMMEDIATE.table:
        this.immediate = this.#index(tables, 'table')
        break
      case IMMEDIATE.tableTable:
        this.immediate = this.#index(tables, 'table')
        this.#index(tables, 'table')
        break
      case IMMEDIATE.memory:
        this.#memory()
        break
      case IMMEDIATE.memoryMemory:
        this.#memory()
        this.#memory()
        break
      case IMMEDIATE.referenceType:
        readReferenceType(reader)
        break
      case IMMEDIATE.dataMemory:
        this.#data()
        this.#memory()
        break
      case IMMEDIATE.data:
        this.#data()
        break
      case IMMEDIATE.elementTable:
        this.immediate = this.#index(module.elementSegments, 'element segment')
        this.#index(tables, 'table')
        break
      case IMMEDIATE.element:
        this.immediate = this.#index(module.elementSegments, 'element segment')
        break
      default:
        throw new Error(`Immediate ${immediate} is not handled.`)
    }
  }

  #index(count: number, what: string): number {
    const index = this.#reader.u32()
    if (index >= count) {
      throw this.#reader.malformed(`An instruction names ${what} ${index}; there are ${count}`)
    }
    return index
  }

  /** The index of an open label. */
  #label(): number {
    const label = this.#index(this.depth + 1, 'label')
    this.steps += this.#arities[this.depth - label] as number
    return label
  }

  #visit(type: FunctionType | undefined): void {
    if (type !== undefined) this.steps += type.params.length + type.results.length
  }

  #block(): void {
    const reader = this.#reader
    const arity = this.#blockArity()
    if (this.depth === MODULE_LIMITS.nestingMax) {
      throw unsupported(
        `Blocks are nested more than ${MODULE_LIMITS.nestingMax} deep (${reader.what}); that is the limit.`,
      )
    }
    this.#blocks[this.depth++] = this.opcode
    this.#arities[this.depth] = arity
  }

  /** Reads a block type and returns how many values a branch to the block carries. */
  #blockArity(): number {
    const reader = this.#reader
    const loop = this.opcode === OPCODE.loop
    const byte = reader.u8()
    if (byte === 0x40) return 0
    if ((byte >= 0x7b && byte <= 0x7f) || byte === 0x70 || byte === 0x6f) return loop ? 0 : 1
    if (byte > 0x40 && byte < 0x80) throw unknownType(reader, byte)
    reader.at -= 1
    const index = reader.s33()
    const type = this.#module.types[index]
    if (type === undefined) {
      throw reader.malformed(`A block names type ${index}; there are ${this.#module.types.length}`)
    }
    this.immediate = index
    this.#visit(type)
    return loop ? type.params.length : type.results.length
  }

  #else(): void {
    if (this.depth === 0 || this.#blocks[this.depth - 1] !== OPCODE.if) {
      throw this.#reader.malformed('An else stands outside of an if')
    }
    this.#blocks[this.depth - 1] = OPCODE.else
  }

  #end(): void {
    if (this.depth === 0) this.#ended = true
    else this.depth--
  }

  #lane(lanes: number): void {
    const lane = this.#reader.u8()
    if (lane >= lanes) throw this.#reader.malformed(`Lane ${lane} is named; there are ${lanes}`)
  }

  #memoryArgument(alignmentMax: number): void {
    const reader = this.#reader
    const alignment = reader.u32()
    if ((alignment & 0x40) !== 0 && alignment < 0x80) throw proposal('multi-memory', reader.what)
    if (alignment > alignmentMax) {
      throw reader.malformed(`An alignment of 2^${alignment} is larger than natural`)
    }
    this.immediate = reader.u32()
    this.#hasMemory()
  }

  #memory(): void {
    const reader = this.#reader
    if (reader.u8() !== 0) throw proposal('multi-memory', reader.what)
    this.#hasMemory()
  }

  #hasMemory(): void {
    if (this.#module.memories.length === 0) {
      throw this.#reader.malformed('An instruction needs a memory; the module has none')
    }
  }

  #data(): void {
    const count = this.#module.dataCount
    if (count === null) {
      throw this.#reader.malformed(
        'An instruction names a data segment without a data count section',
      )
    }
    this.immediate = this.#index(count, 'data segment')
  }

  #branchTable(): void {
    const reader = this.#reader
    const count = reader.count(MODULE_LIMITS.branchTargetsMax, 'targets in one br_table')
    for (let i = 0; i <= count; i++) this.#label()
  }
}
