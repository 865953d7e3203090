/** Copies one body with changes: a walk over its instructions, and bytes put before, behind or in place of them. */

import { Writer } from '../encode.ts'
import { InstructionCursor } from '../instructions.ts'
import type { Body, WasmModule } from '../module.ts'
import { functionType } from '../module.ts'
import { Reader } from '../reader.ts'
import { countLocals } from './profile.ts'

const I32 = 0x7f

export class BodyCopy {
  readonly cursor: InstructionCursor
  /** Locals that the body declares, parameters not counted. */
  readonly declared: number
  readonly #module: WasmModule
  readonly #body: Body
  readonly #reader: Reader
  readonly #out: Writer
  #copied: number

  /** `at` is the number of the body. */
  constructor(module: WasmModule, at: number) {
    const body = module.bodies[at]
    if (body === undefined) throw new Error(`There is no body ${at}.`)
    this.#module = module
    this.#body = body
    this.#reader = new Reader(module.bytes, body.code, body.end, 'a function')
    this.#out = new Writer(body.end - body.start + 64)
    this.#copied = body.code
    this.declared = countLocals(module, body).declared
    this.cursor = new InstructionCursor(module, this.#reader)
    this.cursor.begin(functionType(module, module.importedFunctions + at), this.declared)
  }

  /** Begins with the locals, and so many more of type i32 behind them. */
  begin(moreLocals: number): void {
    const { bytes } = this.#module
    const { start, code } = this.#body
    if (moreLocals === 0) {
      this.#out.raw(bytes.subarray(start, code))
      return
    }
    const reader = new Reader(bytes, start, code, 'locals')
    this.#out.u32(reader.u32() + 1)
    this.#out.raw(bytes.subarray(reader.at, code))
    this.#out.u32(moreLocals)
    this.#out.u8(I32)
  }

  /** Puts bytes where the walk has come to: at first that is before all instructions. */
  put(bytes: Uint8Array): void {
    this.#out.raw(bytes)
  }

  /** Steps to the next instruction; false behind the last. */
  next(): boolean {
    return this.cursor.next()
  }

  /** Puts bytes before the instruction that the cursor has read, and behind those put there already. */
  before(bytes: Uint8Array): void {
    this.#copyUpTo(this.cursor.start)
    this.#out.raw(bytes)
  }

  after(bytes: Uint8Array): void {
    this.#copyUpTo(this.#reader.at)
    this.#out.raw(bytes)
  }

  instead(bytes: Uint8Array): void {
    this.#copyUpTo(this.cursor.start)
    this.#copied = this.#reader.at
    this.#out.raw(bytes)
  }

  /** The body, its size not included; `tail` stands behind its last `end`. */
  done(tail: Uint8Array): Uint8Array {
    this.#copyUpTo(this.#body.end)
    this.#out.raw(tail)
    return this.#out.done()
  }

  #copyUpTo(end: number): void {
    this.#out.raw(this.#module.bytes.subarray(this.#copied, end))
    this.#copied = end
  }
}
