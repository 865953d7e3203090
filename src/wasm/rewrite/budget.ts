/**
 * The stack of compiled code, counted without memory: counted functions, and all that lead to them, have one more parameter,
 * the bytes of stack left to them. Before a counted function its frame is taken off, by its callers or by itself, and
 * when that is more than there is left the call traps. Nothing is given back, because nothing is kept. A global, as the interpreter
 * has it (`depth.ts`), costs a load, two stores and an exit of its own with every call, and stands in the way of the
 * compiler, which makes loops of calls that come last. Both ways count the same figures.
 */

import { signedBytes, unsignedBytes, Writer } from '../encode.ts'
import { functionType } from '../module.ts'
import { OPCODE } from '../opcodes.ts'
import type { Appendix } from './appendix.ts'
import type { BudgetPlan } from './budget-plan.ts'
import { addDepthExport, OVERFLOWN } from './depth.ts'
import type { PathState } from './path-state.ts'
import type { Survey } from './survey.ts'

const I32 = 0x7f
const EMPTY_BLOCK = 0x40
const CODE = {
  unreachable: 0x00,
  if: OPCODE.if,
  end: OPCODE.end,
  call: OPCODE.call,
  localGet: 0x20,
  localTee: 0x22,
  globalSet: 0x24,
  i32Const: 0x41,
  i32LessSigned: 0x48,
  i32Subtract: 0x6b,
} as const

const NOTHING = new Uint8Array(0)

export class StackBudget {
  readonly plan: BudgetPlan
  readonly #survey: Survey
  readonly #appendix: Appendix
  readonly #stackBytes: number
  /** What ends a call that has no stack left. */
  readonly #overflow: Uint8Array
  /** Of a function that takes the budget: the one that hands out the whole. */
  readonly #entries = new Map<number, number>()
  /** Of a type: the one with the budget. */
  readonly #types = new Map<number, number>()

  constructor(survey: Survey, plan: BudgetPlan, appendix: Appendix, stackBytes: number) {
    this.plan = plan
    this.#survey = survey
    this.#appendix = appendix
    this.#stackBytes = stackBytes
    const global = unsignedBytes(addDepthExport(appendix, stackBytes))
    const set = [CODE.i32Const, ...signedBytes(OVERFLOWN), CODE.globalSet, ...global]
    const body = Uint8Array.of(0, ...set, CODE.unreachable, CODE.end)
    const overflow = appendix.function(appendix.type(NOTHING, NOTHING), body)
    this.#overflow = Uint8Array.of(CODE.call, ...unsignedBytes(overflow), CODE.unreachable)
  }

  takes(index: number): boolean {
    return this.plan.takes[index] === 1
  }

  /** Whether calls through the table pass the budget. */
  get throughTable(): boolean {
    return this.takes(this.#survey.module.functions.length)
  }

  /** Index of a type with the budget behind its parameters. */
  typeWithBudget(index: number): number {
    const known = this.#types.get(index)
    if (known !== undefined) return known
    const type = this.#survey.module.types[index]
    if (type === undefined) throw new Error(`There is no type ${index}.`)
    const longer = this.#appendix.type(Uint8Array.of(...type.params, I32), type.results)
    this.#types.set(index, longer)
    return longer
  }

  /** The function that the host is to call for this one: itself, or one that hands out the whole stack. */
  entry(index: number): number {
    if (!this.takes(index)) return index
    const known = this.#entries.get(index)
    if (known !== undefined) return known
    const { module } = this.#survey
    const body = new Writer(32)
    body.u32(0)
    const { params } = functionType(module, index)
    for (let local = 0; local < params.length; local += 1) {
      body.u8(CODE.localGet)
      body.u32(local)
    }
    const frame = this.#frameForCallers(index)
    if (frame > this.#stackBytes) body.raw(this.#overflow)
    body.u8(CODE.i32Const)
    body.raw(signedBytes(this.#stackBytes - frame))
    body.u8(CODE.call)
    body.u32(index)
    body.u8(CODE.end)
    const entry = this.#appendix.function(module.functions[index] ?? 0, body.done())
    this.#entries.set(index, entry)
    return entry
  }

  /** Stands before the instructions of a function whose parameter `left` is the budget: takes its frame where callers do not. */
  prologue(index: number, left: number): Uint8Array {
    if (this.plan.selfCounting[index] !== 1) return NOTHING
    const out = new Writer(24)
    this.#less(out, left, this.#frame(index))
    out.u8(CODE.localTee)
    out.u32(left)
    out.raw(Uint8Array.of(CODE.i32Const, 0, CODE.i32LessSigned))
    this.#trap(out)
    return out.done()
  }

  /** Stands before a call of `callee`, behind its arguments: what is left for it. `left` is the caller's. */
  argument(callee: number, left: number, path: PathState): Uint8Array {
    if (!this.takes(callee)) return NOTHING
    const out = new Writer(24)
    const frame = this.#frameForCallers(callee)
    if (this.plan.reaches[callee] !== 1) {
      // It takes a budget only because it stands in a table, and its caller may have none.
      out.raw(Uint8Array.of(CODE.i32Const, 0))
      return out.done()
    }
    if (frame > path.bytesLeft) {
      this.#less(out, left, frame)
      out.raw(Uint8Array.of(CODE.i32Const, 0, CODE.i32LessSigned))
      this.#trap(out)
      path.bytesLeft = frame
    }
    this.#less(out, left, frame)
    return out.done()
  }

  /** What `left` has less these bytes, onto the stack. */
  #less(out: Writer, left: number, bytes: number): void {
    out.u8(CODE.localGet)
    out.u32(left)
    if (bytes === 0) return
    out.u8(CODE.i32Const)
    out.raw(signedBytes(bytes))
    out.u8(CODE.i32Subtract)
  }

  #trap(out: Writer): void {
    out.raw(Uint8Array.of(CODE.if, EMPTY_BLOCK))
    out.raw(this.#overflow)
    out.u8(CODE.end)
  }

  /** Bytes that callers take for a function. */
  #frameForCallers(index: number): number {
    const counted = this.#survey.stack.counted[index] === 1
    return counted && this.plan.selfCounting[index] !== 1 ? this.#frame(index) : 0
  }

  /** One more than there is stands for whatever is larger. */
  #frame(index: number): number {
    const { module, stack } = this.#survey
    return Math.min(stack.frames[index - module.importedFunctions] ?? 0, this.#stackBytes + 1)
  }
}
