/** What a rewriting adds to a module: types, functions, globals, exports, each behind the module's own. */

import { SECTION } from '../decode.ts'
import { Writer } from '../encode.ts'
import type { WasmModule } from '../module.ts'
import type { SectionChange } from './sections.ts'

/** Kinds of exports as they are encoded. */
export const EXPORT_KIND = { function: 0, memory: 2 } as const

const FUNCTION_FORM = 0x60

export class Appendix {
  readonly #module: WasmModule
  readonly #typeIndices = new Map<string, number>()
  readonly #types = new Writer(64)
  readonly #declarations = new Writer(16)
  readonly #bodies: Uint8Array[] = []
  readonly #globals = new Writer(16)
  readonly #exports = new Writer(64)
  #addedTypes = 0
  /** The byte of each one's type. */
  readonly #globalTypes: number[] = []
  #addedExports = 0

  constructor(module: WasmModule) {
    this.#module = module
    for (const [index, type] of module.types.entries()) {
      const key = keyOf(type.params, type.results)
      if (!this.#typeIndices.has(key)) this.#typeIndices.set(key, index)
    }
  }

  /** Bodies of the added functions, in their order, sizes not included; they go behind the module's own. */
  get bodies(): readonly Uint8Array[] {
    return this.#bodies
  }

  /** Index of a function type: the module's own where there is one. */
  type(params: Uint8Array, results: Uint8Array): number {
    const key = keyOf(params, results)
    const known = this.#typeIndices.get(key)
    if (known !== undefined) return known
    const index = this.#module.types.length + this.#addedTypes
    this.#addedTypes += 1
    this.#typeIndices.set(key, index)
    this.#types.u8(FUNCTION_FORM)
    for (const list of [params, results]) {
      this.#types.u32(list.length)
      this.#types.raw(list)
    }
    return index
  }

  /** Adds a function; `body` is its locals and instructions. Returns its index. */
  function(type: number, body: Uint8Array): number {
    this.#declarations.u32(type)
    this.#bodies.push(body)
    return this.#module.functions.length + this.#bodies.length - 1
  }

  /** Adds a mutable global in its encoded form. Returns its index. */
  global(encoded: Uint8Array): number {
    this.#globals.raw(encoded)
    this.#globalTypes.push(encoded[0] ?? 0)
    return this.#module.globals.length + this.#globalTypes.length - 1
  }

  /** The bytes of the added globals' types, in their order. */
  get globalTypes(): readonly number[] {
    return this.#globalTypes
  }

  export(name: string, kind: number, index: number): void {
    const bytes = new TextEncoder().encode(name)
    this.#exports.u32(bytes.length)
    this.#exports.raw(bytes)
    this.#exports.u8(kind)
    this.#exports.u32(index)
    this.#addedExports += 1
  }

  /**
   * The changes of the sections other than code, when everything has been added. `own` are the module's own items of a section,
   * by its id, where they have been rewritten.
   */
  changes(own: Readonly<Record<number, Uint8Array>>): Readonly<Record<number, SectionChange>> {
    const added: readonly (readonly [number, number, Uint8Array])[] = [
      [SECTION.type, this.#addedTypes, this.#types.done()],
      [SECTION.function, this.#bodies.length, this.#declarations.done()],
      [SECTION.global, this.#globalTypes.length, this.#globals.done()],
      [SECTION.export, this.#addedExports, this.#exports.done()],
    ]
    return Object.fromEntries(
      added.map(([id, count, bytes]) => {
        const items = own[id]
        if (items === undefined) return [id, { added: count, bytes }]
        return [id, { replaced: this.#vector(id, count, items, bytes) }]
      }),
    )
  }

  /** A section written anew: as many items as it had, and `added` more. */
  #vector(id: number, added: number, own: Uint8Array, more: Uint8Array): Uint8Array {
    const out = new Writer(own.length + more.length + 5)
    out.u32((this.#module.sections.find((each) => each.id === id)?.count ?? 0) + added)
    out.raw(own)
    out.raw(more)
    return out.done()
  }
}

function keyOf(params: Uint8Array, results: Uint8Array): string {
  return `${params.join()}>${results.join()}`
}
