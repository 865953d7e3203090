/** The code section: every body walked to its last `end`, with its locals, nesting and indices held to limits. */

import { InstructionCursor } from './instructions.ts'
import { MODULE_LIMITS } from './limits.ts'
import type { WasmModule } from './module.ts'
import { functionType } from './module.ts'
import { PREFIX } from './opcodes.ts'
import { atMost, unsupported } from './problem.ts'
import type { Reader } from './reader.ts'
import { readValueType } from './value-types.ts'

const TABLE_GROW = (PREFIX.bulk << 8) | 15

/**
 * Reads `count` bodies. What a body is worth as stack-typed code is validated by the engine on the node, not here; here it
 * is read to its last byte, so that nothing unread is ever copied into what edgefn stores.
 */
export function readCode(reader: Reader, module: WasmModule, count: number): void {
  const declared = module.functions.length - module.importedFunctions
  if (count !== declared) {
    throw reader.malformed(`${declared} functions are declared, ${count} have a body`)
  }
  const cursor = new InstructionCursor(module, reader)
  const section = { what: reader.what, end: reader.end }
  for (let i = 0; i < count; i++) {
    const index = module.importedFunctions + i
    reader.what = `function ${index}`
    readBody(reader, module, cursor, index)
    reader.end = section.end
    atMost(cursor.instructions, MODULE_LIMITS.instructionsMax, 'instructions or more')
  }
  module.instructions = cursor.instructions
  reader.what = section.what
  checkSteps(module, cursor.steps)
}

/** Reads one body and leaves the reader behind it, its end narrowed to the body's. */
function readBody(
  reader: Reader,
  module: WasmModule,
  cursor: InstructionCursor,
  index: number,
): void {
  const size = reader.u32()
  if (size > MODULE_LIMITS.bodyBytesMax) {
    throw unsupported(
      `The body of function ${index} has ${size} bytes; the limit is ${MODULE_LIMITS.bodyBytesMax}.`,
    )
  }
  if (size > reader.left) {
    throw reader.malformed(`A body of ${size} bytes is announced, ${reader.left} are left`)
  }
  const start = reader.at
  reader.end = start + size
  const locals = readLocals(reader, index)
  const code = reader.at
  cursor.begin(functionType(module, index), locals)
  while (cursor.next()) if (cursor.opcode === TABLE_GROW) module.growsTables = true
  reader.finish()
  module.bodies.push({ start, code, end: reader.end })
}

/** Refuses a module that is made to keep the engine's validator busy. Only bytes that are stored count, hence bodies. */
function checkSteps(module: WasmModule, steps: number): void {
  const bytes = module.bodies.reduce((sum, body) => sum + body.end - body.start, 0)
  const { validationStepsFree, validationStepsPerByteMax } = MODULE_LIMITS
  const limit = validationStepsFree + validationStepsPerByteMax * bytes
  if (steps > limit) {
    throw unsupported(
      `Validating the function bodies takes ${steps} operands and locals; the limit for their ${bytes} bytes is ${limit}.`,
    )
  }
}

/** Passes over the declared locals and returns how many there are, parameters not counted. */
function readLocals(reader: Reader, index: number): number {
  let locals = 0
  const groups = reader.u32()
  for (let i = 0; i < groups; i++) {
    locals += reader.u32()
    if (locals > MODULE_LIMITS.localsMax) {
      throw unsupported(
        `Function ${index} declares ${locals} locals or more; the limit is ${MODULE_LIMITS.localsMax}.`,
      )
    }
    readValueType(reader)
  }
  return locals
}
