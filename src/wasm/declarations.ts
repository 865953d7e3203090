/** Sections that declare: types, functions, tables, memories, globals. Each reads the items; `decode.ts` has read the count. */

import { readConstant } from './constant.ts'
import { MODULE_LIMITS } from './limits.ts'
import type { Global, Limits, Table, WasmModule } from './module.ts'
import { atMost, hex, proposal, unsupported } from './problem.ts'
import type { Reader } from './reader.ts'
import { readLimits, readReferenceType, readTypeBytes, readValueType } from './value-types.ts'

const FUNCTION_FORM = 0x60
/** Forms of recursive groups, subtypes, structures and arrays. */
const GC_FORMS = [0x4d, 0x4e, 0x4f, 0x50, 0x5e, 0x5f]

export function readTypes(reader: Reader, module: WasmModule, count: number): void {
  let values = 0
  for (let i = 0; i < count; i++) {
    const form = reader.u8()
    if (GC_FORMS.includes(form)) {
      throw proposal('garbage collection (GC)', `type ${i} has form ${hex(form)}`)
    }
    if (form !== FUNCTION_FORM)
      throw reader.malformed(`Type ${i} has the unknown form ${hex(form)}`)
    const params = reader.count(module.limits.typeParamsMax, `parameters in type ${i}`)
    const paramBytes = readTypeBytes(reader, params)
    const results = reader.count(module.limits.typeResultsMax, `results in type ${i}`)
    module.types.push({ params: paramBytes, results: readTypeBytes(reader, results) })
    values += params + results
    atMost(values, module.limits.typeValuesMax, 'parameters and results in all its types')
  }
}

export function readFunctions(reader: Reader, module: WasmModule, count: number): void {
  atMost(module.functions.length + count, module.limits.functionsMax, 'functions')
  for (let i = 0; i < count; i++) module.functions.push(readTypeIndex(reader, module))
}

export function readTypeIndex(reader: Reader, module: WasmModule): number {
  const index = reader.u32()
  if (index >= module.types.length) {
    throw reader.malformed(`A function has type ${index}; there are ${module.types.length}`)
  }
  return index
}

export function readTables(reader: Reader, module: WasmModule, count: number): void {
  for (let i = 0; i < count; i++) addTable(module, readTable(reader))
}

export function readTable(reader: Reader): Table {
  if (reader.bytes[reader.at] === 0x40) {
    throw proposal('typed function references', 'a table with an initial value')
  }
  const element = readReferenceType(reader)
  return { element, ...readLimits(reader) }
}

/** Adds a table; over `tableElementsMax` the engine would allocate gigabytes or abort (RELIABILITY finding 2). */
export function addTable(module: WasmModule, table: Table): void {
  module.tables.push(table)
  atMost(module.tables.length, MODULE_LIMITS.tablesMax, 'tables')
  const elements = module.tables.reduce((sum, each) => sum + each.min, 0)
  if (elements > MODULE_LIMITS.tableElementsMax) {
    throw unsupported(
      `The module's tables start with ${elements} elements; the limit is ${MODULE_LIMITS.tableElementsMax}.`,
    )
  }
}

export function readMemories(reader: Reader, module: WasmModule, count: number): void {
  for (let i = 0; i < count; i++) addMemory(module, readMemory(reader))
}

export function readMemory(reader: Reader): Limits {
  const limits = readLimits(reader)
  const pages = Math.max(limits.min, limits.max ?? 0)
  if (pages > MODULE_LIMITS.memoryPagesMax) {
    throw reader.malformed(
      `A memory of ${pages} pages is declared; a 32-bit memory has at most ${MODULE_LIMITS.memoryPagesMax}`,
    )
  }
  return limits
}

export function addMemory(module: WasmModule, memory: Limits): void {
  module.memories.push(memory)
  if (module.memories.length > 1) throw proposal('multi-memory', 'more than one memory')
}

export function readGlobals(reader: Reader, module: WasmModule, count: number): void {
  atMost(module.globals.length + count, MODULE_LIMITS.globalsMax, 'globals')
  for (let i = 0; i < count; i++) {
    const global = readGlobalType(reader)
    readConstant(reader, module, global.type)
    module.globals.push(global)
  }
}

export function readGlobalType(reader: Reader): Global {
  const type = readValueType(reader)
  const mutability = reader.u8()
  if (mutability > 1)
    throw reader.malformed(`A global has the unknown mutability ${hex(mutability)}`)
  return { type, mutable: mutability === 1 }
}
