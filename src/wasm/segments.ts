/** Element and data segments: what tables and memory start with. */

import { readConstant, readFunctionIndex } from './constant.ts'
import { MODULE_LIMITS } from './limits.ts'
import type { ReferenceType, WasmModule } from './module.ts'
import { hex, proposal, unsupported } from './problem.ts'
import type { Reader } from './reader.ts'
import { readReferenceType } from './value-types.ts'

/** Bits of an element segment's flags. */
const PASSIVE_OR_DECLARED = 1
const EXPLICIT = 2
const EXPRESSIONS = 4

export function readElements(reader: Reader, module: WasmModule, count: number): void {
  let items = 0
  for (let i = 0; i < count; i++) {
    items += readElementSegment(reader, module)
    if (items > MODULE_LIMITS.elementItemsMax) {
      throw unsupported(
        `The element segments have over ${MODULE_LIMITS.elementItemsMax} items; that is the limit.`,
      )
    }
  }
  module.elementSegments = count
}

/** Reads one segment and returns how many items it has. */
function readElementSegment(reader: Reader, module: WasmModule): number {
  const flags = reader.u32()
  if (flags > 7) throw reader.malformed(`An element segment has the unknown flags ${hex(flags)}`)
  const active = (flags & PASSIVE_OR_DECLARED) === 0
  const table = active && (flags & EXPLICIT) !== 0 ? reader.u32() : 0
  if (active) readConstant(reader, module, 'i32')

  const typed = (flags & (PASSIVE_OR_DECLARED | EXPLICIT)) !== 0
  const expressions = (flags & EXPRESSIONS) !== 0
  const type = typed ? readElementType(reader, expressions) : 'funcref'
  if (active) checkTarget(reader, module, table, type)

  const count = reader.count(MODULE_LIMITS.elementItemsMax, 'element segment items')
  for (let i = 0; i < count; i++) {
    if (expressions) readConstant(reader, module, type)
    else readFunctionIndex(reader, module)
  }
  return count
}

function readElementType(reader: Reader, expressions: boolean): ReferenceType {
  if (expressions) return readReferenceType(reader)
  const kind = reader.u8()
  if (kind !== 0) throw reader.malformed(`An element segment has the unknown kind ${hex(kind)}`)
  return 'funcref'
}

function checkTarget(reader: Reader, module: WasmModule, index: number, type: ReferenceType): void {
  const table = module.tables[index]
  if (table === undefined) {
    throw reader.malformed(
      `An element segment names table ${index}; there are ${module.tables.length}`,
    )
  }
  if (table.element !== type) {
    throw reader.malformed(`An element segment of ${type} is for a table of ${table.element}`)
  }
}

export function readDataSegments(reader: Reader, module: WasmModule, count: number): void {
  for (let i = 0; i < count; i++) {
    const flags = reader.u32()
    if (flags > 2) throw reader.malformed(`A data segment has the unknown flags ${hex(flags)}`)
    if (flags === 2 && reader.u32() !== 0) throw proposal('multi-memory', reader.what)
    if (flags !== 1) {
      if (module.memories.length === 0) {
        throw reader.malformed('A data segment is for a memory; the module has none')
      }
      readConstant(reader, module, 'i32')
    }
    reader.skip(reader.u32())
  }
  module.dataSegments = count
}
