/** The decision what to evict, against its definition. */

import { expect, test } from 'bun:test'

import fc from 'fast-check'

import { chooseEvictions } from '../../../../src/edge/agent/cache/eviction.ts'

const filesArbitrary = fc
  .array(fc.record({ size_bytes: fc.integer({ min: 1, max: 100 }), last_used: fc.nat(20) }), {
    maxLength: 12,
  })
  .map((files) => files.map((file, index) => ({ key: `f${index}`, ...file })))

test('P34: evictions are the shortest run of the least recently used that makes room', () => {
  fc.assert(
    fc.property(
      filesArbitrary,
      fc.uniqueArray(fc.nat(11)),
      fc.integer({ min: 0, max: 500 }),
      fc.integer({ min: 0, max: 8 }),
      fc.nat(100),
      (files, serving, bytes_max, files_max, bytes) => {
        const inService = new Set(serving.map((index) => `f${index}`))
        const limits = { bytes_max, files_max }
        const result = chooseEvictions(files, inService, limits, { bytes, files: 1 })
        const fitsWithout = (keys: readonly string[]) => {
          const left = files.filter((file) => !keys.includes(file.key))
          const sum = left.reduce((total, file) => total + file.size_bytes, bytes)
          return sum <= bytes_max && left.length + 1 <= files_max
        }
        const order = files
          .filter((file) => !inService.has(file.key))
          .sort((a, b) => a.last_used - b.last_used || (a.key < b.key ? -1 : 1))
          .map((file) => file.key)
        expect(result.keys).toEqual(order.slice(0, result.keys.length))
        expect(result.fits).toBe(fitsWithout(result.keys))
        if (!result.fits) expect(result.keys.length).toBe(order.length)
        if (result.keys.length > 0) expect(fitsWithout(result.keys.slice(0, -1))).toBe(false)
      },
    ),
    { numRuns: 300 },
  )
})
