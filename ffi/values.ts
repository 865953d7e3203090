/** Value types and value arrays in the library's layout: 32 bytes a value, 16 value, 8 type, 8 padding. */

import { ptr } from 'bun:ffi'
import type { Pointer } from 'bun:ffi'

import type { Wasmedge } from './library.ts'

export type ValueKind = 'i32' | 'i64' | 'f32' | 'f64'

export const VALUE_BYTES = 32
const TYPE_OFFSET = 16

/** Type descriptors as this build of the library spells them; never hard-coded. */
export function readValueTypes(lib: Wasmedge): Record<ValueKind, bigint> {
  return {
    i32: BigInt(lib.WasmEdge_ValTypeGenI32()),
    i64: BigInt(lib.WasmEdge_ValTypeGenI64()),
    f32: BigInt(lib.WasmEdge_ValTypeGenF32()),
    f64: BigInt(lib.WasmEdge_ValTypeGenF64()),
  }
}

/** A list of value types for `FunctionTypeCreate`, or null for none. */
export function typeList(
  types: Record<ValueKind, bigint>,
  kinds: readonly ValueKind[],
): BigUint64Array<ArrayBuffer> | null {
  return kinds.length === 0 ? null : BigUint64Array.from(kinds, (kind) => types[kind])
}

/** A reusable array of values of fixed kinds, as parameters or results of an invocation. */
export class ValueArray {
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Where `bytes` lie; they do not move. */
  readonly pointer: Pointer
  readonly length: number
  readonly #view: DataView

  constructor(types: Record<ValueKind, bigint>, kinds: readonly ValueKind[]) {
    this.length = kinds.length
    this.bytes = new Uint8Array(Math.max(kinds.length, 1) * VALUE_BYTES)
    // Asked for its buffer, a small array leaves JavaScript's heap for good; only then is its address one to keep.
    this.#view = new DataView(this.bytes.buffer)
    this.pointer = ptr(this.bytes)
    kinds.forEach((kind, index) => {
      this.#view.setBigUint64(index * VALUE_BYTES + TYPE_OFFSET, types[kind], true)
    })
  }

  setI32(index: number, value: number): void {
    this.#view.setInt32(index * VALUE_BYTES, value, true)
  }

  getI32(index: number): number {
    return this.#view.getInt32(index * VALUE_BYTES, true)
  }
}
