/** The module as edgefn stores it: the checked sections re-encoded, nothing that was not read. */

import { HEADER, SECTION } from './decode.ts'
import { Writer } from './encode.ts'
import { MODULE_LIMITS } from './limits.ts'
import type { Section, Table, WasmModule } from './module.ts'
import { VALUE_TYPES } from './module.ts'

/**
 * Re-encodes a completely decoded module. Custom sections go: the engine runs native code found in one (RELIABILITY finding
 * 1), and none has a meaning for a guest. Empty vectors go, sizes and counts get their shortest form, every table gets a
 * maximum. Idempotent: its output, decoded and normalised again, is the same bytes.
 */
export function normaliseModule(module: WasmModule): Uint8Array<ArrayBuffer> {
  const out = new Writer(module.bytes.length + 16)
  out.raw(HEADER)
  for (const section of module.sections) {
    const vector = section.id !== SECTION.start && section.id !== SECTION.dataCount
    if (vector && section.count === 0) continue
    out.section(section.id, sectionContent(module, section))
  }
  return out.done()
}

function sectionContent(module: WasmModule, section: Section): Uint8Array {
  const content = new Writer(section.end - section.start + 16)
  switch (section.id) {
    case SECTION.start:
      content.u32(module.start ?? 0)
      break
    case SECTION.dataCount:
      content.u32(module.dataCount ?? 0)
      break
    case SECTION.table:
      writeTables(content, module, section.count)
      break
    case SECTION.code:
      writeBodies(content, module)
      break
    default:
      content.u32(section.count)
      content.raw(module.bytes.subarray(section.start, section.end))
  }
  return content.done()
}

/**
 * Tables that are not imported are the last `count` ones. A maximum that is absent or over `tableElementsMax` is lowered to it rather than
 * refused: most toolchains name none or a huge one, and never grow the table. table.grow may fail at any time by the
 * specification, so a guest sees the -1 it had to expect; the engine would give 64 GiB instead.
 */
function writeTables(out: Writer, module: WasmModule, count: number): void {
  out.u32(count)
  for (const table of module.tables.slice(module.tables.length - count)) {
    out.u8(referenceTypeByte(table))
    out.u8(0x01)
    out.u32(table.min)
    out.u32(Math.min(table.max ?? Infinity, MODULE_LIMITS.tableElementsMax))
  }
}

function referenceTypeByte(table: Table): number {
  for (const [byte, type] of VALUE_TYPES) {
    if (type === table.element) return byte
  }
  throw new Error(`Type ${table.element} has no byte.`)
}

function writeBodies(out: Writer, module: WasmModule): void {
  out.u32(module.bodies.length)
  for (const body of module.bodies) {
    out.u32(body.end - body.start)
    out.raw(module.bytes.subarray(body.start, body.end))
  }
}
