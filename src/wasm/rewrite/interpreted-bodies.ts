/** Bodies as the interpreter gets them. Functions that need nothing are copied as they are. */

import { functionType } from '../module.ts'
import { OPCODE } from '../opcodes.ts'
import type { Appendix } from './appendix.ts'
import { BodyCopy } from './body-copy.ts'
import type { DepthCounter } from './depth.ts'
import { branchToExit, closeExit, openExit } from './exit.ts'
import type { GrowthNote } from './growth.ts'
import { STOP_POINT, takesLong } from './stop-points.ts'
import type { Survey } from './survey.ts'

const NOTHING = new Uint8Array(0)

export interface InterpretedAdditions {
  readonly appendix: Appendix
  /** Null when no function is counted. */
  readonly counter: DepthCounter | null
  /** Null when no function grows the memory. */
  readonly growth: GrowthNote | null
}

/** All bodies in their order, sizes not included. */
export function* interpretedBodies(
  survey: Survey,
  additions: InterpretedAdditions,
): Generator<Uint8Array> {
  const { module, profiles, stack } = survey
  for (const [at, { start, end }] of module.bodies.entries()) {
    const counted = stack.counted[module.importedFunctions + at] === 1
    const changes = counted || profiles[at]?.long === true
    yield changes ? interpretedBody(survey, at, additions) : module.bytes.subarray(start, end)
  }
}

function interpretedBody(survey: Survey, at: number, additions: InterpretedAdditions): Uint8Array {
  const { module, stack } = survey
  const { appendix, growth } = additions
  const index = module.importedFunctions + at
  const counter = stack.counted[index] === 1 ? additions.counter : null
  const type = functionType(module, index)
  const copy = new BodyCopy(module, at)
  const saved = type.params.length + copy.declared
  copy.begin(counter === null ? 0 : 1)
  if (counter !== null) {
    copy.put(counter.prologue(stack.frames[at] ?? 0, saved))
    copy.put(openExit(appendix, type))
  }
  while (copy.next()) {
    const { opcode, depth } = copy.cursor
    if (takesLong(opcode)) copySafely(copy, STOP_POINT, growth)
    else if (counter !== null && opcode === OPCODE.return) copy.instead(branchToExit(depth))
  }
  if (counter === null) return copy.done(NOTHING)
  // What deep recursion does on its way back may be a lot and need no branch.
  return copy.done(closeExit(Uint8Array.of(...counter.epilogue(saved), ...STOP_POINT)))
}

/** An operation that may take long, behind a stop point, its answer noted where that is wanted. */
export function copySafely(copy: BodyCopy, stopPoint: Uint8Array, growth: GrowthNote | null): void {
  copy.before(stopPoint)
  if (growth !== null && copy.cursor.opcode === OPCODE.memoryGrow) copy.after(growth.note)
}
