/**
 * Functions that stand for imported ones in tables of compiled code. Compiled code that calls a host function through a table takes stack
 * for its arguments and gives it back only when it returns (seen in 0.14.1): a loop of such calls ends in a dead process.
 * With these in the tables, every indirect call reaches compiled code, which calls the host directly.
 */

import { SECTION } from '../decode.ts'
import { unsignedBytes, Writer } from '../encode.ts'
import type { WasmModule } from '../module.ts'
import { functionType } from '../module.ts'
import { OPCODE } from '../opcodes.ts'
import { Reader } from '../reader.ts'
import type { Appendix } from './appendix.ts'
import type { StackBudget } from './budget.ts'
import type { SectionChange } from './sections.ts'

const CODE = { localGet: 0x20, refFunc: OPCODE.refFunc, end: OPCODE.end } as const

/** Bits of an element segment's flags (`segments.ts`). */
const PASSIVE_OR_DECLARED = 1
const EXPLICIT = 2
const EXPRESSIONS = 4

export class Trampolines {
  readonly #module: WasmModule
  /** Of an imported function that is referred to: the function that stands for it. */
  readonly #indices = new Map<number, number>()
  /** Functions that `ref.func` may name although the module has stopped to export them. */
  readonly #declared: readonly number[]

  /** Adds one function for each imported one in `referenced`, of the type that indirect calls expect. */
  constructor(
    module: WasmModule,
    appendix: Appendix,
    referenced: ReadonlySet<number>,
    budget: StackBudget | null,
  ) {
    this.#module = module
    const exported = module.exports.filter(({ kind }) => kind === 'function')
    this.#declared = exported
      .map(({ index }) => index)
      .filter((index) => referenced.has(index) && budget?.takes(index) === true)
    for (const index of referenced) {
      if (index >= module.importedFunctions) continue
      const { params } = functionType(module, index)
      const body = new Writer(16)
      body.u32(0)
      for (let local = 0; local < params.length; local += 1) {
        body.u8(CODE.localGet)
        body.u32(local)
      }
      body.u8(OPCODE.call)
      body.u32(index)
      body.u8(CODE.end)
      const type = module.functions[index] ?? 0
      const typeInTable = budget?.throughTable === true ? budget.typeWithBudget(type) : type
      this.#indices.set(index, appendix.function(typeInTable, body.done()))
    }
  }

  /** Whether references are to be replaced. */
  get needed(): boolean {
    return this.#indices.size > 0
  }

  /** Whether the element section is to be written anew. */
  get changesElements(): boolean {
    return this.needed || this.#declared.length > 0
  }

  /** The function to refer to in place of `index`; itself for most. */
  standing(index: number): number {
    return this.#indices.get(index) ?? index
  }

  /** `ref.func` of what stands for `index`. */
  reference(index: number): Uint8Array {
    return Uint8Array.of(CODE.refFunc, ...unsignedBytes(this.standing(index)))
  }

  /**
   * The element section with every reference replaced, and a declared segment with the trampolines themselves and those
   * that are not exported any more, because `ref.func` in a body may only name a function that is declared. It comes last, so that
   * segments keep their numbers.
   */
  elements(): SectionChange {
    const section = this.#module.sections.find((each) => each.id === SECTION.element)
    const out = new Writer((section?.end ?? 0) - (section?.start ?? 0) + 64)
    const count = section?.count ?? 0
    out.u32(count + 1)
    if (section !== undefined) {
      const reader = new Reader(this.#module.bytes, section.start, section.end, 'elements')
      for (let i = 0; i < count; i += 1) this.#segment(reader, out)
    }
    out.raw(Uint8Array.of(PASSIVE_OR_DECLARED | EXPLICIT, 0))
    out.u32(this.#indices.size + this.#declared.length)
    for (const index of [...this.#indices.values(), ...this.#declared]) out.u32(index)
    return { replaced: out.done() }
  }

  #segment(reader: Reader, out: Writer): void {
    const flags = reader.u32()
    out.u32(flags)
    const active = (flags & PASSIVE_OR_DECLARED) === 0
    if (active && (flags & EXPLICIT) !== 0) out.u32(reader.u32())
    if (active) this.#expression(reader, out)
    if ((flags & (PASSIVE_OR_DECLARED | EXPLICIT)) !== 0) out.u8(reader.u8())
    const count = reader.u32()
    out.u32(count)
    for (let i = 0; i < count; i += 1) {
      if ((flags & EXPRESSIONS) !== 0) this.#expression(reader, out)
      else out.u32(this.standing(reader.u32()))
    }
  }

  /** The globals with every `ref.func` replaced; null when the module defines none. */
  globals(): Uint8Array | null {
    const section = this.#module.sections.find((each) => each.id === SECTION.global)
    if (section === undefined) return null
    const reader = new Reader(this.#module.bytes, section.start, section.end, 'globals')
    const out = new Writer(section.end - section.start + 16)
    for (let i = 0; i < section.count; i += 1) {
      out.raw(Uint8Array.of(reader.u8(), reader.u8()))
      this.#expression(reader, out)
    }
    return out.done()
  }

  /** Copies a constant expression. It was decoded before, so nothing is checked. */
  #expression(reader: Reader, out: Writer): void {
    if (reader.bytes[reader.at] === CODE.refFunc) {
      reader.skip(1)
      out.raw(this.reference(reader.u32()))
      out.u8(reader.u8())
      return
    }
    const start = reader.at
    skipConstant(reader)
    out.raw(reader.bytes.subarray(start, reader.at))
  }
}

/** Passes over a constant instruction other than `ref.func`, and its end. */
function skipConstant(reader: Reader): void {
  switch (reader.u8()) {
    case 0x41:
      reader.s32()
      break
    case 0x42:
      reader.skipS64()
      break
    case 0x43:
      reader.skip(4)
      break
    case 0x44:
      reader.skip(8)
      break
    case 0xfd:
      reader.u32()
      reader.skip(16)
      break
    default:
      // global.get and ref.null: one number.
      reader.u32()
  }
  reader.skip(1)
}
