/** Keys and values that the function keeps on its node. Keys are strings here, and UTF-8 to the host. */
import { at, copy, decode, encode } from './bytes'
import * as host from './host'
import { Result } from './result'

const PAGE_BYTES: i32 = 16384

/** The value of a key; null where there is none, or the node cannot say. */
export function kvGet(key: string): ArrayBuffer | null {
  const name = encode(key)
  let buffer = new ArrayBuffer(1024)
  let length = host.kv_get(at(name), name.byteLength, at(buffer), buffer.byteLength)
  while (length > buffer.byteLength) {
    buffer = new ArrayBuffer(length)
    length = host.kv_get(at(name), name.byteLength, at(buffer), buffer.byteLength)
  }
  return length < 0 ? null : buffer.slice(0, length)
}

/** The same as text. */
export function kvGetText(key: string): string | null {
  const value = kvGet(key)
  return value === null ? null : decode(value)
}

/** Keeps a value for so many seconds; 0 is for ever. 0, or a result below zero. */
export function kvPut(key: string, value: ArrayBuffer, ttlSeconds: i32 = 0): i32 {
  const name = encode(key)
  return host.kv_put(at(name), name.byteLength, at(value), value.byteLength, ttlSeconds)
}

/** The same for a text. */
export function kvPutText(key: string, value: string, ttlSeconds: i32 = 0): i32 {
  return kvPut(key, encode(value), ttlSeconds)
}

/** 0, Result.NotFound or another result below zero. */
export function kvDelete(key: string): i32 {
  const name = encode(key)
  return host.kv_delete(at(name), name.byteLength)
}

/** The keys that begin with a prefix, in the order of their bytes, fetched as they are asked for. */
export class Keys {
  /** Below zero when the list ended because it could not be read on. */
  result: i32 = 0
  private prefix: ArrayBuffer
  private cursor: ArrayBuffer = new ArrayBuffer(0)
  private page: ArrayBuffer = new ArrayBuffer(PAGE_BYTES)
  private used: i32 = 0

  constructor(prefix: string) {
    this.prefix = encode(prefix)
  }

  /** The next key; null at the end. */
  next(): string | null {
    if (this.used >= this.result) {
      this.result = host.kv_list(
        at(this.prefix),
        this.prefix.byteLength,
        at(this.cursor),
        this.cursor.byteLength,
        at(this.page),
        PAGE_BYTES,
      )
      this.used = 0
      if (this.result <= 0) return null
    }
    const start = at(this.page) + this.used
    const length = load<i32>(start)
    this.used += 4 + length
    this.cursor = copy(start + 4, length)
    return decode(this.cursor)
  }
}

/** All keys that begin with a prefix; null when the node cannot say. */
export function kvKeys(prefix: string = ''): string[] | null {
  const found: string[] = []
  const keys = new Keys(prefix)
  for (let key = keys.next(); key !== null; key = keys.next()) found.push(key)
  return keys.result < 0 ? null : found
}
