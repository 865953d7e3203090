import { expect, test } from 'bun:test'

import fc from 'fast-check'

import {
  CborReal,
  CborWriter,
  readCborArray,
} from '../../../../../src/edge/worker/host/sql/cbor.ts'

const scalars = fc.oneof(
  fc.constant(null),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.maxSafeInteger(),
  fc.double().map((value) => new CborReal(value)),
  fc.string({ unit: 'grapheme' }),
  fc.uint8Array({ maxLength: 70_000, size: 'max' }).map((bytes) => Uint8Array.from(bytes)),
  fc.uint8Array({ maxLength: 30 }).map((bytes) => Uint8Array.from(bytes)),
)

test('what is written is read as it was', () => {
  fc.assert(
    fc.property(fc.array(scalars, { maxLength: 30 }), (values) => {
      const writer = new CborWriter()
      writer.array(values.length)
      for (const value of values) {
        if (value === null) writer.null()
        else if (typeof value === 'string') writer.text(value)
        else if (value instanceof CborReal) writer.real(value.value)
        else if (value instanceof Uint8Array) writer.bytes(value)
        else writer.integer(value)
      }
      const narrowed = values.map((value) =>
        typeof value === 'bigint' && Number.isSafeInteger(Number(value)) ? Number(value) : value,
      )
      expect(readCborArray(writer.take())).toEqual(narrowed)
    }),
    { numRuns: 200 },
  )
})

test('whatever else comes is no array, and does no harm', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const read = readCborArray(Uint8Array.from(bytes))
      expect(read === null || Array.isArray(read)).toBe(true)
    }),
    { numRuns: 1000 },
  )
  for (const hex of ['', '01', '8101ff', '9bffffffffffffffff', '815bffffffffffffffff', '81f8ff']) {
    expect(readCborArray(Uint8Array.fromHex(hex))).toBeNull()
  }
})
