/** A module's sections written again with some of them changed; those that were not there come to stand in their place. */

import { HEADER, SECTION } from '../decode.ts'
import { Writer } from '../encode.ts'
import type { WasmModule } from '../module.ts'

/** Items added behind those of a vector, or the whole content of a section; null leaves the section out. */
export type SectionChange =
  { readonly added: number; readonly bytes: Uint8Array } | { readonly replaced: Uint8Array | null }

/** Ids in the order the specification demands. */
const ORDER = [
  SECTION.type,
  SECTION.import,
  SECTION.function,
  SECTION.table,
  SECTION.memory,
  SECTION.global,
  SECTION.export,
  SECTION.start,
  SECTION.element,
  SECTION.dataCount,
  SECTION.code,
  SECTION.data,
]

/** Encodes a decoded, normalised module with `changes` by section id. Custom sections are left out. */
export function encodeModule(
  module: WasmModule,
  changes: Readonly<Record<number, SectionChange>>,
): Uint8Array<ArrayBuffer> {
  const out = new Writer(module.bytes.length + 1024)
  out.raw(HEADER)
  for (const id of ORDER) {
    const content = sectionContent(module, id, changes[id])
    if (content !== null) out.section(id, content)
  }
  return out.done()
}

function sectionContent(
  module: WasmModule,
  id: number,
  change: SectionChange | undefined,
): Uint8Array | null {
  if (change !== undefined && 'replaced' in change) return change.replaced
  const section = module.sections.find((each) => each.id === id)
  const content = new Writer(64)
  // The start section and the data count are single numbers, not vectors.
  if (id === SECTION.start || id === SECTION.dataCount) {
    const number = id === SECTION.start ? module.start : module.dataCount
    if (section === undefined || number === null) return null
    content.u32(number)
    return content.done()
  }
  const count = (section?.count ?? 0) + (change?.added ?? 0)
  if (count === 0) return null
  content.u32(count)
  if (section !== undefined) content.raw(module.bytes.subarray(section.start, section.end))
  if (change !== undefined) content.raw(change.bytes)
  return content.done()
}
