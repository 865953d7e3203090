/** Images of memories on systems whose pages are not those of most. */

import { expect, test } from 'bun:test'

import { MemoryImage } from '../../../../src/edge/worker/runtime/memory-image.ts'

/** A memory whose system gives back whole pages of 16 KiB only, rounding lengths up as Linux does. */
class LargePages {
  readonly #all = new Uint8Array(128 * 1024)
  readonly #pageBytes = 16 * 1024

  get bytes(): number {
    return this.#all.length
  }

  readBytes(at: number, length: number): Uint8Array<ArrayBuffer> {
    return this.#all.slice(at, at + length)
  }

  readInto(target: Uint8Array, at: number, length: number): void {
    target.set(this.#all.subarray(at, at + length))
  }

  writeBytes(at: number, bytes: Uint8Array): void {
    this.#all.set(bytes, at)
  }

  clear(at: number, length: number): boolean {
    if (at % this.#pageBytes !== 0) return false
    this.#all.fill(0, at, Math.ceil((at + length) / this.#pageBytes) * this.#pageBytes)
    return true
  }

  touched(pageBytes: number): Uint8Array {
    return new Uint8Array(this.bytes / pageBytes)
  }
}

/** Where a page of 4 KiB holds something at first. */
test.each([[[28 * 1024]], [[0, 36 * 1024]], [[28 * 1024, 100 * 1024]]])(
  'noting what a memory holds changes nothing in it: %p',
  (places) => {
    const memory = new LargePages()
    for (const at of places) memory.writeBytes(at, new Uint8Array([1, 2, 3]))
    const before = memory.readBytes(0, memory.bytes)
    const image = MemoryImage.of(memory)
    expect(memory.readBytes(0, memory.bytes)).toEqual(before)
    memory.writeBytes(50_000, new Uint8Array([9]))
    if (image?.restore(memory) === true) {
      expect(memory.readBytes(0, memory.bytes)).toEqual(before)
    }
  },
)
