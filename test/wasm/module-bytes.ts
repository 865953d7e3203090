/** Builds modules byte by byte, right ones and wrong ones, for the tests of `src/wasm`. */

import { HEADER } from '../../src/wasm/decode.ts'
import { Writer } from '../../src/wasm/encode.ts'

type Bytes = Uint8Array<ArrayBuffer>
type Part = number | Uint8Array | readonly number[]

/** Joins parts; a number is one byte. */
export function bytes(...parts: readonly Part[]): Bytes {
  const out = new Writer(64)
  for (const part of parts) {
    if (typeof part === 'number') out.u8(part)
    else out.raw(part instanceof Uint8Array ? part : Uint8Array.from(part))
  }
  return out.done()
}

/** Unsigned LEB128. */
export function leb(value: number): Bytes {
  const out = new Writer(5)
  out.u32(value)
  return out.done()
}

export function name(text: string): Bytes {
  const utf8 = new TextEncoder().encode(text)
  return bytes(leb(utf8.length), utf8)
}

/** A vector of `count` times the same item. */
export function repeated(count: number, item: Part): Bytes {
  const one = bytes(item)
  const out = new Writer(count * one.length + 5)
  out.u32(count)
  for (let i = 0; i < count; i++) out.raw(one)
  return out.done()
}

export function vector(...items: readonly Part[]): Bytes {
  return bytes(leb(items.length), ...items)
}

export function section(id: number, ...content: readonly Part[]): Bytes {
  const inner = bytes(...content)
  return bytes(id, leb(inner.length), inner)
}

export function customSection(sectionName: string, ...content: readonly Part[]): Bytes {
  return section(0, name(sectionName), ...content)
}

export function moduleOf(...sections: readonly Part[]): Bytes {
  return bytes(HEADER, ...sections)
}

/** A function body: its size, no locals unless given, the instructions, the last `end`. */
export function body(code: Part, locals: Part = 0): Bytes {
  const inner = bytes(locals, code, 0x0b)
  return bytes(leb(inner.length), inner)
}

/** Type section with `() -> ()` only. */
export const VOID_TYPE = section(1, vector([0x60, 0, 0]))
/** One function of type 0. */
export const ONE_FUNCTION = section(3, vector(0))

/** A module of one function `() -> ()`; `between` goes before its code section. */
export function moduleOfBody(code: Part, between: Part = [], locals: Part = 0): Bytes {
  return moduleOf(VOID_TYPE, ONE_FUNCTION, between, section(10, vector(body(code, locals))))
}
