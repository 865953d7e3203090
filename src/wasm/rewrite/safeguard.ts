/** The rewriting of a module before the engine gets it: depth counted where it can recurse, stop points where it needs them. */

import { SECTION } from '../decode.ts'
import { Writer } from '../encode.ts'
import { InstructionCursor } from '../instructions.ts'
import type { Body, WasmModule } from '../module.ts'
import { functionType } from '../module.ts'
import { OPCODE } from '../opcodes.ts'
import { Reader } from '../reader.ts'
import { findRecursive } from './call-graph.ts'
import { DepthCounter } from './depth.ts'
import type { FunctionProfile } from './profile.ts'
import { countLocals, profileBodies } from './profile.ts'
import { encodeModule } from './sections.ts'
import { STOP_POINT, takesLong } from './stop-points.ts'

/**
 * The module so that neither its recursion nor its long operations can get the better of the host, or null when it can do
 * neither and is to be run as it is. `cells` is what recursion may take (`depth.ts`). Functions that need nothing are
 * copied as they are. `module` is a normalised one.
 */
export function safeguardModule(module: WasmModule, cells: number): Uint8Array<ArrayBuffer> | null {
  const referenced = new Set(module.referenced)
  const profiles = profileBodies(module, referenced)
  const recursive = findRecursive(module, profiles, referenced)
  const recurses = recursive.subarray(0, module.functions.length).includes(1)
  if (!recurses && !profiles.some((profile) => profile.long)) return null
  const counter = recurses ? new DepthCounter(module, cells) : null
  const code = new Writer(module.bytes.length)
  code.u32(module.bodies.length + (counter === null ? 0 : 1))
  for (const [at, body] of module.bodies.entries()) {
    const profile = profiles[at]
    if (profile === undefined) throw new Error(`Body ${at} has no profile.`)
    const counted = recursive[module.importedFunctions + at] === 1
    writeSized(code, rewriteBody(module, at, body, profile, counted ? counter : null))
  }
  if (counter !== null) writeSized(code, counter.getter())
  return encodeModule(module, {
    ...counter?.changes(),
    [SECTION.code]: { replaced: code.done() },
  })
}

/** One body, its size not included; with depth counted when there is a counter for it. */
function rewriteBody(
  module: WasmModule,
  at: number,
  body: Body,
  profile: FunctionProfile,
  counter: DepthCounter | null,
): Uint8Array {
  if (counter === null && !profile.long) return module.bytes.subarray(body.start, body.end)
  const type = functionType(module, module.importedFunctions + at)
  const reader = new Reader(module.bytes, body.code, body.end, 'a function')
  const cursor = new InstructionCursor(module, reader)
  cursor.begin(type, countLocals(module, body))
  const out = new Writer(body.end - body.start + 64)
  out.raw(module.bytes.subarray(body.start, body.code))
  if (counter !== null) out.raw(counter.prologue(type, profile.cells))
  let copied = body.code
  while (cursor.next()) {
    if (takesLong(cursor.opcode)) {
      out.raw(module.bytes.subarray(copied, cursor.start))
      out.raw(STOP_POINT)
      copied = cursor.start
    } else if (counter !== null && cursor.opcode === OPCODE.return) {
      // The cells are given back at the end only, so it must be passed: a branch to the outermost block leads there.
      out.raw(module.bytes.subarray(copied, cursor.start))
      out.u8(OPCODE.branch)
      out.u32(cursor.depth)
      copied = reader.at
    }
  }
  out.raw(module.bytes.subarray(copied, body.end))
  if (counter !== null) out.raw(counter.epilogue(profile.cells))
  return out.done()
}

function writeSized(out: Writer, bytes: Uint8Array): void {
  out.u32(bytes.length)
  out.raw(bytes)
}
