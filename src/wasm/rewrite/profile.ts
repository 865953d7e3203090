/** One pass over all bodies: whom each function calls, and how much stack a call of it takes. */

import { InstructionCursor } from '../instructions.ts'
import { MODULE_LIMITS } from '../limits.ts'
import type { Body, FunctionType, WasmModule } from '../module.ts'
import { functionType } from '../module.ts'
import { OPCODE } from '../opcodes.ts'
import { Reader } from '../reader.ts'
import { leavesTraces } from './clean-state.ts'
import { stackChange } from './stack-effects.ts'
import { takesLong } from './stop-points.ts'

/** The byte of v128. */
const VECTOR = 0x7b

export interface FunctionProfile {
  /** Functions called directly, each once, and how many instructions call each. */
  readonly calls: readonly number[]
  readonly sites: readonly number[]
  /** Of those functions, the ones that are called from within a loop. */
  readonly calledInLoops: ReadonlySet<number>
  /** Instructions that call through a table. */
  readonly indirectCalls: number
  readonly instructions: number
  /** Whether it has a loop. */
  readonly loops: boolean
  /** Whether it names a function as a value (`ref.func`). */
  readonly refers: boolean
  /** Whether it has operations that may take long (`stop-points.ts`). */
  readonly long: boolean
  /** Whether one of those is `memory.grow`. */
  readonly grows: boolean
  /** Whether it changes what setting an instance back does not reach (`clean-state.ts`). */
  readonly leavesTraces: boolean
  /** Parameters, locals (two for each vector) and the most operands it has on the stack at once. */
  readonly cells: number
}

/** Profiles of the functions that have bodies, in their order. Adds functions named by `ref.func` to `referenced`. */
export function profileBodies(module: WasmModule, referenced: Set<number>): FunctionProfile[] {
  const heights = new HeightTracker(module)
  return module.bodies.map((body, at) => {
    const type = functionType(module, module.importedFunctions + at)
    return profileBody(module, body, type, heights, referenced)
  })
}

function profileBody(
  module: WasmModule,
  body: Body,
  type: FunctionType,
  heights: HeightTracker,
  referenced: Set<number>,
): FunctionProfile {
  const calls = new Map<number, number>()
  const calledInLoops = new Set<number>()
  let indirectCalls = 0
  let instructions = 0
  let long = false
  let grows = false
  let traces = false
  let loops = false
  let refers = false
  const locals = countLocals(module, body)
  const reader = new Reader(module.bytes, body.code, body.end, 'a function')
  const cursor = new InstructionCursor(module, reader)
  cursor.begin(type, locals.declared)
  heights.begin(type)
  while (cursor.next()) {
    instructions += 1
    if (cursor.opcode === OPCODE.call) {
      calls.set(cursor.immediate, (calls.get(cursor.immediate) ?? 0) + 1)
      if (heights.loops > 0) calledInLoops.add(cursor.immediate)
    } else if (cursor.opcode === OPCODE.callIndirect) indirectCalls += 1
    else if (cursor.opcode === OPCODE.loop) loops = true
    else if (cursor.opcode === OPCODE.refFunc) {
      referenced.add(cursor.immediate)
      refers = true
    } else if (takesLong(cursor.opcode)) long = true
    if (cursor.opcode === OPCODE.memoryGrow) grows = true
    if (leavesTraces(cursor.opcode)) traces = true
    heights.step(cursor)
  }
  const cells = type.params.length + locals.cells + heights.highest
  const sites = [...calls.values()]
  return {
    calls: [...calls.keys()],
    sites,
    calledInLoops,
    indirectCalls,
    instructions,
    loops,
    refers,
    long,
    grows,
    leavesTraces: traces,
    cells,
  }
}

/** The locals that a body declares, parameters not counted, and their cells. It was decoded before, so nothing is checked. */
export function countLocals(module: WasmModule, body: Body): { declared: number; cells: number } {
  const reader = new Reader(module.bytes, body.start, body.code, 'locals')
  let declared = 0
  let cells = 0
  for (let groups = reader.u32(); groups > 0; groups -= 1) {
    const count = reader.u32()
    declared += count
    cells += reader.u8() === VECTOR ? 2 * count : count
  }
  return { declared, cells }
}

/** Follows the operand stack's height through one body. Types do not matter for it, only how many. */
class HeightTracker {
  readonly #module: WasmModule
  /** Of each open block: the height below its parameters, and how many results it leaves. */
  readonly #bases = new Int32Array(MODULE_LIMITS.nestingMax + 1)
  readonly #results = new Int32Array(MODULE_LIMITS.nestingMax + 1)
  readonly #params = new Int32Array(MODULE_LIMITS.nestingMax + 1)
  readonly #isLoop = new Uint8Array(MODULE_LIMITS.nestingMax + 1)
  #height = 0
  /** Blocks open before the instruction that is looked at. */
  #depth = 0
  highest = 0
  /** How many of those are loops. */
  loops = 0

  constructor(module: WasmModule) {
    this.#module = module
  }

  begin(type: FunctionType): void {
    this.#height = 0
    this.#depth = 0
    this.loops = 0
    this.highest = type.results.length
  }

  step(cursor: InstructionCursor): void {
    switch (cursor.opcode) {
      case OPCODE.block:
      case OPCODE.loop:
      case OPCODE.if:
        this.#open(cursor)
        break
      case OPCODE.else:
        this.#height = (this.#bases[cursor.depth] ?? 0) + (this.#params[cursor.depth] ?? 0)
        break
      case OPCODE.end:
        // The last end closes the function itself; nothing follows it.
        if (this.#depth === 0) return
        this.loops -= this.#isLoop[this.#depth] ?? 0
        this.#height = (this.#bases[this.#depth] ?? 0) + (this.#results[this.#depth] ?? 0)
        break
      case OPCODE.call:
        this.#apply(functionType(this.#module, cursor.immediate), 0)
        break
      case OPCODE.callIndirect:
        this.#apply(this.#module.types[cursor.immediate], 1)
        break
      case OPCODE.branchIf:
        this.#height -= 1
        break
      default:
        // After a branch the stack may be anything until the block ends; counting on is harmless, its end sets it right.
        this.#height += stackChange(cursor.opcode)
    }
    this.#depth = cursor.depth
    this.highest = Math.max(this.highest, this.#height)
  }

  #open(cursor: InstructionCursor): void {
    if (cursor.opcode === OPCODE.if) this.#height -= 1
    const byte = this.#module.bytes[cursor.start + 1] ?? 0x40
    let params = 0
    let results = byte === 0x40 ? 0 : 1
    // Single bytes from 0x40 to 0x7f are the short forms; everything else is the index of a type.
    if (byte < 0x40 || byte >= 0x80) {
      const type = this.#module.types[cursor.immediate]
      params = type?.params.length ?? 0
      results = type?.results.length ?? 0
    }
    const isLoop = cursor.opcode === OPCODE.loop ? 1 : 0
    this.#isLoop[cursor.depth] = isLoop
    this.loops += isLoop
    this.#bases[cursor.depth] = Math.max(this.#height - params, 0)
    this.#params[cursor.depth] = params
    this.#results[cursor.depth] = results
  }

  #apply(type: FunctionType | undefined, extra: number): void {
    if (type !== undefined) this.#height += type.results.length - type.params.length - extra
  }
}
