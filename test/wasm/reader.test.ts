import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'

import { EdgefnError } from '../../src/errors.ts'
import { MODULE_LIMITS } from '../../src/wasm/limits.ts'
import { Reader } from '../../src/wasm/reader.ts'
import { leb, name } from './module-bytes.ts'

function reader(...content: number[]): Reader {
  return new Reader(Uint8Array.from(content), 0, content.length, 'test')
}

/** Signed LEB128, the shortest form. */
function signed(value: bigint): number[] {
  const out: number[] = []
  for (let rest = value; ; rest >>= 7n) {
    const byte = Number(rest & 0x7fn)
    const done = rest >> 6n === 0n || rest >> 6n === -1n
    out.push(done ? byte : byte | 0x80)
    if (done) return out
  }
}

describe('unsigned 32-bit integers', () => {
  test('are read at their edges, padded forms included', () => {
    expect(reader(0x00).u32()).toBe(0)
    expect(reader(0x7f).u32()).toBe(127)
    expect(reader(0x80, 0x01).u32()).toBe(128)
    expect(reader(0xff, 0xff, 0xff, 0xff, 0x0f).u32()).toBe(0xffffffff)
    expect(reader(0x83, 0x80, 0x80, 0x80, 0x00).u32()).toBe(3)
  })

  test('of too many bits or bytes are refused', () => {
    expect(() => reader(0xff, 0xff, 0xff, 0xff, 0x1f).u32()).toThrow('too long or too large')
    expect(() => reader(0x80, 0x80, 0x80, 0x80, 0x80, 0x00).u32()).toThrow('too long or too large')
    expect(() => reader(0x80, 0x80).u32()).toThrow('end too early')
    expect(() => reader().u32()).toThrow('end too early')
  })

  test('come back as they were written', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffffffff }), (value) => {
        const written = leb(value)
        const read = new Reader(written, 0, written.length, 'test')
        expect(read.u32()).toBe(value)
        expect(read.left).toBe(0)
      }),
    )
  })
})

describe('signed integers', () => {
  test('of 32 bits are read at their edges', () => {
    expect(reader(0x40).s32()).toBe(-64)
    expect(reader(0x3f).s32()).toBe(63)
    expect(reader(0xff, 0x7f).s32()).toBe(-1)
    expect(reader(0x80, 0x80, 0x80, 0x80, 0x78).s32()).toBe(-(2 ** 31))
    expect(reader(0xff, 0xff, 0xff, 0xff, 0x07).s32()).toBe(2 ** 31 - 1)
  })

  test('of 33 bits are read at their edges', () => {
    expect(reader(0x80, 0x80, 0x80, 0x80, 0x70).s33()).toBe(-(2 ** 32))
    expect(reader(0xff, 0xff, 0xff, 0xff, 0x0f).s33()).toBe(2 ** 32 - 1)
    expect(reader(0x40).s33()).toBe(-64)
  })

  test('whose last byte does not repeat the sign are refused', () => {
    for (const last of [0x08, 0x0f, 0x10, 0x70, 0x77, 0x80]) {
      expect(() => reader(0xff, 0xff, 0xff, 0xff, last).s32()).toThrow('too long or too large')
    }
    for (const last of [0x10, 0x1f, 0x60, 0x6f, 0x80]) {
      expect(() => reader(0xff, 0xff, 0xff, 0xff, last).s33()).toThrow('too long or too large')
    }
    const nine = Array<number>(9).fill(0x80)
    for (const last of [0x01, 0x7e, 0x80]) {
      expect(() => reader(...nine, last).skipS64()).toThrow('too long or too large')
    }
    for (const last of [0x00, 0x7f]) reader(...nine, last).skipS64()
  })

  test('come back as they were written', () => {
    const int33 = fc.bigInt({ min: -(2n ** 32n), max: 2n ** 32n - 1n })
    const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
    fc.assert(
      fc.property(fc.integer(), int33, int64, (small, middle, large) => {
        expect(reader(...signed(BigInt(small))).s32()).toBe(small)
        expect(reader(...signed(middle)).s33()).toBe(Number(middle))
        const read = reader(...signed(large))
        read.skipS64()
        expect(read.left).toBe(0)
      }),
    )
  })
})

describe('names and counts', () => {
  test('a name that is not UTF-8 is refused', () => {
    for (const wrong of [
      [0xff],
      [0xc0, 0x80],
      [0xed, 0xa0, 0x80],
      [0xf4, 0x90, 0x80, 0x80],
      [0xc3],
    ]) {
      expect(() => reader(wrong.length, ...wrong).name()).toThrow('not UTF-8')
    }
  })

  test('a name keeps its byte order mark and its zero bytes', () => {
    expect(reader(...name('\ufeffa\0b')).name()).toBe('\ufeffa\0b')
  })

  test('a name longer than what is left, or than the limit, is refused', () => {
    expect(() => reader(0x05, 0x61).name()).toThrow('5 bytes is announced, 1 are left')
    const long = name('x'.repeat(MODULE_LIMITS.nameBytesMax + 1))
    expect(() => new Reader(long, 0, long.length, 'test').name()).toThrow('the limit is 10000')
  })

  test('a count that cannot fit the bytes left is refused before anything is read', () => {
    expect(() => reader(0x64, 0x00).count(1000, 'things')).toThrow('100 things are announced in 1')
    expect(() => reader(0x64, 0x00).count(99, 'things')).toThrow('100 things; the limit is 99')
  })

  test('what is thrown is module_invalid and names the place', () => {
    try {
      reader(0x01, 0x80).skip(5)
      expect.unreachable()
    } catch (error) {
      expect(error).toBeInstanceOf(EdgefnError)
      expect((error as EdgefnError).code).toBe('module_invalid')
      expect((error as EdgefnError).message).toBe(
        '5 bytes are announced, 2 are left (test, byte 0x00).',
      )
    }
  })
})
