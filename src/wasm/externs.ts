/** Sections that face outwards: imports, exports, start. */

import {
  addMemory,
  addTable,
  readGlobalType,
  readMemory,
  readTable,
  readTypeIndex,
} from './declarations.ts'
import type { ExternKind, WasmModule } from './module.ts'
import { EXTERN_KINDS, functionType } from './module.ts'
import { hex, proposal, quoted } from './problem.ts'
import type { Reader } from './reader.ts'

const TAG_KIND = 0x04

export function readImports(reader: Reader, module: WasmModule, count: number): void {
  for (let i = 0; i < count; i++) {
    const from = reader.name()
    const name = reader.name()
    const kind = readKind(reader)
    const index = addImported(reader, module, kind)
    module.imports.push({ module: from, name, kind, index })
  }
  module.importedFunctions = module.functions.length
  module.importedGlobals = module.globals.length
}

/** Adds what is imported to its index space and returns its index there. */
function addImported(reader: Reader, module: WasmModule, kind: ExternKind): number {
  switch (kind) {
    case 'function':
      return module.functions.push(readTypeIndex(reader, module)) - 1
    case 'table':
      addTable(module, readTable(reader))
      return module.tables.length - 1
    case 'memory':
      addMemory(module, readMemory(reader))
      return module.memories.length - 1
    case 'global':
      return module.globals.push(readGlobalType(reader)) - 1
  }
}

function readKind(reader: Reader): ExternKind {
  const byte = reader.u8()
  const kind = EXTERN_KINDS[byte]
  if (kind !== undefined) return kind
  if (byte === TAG_KIND) throw proposal('exception handling', `${reader.what}, a tag`)
  throw reader.malformed(`The kind ${hex(byte)} of an import or export is unknown`)
}

export function readExports(reader: Reader, module: WasmModule, count: number): void {
  const spaces = {
    function: module.functions,
    table: module.tables,
    memory: module.memories,
    global: module.globals,
  }
  const names = new Set<string>()
  for (let i = 0; i < count; i++) {
    const name = reader.name()
    if (names.has(name)) throw reader.malformed(`The name ${quoted(name)} is exported twice`)
    names.add(name)
    const kind = readKind(reader)
    const index = reader.u32()
    const space = spaces[kind].length
    if (index >= space) {
      throw reader.malformed(`Export ${quoted(name)} names ${kind} ${index}; there are ${space}`)
    }
    module.exports.push({ name, kind, index })
  }
}

export function readStart(reader: Reader, module: WasmModule): void {
  const index = reader.u32()
  if (index >= module.functions.length) {
    throw reader.malformed(`The start function is ${index}; there are ${module.functions.length}`)
  }
  const type = functionType(module, index)
  if (type.params.length + type.results.length > 0) {
    throw reader.malformed(`The start function ${index} has parameters or results`)
  }
  module.start = index
}
