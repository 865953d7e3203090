/** CBOR (RFC 8949) as far as rows and parameters need it: null, booleans, numbers, text, bytes, arrays, and maps with text as keys. */

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true })

const UNSIGNED = 0
const NEGATIVE = 1
const BYTES = 2
const TEXT = 3
const ARRAY = 4
const MAP = 5
const FLOAT64 = 0xfb

/** Bytes that grow. */
export class CborWriter {
  #bytes = new Uint8Array(256)
  #view = new DataView(this.#bytes.buffer)
  #length = 0

  get length(): number {
    return this.#length
  }

  null(): void {
    this.#byte(0xf6)
  }

  integer(value: number | bigint): void {
    if (value >= 0) this.#head(UNSIGNED, value)
    else this.#head(NEGATIVE, typeof value === 'bigint' ? -1n - value : -1 - value)
  }

  real(value: number): void {
    this.#byte(FLOAT64)
    this.#room(8)
    this.#view.setFloat64(this.#length, value)
    this.#length += 8
  }

  text(value: string): void {
    this.#counted(TEXT, encoder.encode(value))
  }

  bytes(value: Uint8Array): void {
    this.#counted(BYTES, value)
  }

  array(items: number): void {
    this.#head(ARRAY, items)
  }

  map(entries: number): void {
    this.#head(MAP, entries)
  }

  /** What another has written, as it is. */
  append(other: CborWriter): void {
    this.#put(other.take())
  }

  take(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length)
  }

  #counted(major: number, value: Uint8Array): void {
    this.#head(major, value.length)
    this.#put(value)
  }

  #head(major: number, value: number | bigint): void {
    const kind = major << 5
    if (value < 24) return this.#byte(kind | Number(value))
    if (value <= 0xff) {
      this.#byte(kind | 24)
      return this.#byte(Number(value))
    }
    this.#room(9)
    if (value <= 0xffff) {
      this.#byte(kind | 25)
      this.#view.setUint16(this.#length, Number(value))
      this.#length += 2
    } else if (value <= 0xffff_ffff) {
      this.#byte(kind | 26)
      this.#view.setUint32(this.#length, Number(value))
      this.#length += 4
    } else {
      this.#byte(kind | 27)
      this.#view.setBigUint64(this.#length, BigInt(value))
      this.#length += 8
    }
  }

  #byte(value: number): void {
    this.#room(1)
    this.#bytes[this.#length] = value
    this.#length += 1
  }

  #put(value: Uint8Array): void {
    this.#room(value.length)
    this.#bytes.set(value, this.#length)
    this.#length += value.length
  }

  #room(bytes: number): void {
    if (this.#length + bytes <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(this.#length + bytes, this.#bytes.length * 2))
    grown.set(this.#bytes)
    this.#bytes = grown
    this.#view = new DataView(grown.buffer)
  }
}

export type CborScalar = null | boolean | number | bigint | string | Uint8Array<ArrayBuffer>

/** A number that is written as a float, though it may look like an integer. */
export class CborReal {
  readonly value: number

  constructor(value: number) {
    this.value = value
  }
}

/** The scalars of one array that is all of `bytes`; null when it is anything else. */
export function readCborArray(bytes: Uint8Array<ArrayBuffer>): (CborScalar | CborReal)[] | null {
  try {
    const reader = new CborReader(bytes)
    const items = reader.readArray()
    return reader.atEnd ? items : null
  } catch {
    return null
  }
}

class CborReader {
  readonly #bytes: Uint8Array<ArrayBuffer>
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  readArray(): (CborScalar | CborReal)[] {
    const head = this.#u8()
    if (head >> 5 !== ARRAY) throw new RangeError('not an array')
    const length = Number(this.#count(head & 31))
    if (length > this.#bytes.length) throw new RangeError('longer than its bytes')
    return Array.from({ length }, () => this.#scalar())
  }

  #scalar(): CborScalar | CborReal {
    const head = this.#u8()
    const low = head & 31
    switch (head >> 5) {
      case UNSIGNED:
        return narrow(this.#count(low))
      case NEGATIVE:
        return narrow(-1n - this.#count(low))
      case BYTES:
        return this.#take(this.#count(low)).slice()
      case TEXT:
        return decoder.decode(this.#take(this.#count(low)))
      default:
        return this.#simple(head)
    }
  }

  #simple(head: number): CborScalar | CborReal {
    switch (head) {
      case 0xf4:
        return false
      case 0xf5:
        return true
      case 0xf6:
      case 0xf7:
        return null
      case 0xf9:
        return new CborReal(this.#step(2, (at) => this.#view.getFloat16(at)))
      case 0xfa:
        return new CborReal(this.#step(4, (at) => this.#view.getFloat32(at)))
      case FLOAT64:
        return new CborReal(this.#step(8, (at) => this.#view.getFloat64(at)))
      default:
        throw new RangeError('no scalar')
    }
  }

  #count(low: number): bigint {
    if (low < 24) return BigInt(low)
    if (low === 24) return BigInt(this.#u8())
    if (low === 25) return BigInt(this.#step(2, (at) => this.#view.getUint16(at)))
    if (low === 26) return BigInt(this.#step(4, (at) => this.#view.getUint32(at)))
    if (low === 27) return this.#step(8, (at) => this.#view.getBigUint64(at))
    throw new RangeError('of no length')
  }

  #take(length: bigint): Uint8Array<ArrayBuffer> {
    if (length > BigInt(this.#bytes.length - this.#at)) throw new RangeError('cut off')
    return this.#step(Number(length), (at) => this.#bytes.subarray(at, at + Number(length)))
  }

  #u8(): number {
    return this.#step(1, (at) => this.#view.getUint8(at))
  }

  #step<T>(bytes: number, read: (at: number) => T): T {
    const value = read(this.#at)
    this.#at += bytes
    return value
  }
}

function narrow(value: bigint): number | bigint {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}
