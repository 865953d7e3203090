import { expect, test } from 'bun:test'
import fc from 'fast-check'

import { FormCache } from '../../../../src/edge/worker/lanes/form-cache.ts'
import type { SharedForm } from '../../../../src/edge/worker/runtime/module-source.ts'

const bytesMax = 100 * 1024

const form = (kib: number): SharedForm => ({
  code: new SharedArrayBuffer(kib * 1024),
  compiled: true,
  code_bytes: kib,
  table_bytes: 0,
  may_inline: true,
})

test('code goes, least recently given to a thread first; what is known of a loaded module stays', () => {
  const cache = new FormCache(bytesMax)
  for (const key of ['a', 'b', 'c', 'd']) cache.put(key, form(20))
  expect(cache.use('a')?.code).not.toBeNull()
  cache.unloaded('c')
  cache.put('e', form(20))
  expect(cache.get('b')).toMatchObject({ code: null, code_bytes: 20, may_inline: true })
  cache.put('f', form(20))
  expect(cache.get('c')).toBeNull()
  expect(cache.get('a')?.code).not.toBeNull()
})

test('code that would push out most others is not kept', () => {
  const cache = new FormCache(bytesMax)
  cache.put('small', form(10))
  cache.put('large', form(26))
  expect([cache.get('large')?.code, cache.get('large')?.code_bytes]).toEqual([null, 26])
  expect(cache.get('small')?.code).not.toBeNull()
  cache.unloaded('large')
  expect(cache.get('large')).toBeNull()
})

test('when memory is short all code goes', () => {
  const cache = new FormCache(bytesMax)
  for (const key of ['a', 'b']) cache.put(key, form(20))
  cache.unloaded('b')
  cache.drop()
  expect([cache.bytes, cache.get('a')?.code, cache.get('b')]).toEqual([0, null, null])
})

test('whatever is put, used and unloaded, it keeps no more than it may, and forgets no loaded module', () => {
  const step = fc.record({
    do: fc.constantFrom('put', 'use', 'unloaded'),
    key: fc.constantFrom(...'abcdefgh'),
    kib: fc.integer({ min: 1, max: 30 }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const cache = new FormCache(bytesMax)
      const loaded = new Set<string>()
      for (const { do: what, key, kib } of steps) {
        if (what === 'put') {
          cache.put(key, form(kib))
          loaded.add(key)
        } else if (what === 'use') {
          if (cache.use(key) !== null) loaded.add(key)
        } else {
          cache.unloaded(key)
          loaded.delete(key)
        }
        expect(cache.bytes).toBeLessThanOrEqual(bytesMax)
        for (const each of loaded) expect(cache.get(each)).not.toBeNull()
      }
    }),
    { numRuns: 300 },
  )
})
