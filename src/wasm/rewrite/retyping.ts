/** The sections in which it shows that functions of compiled code have the budget of stack as one more parameter. */

import { SECTION } from '../decode.ts'
import { Writer } from '../encode.ts'
import type { WasmModule } from '../module.ts'
import { Reader } from '../reader.ts'
import { EXPORT_KIND } from './appendix.ts'
import type { StackBudget } from './budget.ts'

/** The types of all functions that the module defines, with the budget where they take it. */
export function retypedFunctions(module: WasmModule, budget: StackBudget): Uint8Array {
  const out = new Writer(2 * module.bodies.length)
  for (const [at, type] of module.functions.slice(module.importedFunctions).entries()) {
    const takes = budget.takes(module.importedFunctions + at)
    out.u32(takes ? budget.typeWithBudget(type) : type)
  }
  return out.done()
}

/** The exports, each function replaced by what the host is to call for it; null when the module has none. */
export function redirectedExports(module: WasmModule, budget: StackBudget): Uint8Array | null {
  const section = module.sections.find((each) => each.id === SECTION.export)
  if (section === undefined) return null
  const reader = new Reader(module.bytes, section.start, section.end, 'exports')
  const out = new Writer(section.end - section.start + 16)
  for (let i = 0; i < section.count; i += 1) {
    const start = reader.at
    reader.skip(reader.u32())
    const kind = reader.u8()
    out.raw(module.bytes.subarray(start, reader.at))
    const index = reader.u32()
    out.u32(kind === EXPORT_KIND.function ? budget.entry(index) : index)
  }
  return out.done()
}
