/** The parts of a decoded module, as far as checking, inspecting and re-encoding need them. */

import { MODULE_LIMITS, type ModuleLimits } from './limits.ts'

/** Value types by their byte in the binary format. */
export const VALUE_TYPES: ReadonlyMap<number, ValueType> = new Map([
  [0x7f, 'i32'],
  [0x7e, 'i64'],
  [0x7d, 'f32'],
  [0x7c, 'f64'],
  [0x7b, 'v128'],
  [0x70, 'funcref'],
  [0x6f, 'externref'],
])
export type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128' | ReferenceType
export type ReferenceType = 'funcref' | 'externref'

/** The bytes of the value types, as views on the module: a hostile type section must not multiply in memory. */
export interface FunctionType {
  readonly params: Uint8Array
  readonly results: Uint8Array
}

/** `max` is null where the module names none. */
export interface Limits {
  readonly min: number
  readonly max: number | null
}

export interface Table extends Limits {
  readonly element: ReferenceType
}

export interface Global {
  readonly type: ValueType
  readonly mutable: boolean
}

export const EXTERN_KINDS = ['function', 'table', 'memory', 'global'] as const
export type ExternKind = (typeof EXTERN_KINDS)[number]

/** `index` counts in the index space of `kind`, where imports come first. */
export interface Import {
  readonly module: string
  readonly name: string
  readonly kind: ExternKind
  readonly index: number
}

export interface Export {
  readonly name: string
  readonly kind: ExternKind
  readonly index: number
}

/** Where one function's body stands in the module: locals from `start`, instructions from `code` up to `end`. */
export interface Body {
  readonly start: number
  readonly code: number
  readonly end: number
}

/** A section that was read to its last byte. For vectors `count` is their count and `start` the first item's place. */
export interface Section {
  readonly id: number
  readonly count: number
  readonly start: number
  readonly end: number
}

export interface CustomSection {
  readonly name: string
  /** Bytes of the content, the name not counted. */
  readonly size: number
}

/** A module while it is decoded, and afterwards; index spaces hold imports first, as the specification counts. */
export interface WasmModule {
  readonly bytes: Uint8Array
  /** What it may have. */
  readonly limits: ModuleLimits
  readonly types: FunctionType[]
  readonly imports: Import[]
  /** Index of the type of every function. */
  readonly functions: number[]
  readonly tables: Table[]
  readonly memories: Limits[]
  readonly globals: Global[]
  readonly exports: Export[]
  start: number | null
  elementSegments: number
  /** From the data count section; null where there is none. */
  dataCount: number | null
  dataSegments: number
  /** In the order of the functions that are not imported. */
  readonly bodies: Body[]
  /** Instructions in all bodies. */
  instructions: number
  /** Functions that an element segment or a constant refers to: what an indirect call can reach, with `ref.func` in bodies. */
  readonly referenced: Set<number>
  readonly sections: Section[]
  readonly customSections: CustomSection[]
  /** How many of the functions and globals are imported. */
  importedFunctions: number
  importedGlobals: number
  /** Whether a body has a `table.grow`. */
  growsTables: boolean
}

export function emptyModule(bytes: Uint8Array, limits: ModuleLimits = MODULE_LIMITS): WasmModule {
  return {
    bytes,
    limits,
    types: [],
    imports: [],
    functions: [],
    tables: [],
    memories: [],
    globals: [],
    exports: [],
    start: null,
    elementSegments: 0,
    dataCount: null,
    dataSegments: 0,
    bodies: [],
    instructions: 0,
    referenced: new Set(),
    sections: [],
    customSections: [],
    importedFunctions: 0,
    importedGlobals: 0,
    growsTables: false,
  }
}

/** The type of function `index` of the function index space. Both indices were checked while decoding. */
export function functionType(module: WasmModule, index: number): FunctionType {
  const type = module.types[module.functions[index] ?? -1]
  if (type === undefined) throw new Error(`Function ${index} has no type.`)
  return type
}
