/** Bodies as the compiler gets them. Functions that need nothing are copied as they are. */

import { unsignedBytes } from '../encode.ts'
import { functionType } from '../module.ts'
import { OPCODE } from '../opcodes.ts'
import { Reader } from '../reader.ts'
import type { Appendix } from './appendix.ts'
import { BodyCopy } from './body-copy.ts'
import type { StackBudget } from './budget.ts'
import { alongCycle } from './call-graph.ts'
import { branchToExit, closeExit, openExit } from './exit.ts'
import type { GrowthNote } from './growth.ts'
import { copySafely } from './interpreted-bodies.ts'
import { PathState } from './path-state.ts'
import type { PollPlan } from './poll-plan.ts'
import { RECURSION } from './poll-plan.ts'
import { takesLong } from './stop-points.ts'
import type { Survey } from './survey.ts'
import type { Trampolines } from './trampolines.ts'

const CODE = { localGet: 0x20, localSet: 0x21, localTee: 0x22 } as const
const NOTHING = new Uint8Array(0)

export interface CompiledAdditions {
  readonly appendix: Appendix
  /** Null when no function is counted. */
  readonly budget: StackBudget | null
  /** Null when no function grows the memory. */
  readonly growth: GrowthNote | null
  readonly trampolines: Trampolines
  readonly polls: PollPlan
  /** In loops and recursion; nothing where the engine stops these itself. */
  readonly poll: Uint8Array
  /** Before what takes long, and at the calls of heavy functions. */
  readonly stopPoint: Uint8Array
}

export class CompiledBodies {
  readonly #survey: Survey
  readonly #additions: CompiledAdditions
  readonly #path = new PathState()

  constructor(survey: Survey, additions: CompiledAdditions) {
    this.#survey = survey
    this.#additions = additions
  }

  /** All bodies in their order, sizes not included. */
  *all(): Generator<Uint8Array> {
    const { bytes, bodies } = this.#survey.module
    for (const [at, { start, end }] of bodies.entries()) {
      yield this.#needsWalk(at) ? this.#rewrite(at) : bytes.subarray(start, end)
    }
  }

  #needsWalk(at: number): boolean {
    const { module, profiles, graph } = this.#survey
    const { budget, trampolines, polls } = this.#additions
    const index = module.importedFunctions + at
    const profile = profiles[at]
    if (profile === undefined) throw new Error(`Body ${at} has no profile.`)
    if (profile.long || profile.loops || polls.heavy[at] === 1) return true
    if (profile.refers && trampolines.needed) return true
    if (graph.recursive[index] === 1 || budget?.takes(index) === true) return true
    // A function without a budget may call one that has it only because the table may hold it.
    return budget !== null && profile.calls.some((callee) => budget.takes(callee))
  }

  #rewrite(at: number): Uint8Array {
    const { appendix, budget, polls, poll } = this.#additions
    const { module, profiles } = this.#survey
    const index = module.importedFunctions + at
    const type = functionType(module, index)
    const copy = new BodyCopy(module, at)
    const takes = budget?.takes(index) === true
    const throughTable = budget?.throughTable === true && (profiles[at]?.indirectCalls ?? 0) > 0
    const exits = polls.slowReturn[at] === 1 && poll.length > 0
    const body: BodyInHand = {
      at,
      index,
      copy,
      exits,
      // The budget is the last parameter, hence the locals behind it have moved by one.
      left: type.params.length,
      takes,
      spare: type.params.length + 1 + copy.declared,
    }
    this.#path.begin()
    copy.begin(throughTable ? 1 : 0)
    if (polls.recursion[at] === RECURSION.onEntry) {
      copy.put(poll)
      this.#path.polled = true
    }
    if (takes) copy.put(budget.prologue(index, body.left))
    if (exits) copy.put(openExit(appendix, type))
    while (copy.next()) this.#instruction(body)
    return copy.done(exits ? closeExit(poll) : NOTHING)
  }

  #instruction(body: BodyInHand): void {
    const { poll, stopPoint, growth, trampolines } = this.#additions
    const { copy } = body
    const { opcode, depth, immediate } = copy.cursor
    this.#path.step(opcode, depth)
    if (takesLong(opcode)) copySafely(copy, stopPoint, growth)
    else if (opcode === OPCODE.call) this.#call(body)
    else if (opcode === OPCODE.callIndirect) this.#callIndirect(body)
    else if (opcode === OPCODE.loop) {
      copy.after(poll)
      this.#path.polled = true
    } else if (opcode === OPCODE.return && body.exits) copy.instead(branchToExit(depth))
    else if (opcode === OPCODE.refFunc) copy.instead(trampolines.reference(immediate))
    else if (opcode >= CODE.localGet && opcode <= CODE.localTee) {
      if (body.takes && immediate >= body.left) {
        copy.instead(Uint8Array.of(opcode, ...unsignedBytes(immediate + 1)))
      }
    }
  }

  #call(body: BodyInHand): void {
    const callee = body.copy.cursor.immediate
    this.#poll(body, callee)
    const { budget } = this.#additions
    if (budget !== null) body.copy.before(budget.argument(callee, body.left, this.#path))
  }

  /** The budget goes behind the arguments, where the table's index stands already. */
  #callIndirect(body: BodyInHand): void {
    const { copy, left, spare } = body
    const { module } = this.#survey
    this.#poll(body, module.functions.length)
    const { budget } = this.#additions
    if (budget === null || !budget.throughTable) return
    const reader = new Reader(module.bytes, copy.cursor.start + 1, module.bytes.length, 'a call')
    const type = unsignedBytes(budget.typeWithBudget(reader.u32()))
    const table = unsignedBytes(reader.u32())
    const local = unsignedBytes(spare)
    const pass = [CODE.localSet, ...local, CODE.localGet, ...unsignedBytes(left)]
    const call = [CODE.localGet, ...local, OPCODE.callIndirect, ...type, ...table]
    copy.instead(Uint8Array.of(...pass, ...call))
  }

  /** Before a call: where the function is heavy, and where the call leads along its cycle and no poll has been passed yet. */
  #poll({ at, index, copy }: BodyInHand, callee: number): void {
    const { polls, poll, stopPoint } = this.#additions
    if (polls.heavy[at] === 1) copy.before(stopPoint)
    else if (this.#path.polled || !alongCycle(this.#survey.graph, index, callee)) return
    else copy.before(poll)
    this.#path.polled = true
  }
}

interface BodyInHand {
  readonly at: number
  readonly index: number
  readonly copy: BodyCopy
  /** Whether it polls on its way out. */
  readonly exits: boolean
  /** The local that holds the budget, where it has one. */
  readonly left: number
  readonly takes: boolean
  /** A local of ours, for the index of a call through the table. */
  readonly spare: number
}
