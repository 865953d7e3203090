import { afterEach, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import fc from 'fast-check'

import { KvStore } from '../../../../../src/edge/worker/host/kv/store.ts'
import { LIMITS } from '../../../../../src/protocol/limits.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close()
})

function tempDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'edgefn-kv-'))
  closers.push(() => rmSync(dir, { recursive: true, force: true }))
  return join(dir, 'store')
}

function openStore(dir = tempDir()): KvStore {
  const store = new KvStore(dir)
  closers.push(() => store.close())
  return store
}

const bytes = (text: string) => new TextEncoder().encode(text)
const never = () => false

function keysOf(store: KvStore, prefix: Uint8Array, after: Uint8Array, nowMs: number): string[] {
  const keys: string[] = []
  store.list(prefix, after, nowMs, never, (key) => keys.push(Buffer.from(key).toString('hex')) > 0)
  return keys
}

/** What the store is held against: a plain map in the same order. */
class Model {
  readonly entries = new Map<string, { value: string; expiresAt: number | null }>()

  live(key: string, now: number) {
    const entry = this.entries.get(key)
    return entry !== undefined && (entry.expiresAt === null || entry.expiresAt > now) ? entry : null
  }

  keys(prefix: string, after: string, now: number): string[] {
    return [...this.entries.keys()]
      .filter((key) => key.startsWith(prefix) && key > after && this.live(key, now) !== null)
      .sort()
  }
}

const key = fc.uint8Array({ minLength: 1, maxLength: 3, max: 2 }).map((each) => {
  // Few bytes, and those at the ends of the range, so that keys meet and are each other's prefixes.
  return Uint8Array.from(each, (byte) => [0, 127, 255][byte] ?? 0)
})
const step = fc.oneof(
  fc.record({
    do: fc.constant('put' as const),
    key,
    value: fc.uint8Array({ maxLength: 8 }),
    ttl: fc.option(fc.integer({ min: 1, max: 20 })),
  }),
  fc.record({ do: fc.constant('delete' as const), key }),
  fc.record({ do: fc.constant('list' as const), key, prefixBytes: fc.integer({ min: 0, max: 2 }) }),
  fc.record({ do: fc.constant('sweep' as const) }),
  fc.record({ do: fc.constant('checkpoint' as const) }),
  fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 10 }) }),
)

test('P36: the keys of a function behave like a map with expiry, in the order of their bytes', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const dir = tempDir()
      const writer = new KvStore(dir)
      // Another handle, as another thread has it, sees the same.
      const reader = new KvStore(dir)
      const model = new Model()
      const hex = (each: Uint8Array) => Buffer.from(each).toString('hex')
      let now = 1_000
      for (const each of steps) {
        if (each.do === 'put') {
          const expiresAt = each.ttl === null ? null : now + each.ttl
          expect(writer.put(each.key, each.value, expiresAt, now, never)).toBe(true)
          model.entries.set(hex(each.key), { value: hex(each.value), expiresAt })
        } else if (each.do === 'delete') {
          expect(writer.delete(each.key, now)).toBe(model.live(hex(each.key), now) !== null)
          model.entries.delete(hex(each.key))
        } else if (each.do === 'list') {
          const prefix = each.key.subarray(0, each.prefixBytes)
          const found = keysOf(reader, prefix, each.key, now)
          expect(found).toEqual(model.keys(hex(prefix), hex(each.key), now))
        } else if (each.do === 'sweep') {
          writer.sweep(now, never)
          for (const name of model.entries.keys()) {
            if (model.live(name, now) === null) model.entries.delete(name)
          }
        } else if (each.do === 'checkpoint') writer.checkpoint()
        else now += each.ms
        const empty = new Uint8Array(0)
        expect(keysOf(reader, empty, empty, now)).toEqual(model.keys('', '', now))
        for (const [name, { value }] of model.entries) {
          const got = reader.get(Buffer.from(name, 'hex'), now)
          expect(got === null ? null : hex(got)).toBe(model.live(name, now) ? value : null)
        }
        const sizes = [...model.entries].map(([name, { value }]) => (name + value).length / 2)
        const total = sizes.reduce((sum, size) => sum + size, 0)
        expect(reader.usage()).toEqual({ keys: sizes.length, bytes: total })
      }
      reader.close()
      writer.close()
    }),
    { numRuns: 100 },
  )
}, 120_000)

test('a key expires at its time to the millisecond', () => {
  const store = openStore()
  store.put(bytes('k'), bytes('v'), 5_000, 1_000, never)
  expect(store.get(bytes('k'), 4_999)).toEqual(bytes('v'))
  expect(store.get(bytes('k'), 5_000)).toBeNull()
  expect(keysOf(store, bytes(''), bytes(''), 5_000)).toEqual([])
  expect(store.delete(bytes('k'), 5_000)).toBe(false)
})

test('a put without expiry takes an earlier one away', () => {
  const store = openStore()
  store.put(bytes('k'), bytes('1'), 5_000, 1_000, never)
  store.put(bytes('k'), bytes('2'), null, 1_000, never)
  expect(store.get(bytes('k'), 1e15)).toEqual(bytes('2'))
})

test('the share in bytes is exact, and what has expired makes room', () => {
  const store = openStore()
  const value = new Uint8Array(LIMITS.kvValueBytesMax)
  const fits = Math.floor(LIMITS.kvBytesMax / (value.length + 4))
  const name = (n: number) => bytes(String(n).padStart(4, '0'))
  for (let n = 0; n < fits; n += 1) {
    expect(store.put(name(n), value, n === 7 ? 2_000 : null, 1_000, never)).toBe(true)
    if (n % 30 === 29) store.checkpoint()
  }
  const left = LIMITS.kvBytesMax - fits * (value.length + 4)
  expect(store.put(bytes('rest'), new Uint8Array(left - 4 + 1), null, 1_000, never)).toBe(false)
  expect(store.put(bytes('rest'), new Uint8Array(left - 4), null, 1_000, never)).toBe(true)
  expect(store.usage().bytes).toBe(LIMITS.kvBytesMax)
  // A value may be replaced by one of its own size, and nothing is lost by one that does not fit.
  expect(store.put(name(0), value, null, 1_000, never)).toBe(true)
  expect(store.put(bytes('more'), value, null, 1_000, never)).toBe(false)
  expect(store.get(bytes('more'), 1_000)).toBeNull()
  expect(store.put(bytes('more'), value, null, 2_000, never)).toBe(true)
}, 120_000)

test('the number of keys is limited, and a late sweep does not count as a full share', () => {
  const store = openStore()
  for (let n = 0; n < LIMITS.kvKeysMax; n += 1) {
    store.put(bytes(`k${n}`), new Uint8Array(0), 2_000, 1_000, never)
    if (n % 1_000 === 0) store.checkpoint()
  }
  store.checkpoint()
  expect(store.put(bytes('more'), new Uint8Array(0), null, 1_000, never)).toBe(false)
  expect(store.put(bytes('k7'), bytes('again'), 2_000, 1_000, never)).toBe(true)
  expect(store.put(bytes('more'), new Uint8Array(0), null, 2_000, never)).toBe(true)
  expect(store.usage().keys).toBeLessThan(LIMITS.kvKeysMax)
  store.checkpoint()
  store.sweep(2_000, never)
  expect(store.usage().keys).toBe(1)
}, 120_000)

test('a list over many expired keys looks at the clock on its way', () => {
  const store = openStore()
  for (let n = 0; n < 2_000; n += 1) store.put(bytes(`k${n}`), bytes('v'), 2_000, 1_000, never)
  let looks = 0
  store.list(
    bytes(''),
    bytes(''),
    3_000,
    () => ++looks > 3,
    () => true,
  )
  expect(looks).toBe(4)
})

test('the log is written back and the file gives its room back', () => {
  const dir = tempDir()
  const store = openStore(dir)
  const value = new Uint8Array(100_000)
  for (let n = 0; n < 50; n += 1) store.put(bytes(`k${n}`), value, 2_000, 1_000, never)
  const size = (name: string) => Bun.file(join(dir, name)).size
  expect(size('store.db-wal')).toBeGreaterThan(5_000_000)
  store.checkpoint()
  expect(size('store.db-wal')).toBeLessThan(10_000)
  expect(size('store.db')).toBeGreaterThan(5_000_000)
  expect(store.sweep(3_000, never)).toBeGreaterThan(0)
  for (let round = 0; round < 8; round += 1) store.checkpoint()
  expect(size('store.db')).toBeLessThan(1_000_000)
  expect(store.usage()).toEqual({ keys: 0, bytes: 0 })
})

test('a store that was moved away knows it', () => {
  const dir = tempDir()
  const store = openStore(dir)
  expect(store.moved).toBe(false)
  rmSync(dir, { recursive: true })
  expect(store.moved).toBe(true)
  openStore(dir)
  expect(store.moved).toBe(true)
})
