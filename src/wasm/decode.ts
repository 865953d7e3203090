/** Decoding of a whole module: header, then the sections in their order, each read to its exact end. */

import { readCode } from './code.ts'
import { readFunctions, readGlobals, readMemories, readTables, readTypes } from './declarations.ts'
import { readExports, readImports, readStart } from './externs.ts'
import { MODULE_LIMITS, REWRITTEN_LIMITS, type ModuleLimits } from './limits.ts'
import type { WasmModule } from './module.ts'
import { emptyModule } from './module.ts'
import { atMost, hex, invalid, proposal, unsupported } from './problem.ts'
import { Reader } from './reader.ts'
import { readDataSegments, readElements } from './segments.ts'

/** The eight bytes every module begins with: `\0asm`, version 1. */
export const HEADER = Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00)

export const SECTION = {
  custom: 0,
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  memory: 5,
  global: 6,
  export: 7,
  start: 8,
  element: 9,
  code: 10,
  data: 11,
  dataCount: 12,
} as const
const TAG_SECTION = 13

interface SectionRule {
  readonly id: number
  readonly name: string
  /** Reads the items of a vector; null for sections that are no vectors. */
  readonly read: ((reader: Reader, module: WasmModule, count: number) => void) | null
  /** How many items, or which of the module's limits says it. */
  readonly limit: number | keyof ModuleLimits
}

/** Sections in the order the specification demands. Code comes after all that its instructions can name. */
const SECTION_RULES: readonly SectionRule[] = [
  { id: SECTION.type, name: 'types', read: readTypes, limit: 'typesMax' },
  { id: SECTION.import, name: 'imports', read: readImports, limit: 'importsMax' },
  {
    id: SECTION.function,
    name: 'functions',
    read: readFunctions,
    limit: 'functionsMax',
  },
  { id: SECTION.table, name: 'tables', read: readTables, limit: 'tablesMax' },
  // No limit of its own: the second memory is refused as multi-memory.
  { id: SECTION.memory, name: 'memories', read: readMemories, limit: 2 ** 32 },
  { id: SECTION.global, name: 'globals', read: readGlobals, limit: 'globalsMax' },
  { id: SECTION.export, name: 'exports', read: readExports, limit: 'exportsMax' },
  { id: SECTION.start, name: 'start', read: null, limit: 1 },
  {
    id: SECTION.element,
    name: 'element segments',
    read: readElements,
    limit: 'elementSegmentsMax',
  },
  { id: SECTION.dataCount, name: 'data count', read: null, limit: 'dataSegmentsMax' },
  { id: SECTION.code, name: 'function bodies', read: readCode, limit: 'functionsMax' },
  {
    id: SECTION.data,
    name: 'data segments',
    read: readDataSegments,
    limit: 'dataSegmentsMax',
  },
]

/** Sections that may stand before what follows the memories. */
const DECLARING: readonly number[] = [
  SECTION.custom,
  SECTION.type,
  SECTION.import,
  SECTION.function,
  SECTION.table,
  SECTION.memory,
]

/**
 * Decodes a module. Linear in its bytes, without recursion.
 * Throws EdgefnError `module_invalid` (breaks the specification) or `module_unsupported` (a limit or a proposal left off).
 */
export function decodeModule(bytes: Uint8Array): WasmModule {
  const module = emptyModule(bytes)
  decodeInto(module)
  return module
}

/** As `decodeModule`, into a module made by `emptyModule`, which keeps what was read before an error. */
export function decodeInto(module: WasmModule): void {
  const { bytes } = module
  if (bytes.length > MODULE_LIMITS.moduleBytesMax) {
    throw unsupported(
      `The module has ${bytes.length} bytes; the limit is ${MODULE_LIMITS.moduleBytesMax}.`,
    )
  }
  checkHeader(bytes)
  const reader = new Reader(bytes, HEADER.length, bytes.length, 'module')
  let order = -1
  while (reader.left > 0) order = readSection(reader, module, order)
  checkWhole(module)
}

/**
 * Decodes no more of a module than its types, imports, functions' types, tables and memories. For bytes that were checked
 * before, and may have been rewritten since, when they are loaded: what the compiler makes of a module has megabytes of native
 * code behind it.
 */
export function decodeDeclarations(bytes: Uint8Array): WasmModule {
  const module = emptyModule(bytes, REWRITTEN_LIMITS)
  checkHeader(bytes)
  const reader = new Reader(bytes, HEADER.length, bytes.length, 'module')
  let order = -1
  while (reader.left > 0 && DECLARING.includes(bytes[reader.at] ?? 0)) {
    order = readSection(reader, module, order)
  }
  return module
}

function checkHeader(bytes: Uint8Array): void {
  const magic = HEADER.subarray(0, 4)
  if (!magic.every((byte, i) => bytes[i] === byte)) throw invalid(notWasm(bytes))
  if (bytes.length < HEADER.length) {
    throw invalid(`The module ends after ${bytes.length} bytes, inside its header.`)
  }
  const version = (bytes[4] as number) | ((bytes[5] as number) << 8)
  const layer = (bytes[6] as number) | ((bytes[7] as number) << 8)
  if (layer === 1) {
    throw unsupported(
      'The file is a WebAssembly component, not a core module; build it with --target wasm32-wasip1.',
    )
  }
  if (layer !== 0 || version !== 1) {
    throw invalid(
      `The module has version ${version}, layer ${layer}; edgefn runs version 1, layer 0.`,
    )
  }
}

function notWasm(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'The module is empty.'
  const head = String.fromCharCode(...bytes.subarray(0, 64))
  const hint = /^\s*(\(module|;;)/.test(head)
    ? '; it looks like WAT text, convert it with wat2wasm'
    : ''
  const shown = [...bytes.subarray(0, 4)]
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join(' ')
  return `The bytes are not a WebAssembly module: they begin with ${shown} instead of 00 61 73 6d${hint}.`
}

/** Reads one section; `order` is the place of the last non-custom one, and the new place is returned. */
function readSection(reader: Reader, module: WasmModule, order: number): number {
  const id = reader.u8()
  const size = reader.u32()
  if (size > reader.left) {
    throw reader.malformed(`Section ${id} announces ${size} bytes, ${reader.left} are left`)
  }
  const content = new Reader(reader.bytes, reader.at, reader.at + size, `section ${id}`)
  reader.at += size
  if (id === SECTION.custom) {
    readCustom(content, module)
    return order
  }
  if (id === TAG_SECTION) throw proposal('exception handling', 'a tag section')
  const place = SECTION_RULES.findIndex((rule) => rule.id === id)
  const rule = SECTION_RULES[place]
  if (rule === undefined) throw content.malformed(`Section ${hex(id)} is unknown`)
  content.what = `section "${rule.name}"`
  if (place === order) throw content.malformed('The section is there twice')
  if (place < order) throw content.malformed('The section comes too late')
  readContent(content, module, rule)
  content.finish()
  return place
}

function readContent(reader: Reader, module: WasmModule, rule: SectionRule): void {
  const limit = typeof rule.limit === 'number' ? rule.limit : module.limits[rule.limit]
  if (rule.id === SECTION.start) {
    readStart(reader, module)
  } else if (rule.id === SECTION.dataCount) {
    module.dataCount = reader.u32()
    atMost(module.dataCount, limit, 'data segments')
  }
  const count = rule.read === null ? 0 : reader.count(limit, rule.name)
  const start = reader.at
  rule.read?.(reader, module, count)
  module.sections.push({ id: rule.id, count, start, end: reader.end })
}

function readCustom(reader: Reader, module: WasmModule): void {
  reader.what = 'custom section'
  const name = reader.name()
  module.customSections.push({ name, size: reader.left })
  atMost(module.customSections.length, MODULE_LIMITS.customSectionsMax, 'custom sections')
}

/** What can only be said when all sections are read. */
function checkWhole(module: WasmModule): void {
  const declared = module.functions.length - module.importedFunctions
  if (declared !== module.bodies.length) {
    throw invalid(`${declared} functions are declared, ${module.bodies.length} have a body.`)
  }
  if (module.dataCount !== null && module.dataCount !== module.dataSegments) {
    throw invalid(
      `The data count section announces ${module.dataCount} segments, there are ${module.dataSegments}.`,
    )
  }
}
