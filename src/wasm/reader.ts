/** Bounds-checked reading of the WebAssembly binary format: bytes, LEB128 integers, names, byte ranges. */

import type { EdgefnError } from '../errors.ts'
import { MODULE_LIMITS } from './limits.ts'
import { hex, invalid, unsupported } from './problem.ts'

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * A position that moves through `bytes` up to `end` and never past it. Everything throws EdgefnError `module_invalid` on
 * bytes that the specification forbids, with the place. Not private-field based: the walk over bodies is the hot loop.
 */
export class Reader {
  readonly bytes: Uint8Array
  at: number
  end: number
  /** What is being read, for messages: "type section", "function 7". */
  what: string

  constructor(bytes: Uint8Array, start: number, end: number, what: string) {
    this.bytes = bytes
    this.at = start
    this.end = end
    this.what = what
  }

  get left(): number {
    return this.end - this.at
  }

  /** The error for bytes that break a rule, with the place where reading stands. */
  malformed(message: string): EdgefnError {
    return invalid(`${message} (${this.what}, byte ${hex(this.at)}).`)
  }

  u8(): number {
    if (this.at >= this.end) throw this.malformed('The bytes end too early')
    return this.bytes[this.at++] as number
  }

  /** Unsigned LEB128 of at most 32 bits. */
  u32(): number {
    const first = this.u8()
    if (first < 0x80) return first
    let value = first & 0x7f
    for (let shift = 7; shift < 28; shift += 7) {
      const byte = this.u8()
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    const last = this.u8()
    if (last > 0x0f) throw this.malformed('An unsigned 32-bit integer is too long or too large')
    return (value | (last << 28)) >>> 0
  }

  /** Signed LEB128 of at most 32 bits. */
  s32(): number {
    let value = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.u8()
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return (value << (25 - shift)) >> (25 - shift)
    }
    const last = this.u8()
    const unused = last & 0xf8
    // The bits beyond the 32nd must repeat the sign.
    if (unused !== 0x00 && unused !== 0x78) {
      throw this.malformed('A signed 32-bit integer is too long or too large')
    }
    return value | (last << 28)
  }

  /** Signed LEB128 of at most 33 bits, as block types are written. */
  s33(): number {
    let value = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.u8()
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return (value << (25 - shift)) >> (25 - shift)
    }
    const last = this.u8()
    const unused = last & 0xf0
    if (unused !== 0x00 && unused !== 0x70) {
      throw this.malformed('A signed 33-bit integer is too long or too large')
    }
    const low = (value | (last << 28)) >>> 0
    return unused === 0 ? low : low - 2 ** 32
  }

  /** Passes over a signed LEB128 of at most 64 bits; nobody needs its value, and a BigInt would cost. */
  skipS64(): void {
    for (let count = 0; count < 9; count++) {
      if (this.u8() < 0x80) return
    }
    const last = this.u8()
    if (last !== 0x00 && last !== 0x7f) {
      throw this.malformed('A signed 64-bit integer is too long or too large')
    }
  }

  /** Passes over `count` bytes. */
  skip(count: number): void {
    if (count > this.left) {
      throw this.malformed(`${count} bytes are announced, ${this.left} are left`)
    }
    this.at += count
  }

  /**
   * The count of a vector whose items take at least `itemBytesMin` bytes. Checked against the bytes left, so that a claimed
   * count never makes anyone wait or allocate for items that cannot be there.
   */
  count(limit: number, what: string, itemBytesMin = 1): number {
    const count = this.u32()
    if (count > limit) throw unsupported(`The module has ${count} ${what}; the limit is ${limit}.`)
    if (count * itemBytesMin > this.left) {
      throw this.malformed(`${count} ${what} are announced in ${this.left} bytes`)
    }
    return count
  }

  /** A name: length and UTF-8, at most `nameBytesMax` bytes. */
  name(): string {
    const length = this.u32()
    if (length > this.left) {
      throw this.malformed(`A name of ${length} bytes is announced, ${this.left} are left`)
    }
    if (length > MODULE_LIMITS.nameBytesMax) {
      throw unsupported(
        `A name has ${length} bytes (${this.what}); the limit is ${MODULE_LIMITS.nameBytesMax}.`,
      )
    }
    const raw = this.bytes.subarray(this.at, this.at + length)
    let name: string
    try {
      name = utf8.decode(raw)
    } catch {
      throw this.malformed('A name is not UTF-8')
    }
    this.at += length
    return name
  }

  /** Refuses bytes left over between here and `end`. */
  finish(): void {
    if (this.at !== this.end) throw this.malformed(`${this.left} bytes are left over`)
  }
}
