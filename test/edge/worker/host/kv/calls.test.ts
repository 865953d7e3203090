import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdirSync, writeFileSync } from 'node:fs'

import fc from 'fast-check'

import { kvStoreDir, kvStoreFile } from '../../../../../src/edge/kv-files.ts'
import { hostOptionsIn } from '../../runtime/host-options.ts'
import { answer, failure, request, startRuntime } from '../../runtime/harness.ts'
import type { RuntimeHarness } from '../../runtime/harness.ts'
import { assemble, numberGuest } from '../../runtime/wat.ts'

let runtime: RuntimeHarness

beforeAll(async () => {
  runtime = await startRuntime(3)
})
afterAll(async () => {
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

const IMPORTS = [
  ['kv_get', 'i32 i32 i32 i32'],
  ['kv_put', 'i32 i32 i32 i32 i32'],
  ['kv_delete', 'i32 i32'],
  ['kv_list', 'i32 i32 i32 i32 i32 i32'],
  ['metrics_increment', 'i32 i32 i32 i32 f64'],
]
  .map(([name, params]) => {
    return `(import "edgefn" "${name}" (func $${name} (param ${params}) (result i32)))`
  })
  .join('\n')

/** The number that an expression over the host functions has in a guest whose memory, at 16, says "keyvalue"; or its error. */
async function evaluate(expression: string, changes = {}): Promise<number | string> {
  const setUp = `(i64.store (i32.const 16) (i64.const 0x65756c617679656b))`
  const body = `(block (result i32) ${setUp} ${expression})`
  const fn = runtime.module(numberGuest(body, IMPORTS, 4), changes)
  const outcome = await runtime.invoker.invoke(fn, request('/'))
  return outcome.ok ? Number(answer(outcome).text) | 0 : failure(outcome)
}

const call = (name: string, ...args: (number | string)[]) => {
  const constants = args.map((arg) => (typeof arg === 'string' ? arg : `(i32.const ${arg})`))
  return `(call $${name} ${constants.join(' ')})`
}
/** Runs the first and has the value of the second. */
const after = (first: string, second: string) => `(drop ${first}) ${second}`
const PUT = call('kv_put', 16, 3, 19, 5, 0)

test.each([
  ['a value comes back in full length', after(PUT, call('kv_get', 16, 3, 100, 50)), 5],
  ['and into a buffer of nothing', after(PUT, call('kv_get', 16, 3, 0, 0)), 5],
  ['a key that is not there', call('kv_get', 16, 3, 100, 50), -1],
  ['an empty key', call('kv_get', 16, 0, 100, 50), -2],
  ['a key that says it is 4 GiB long', call('kv_get', 16, -1, 100, 50), -3],
  ['a key over the limit', call('kv_get', 16, 513, 100, 50), -3],
  ['a key of the limit', call('kv_get', 16, 512, 100, 50), -1],
  ['a key outside the memory', call('kv_get', -4, 8, 100, 50), 'function_trap'],
  ['a buffer outside', after(PUT, call('kv_get', 16, 3, -4, 50)), 'function_trap'],
  ['a buffer outside, for nothing', call('kv_get', 16, 3, -4, 50), -1],
  ['a value that says it is 2 GiB long', call('kv_put', 16, 3, 0, 0x7fffffff, 0), -3],
  ['a value over the limit', call('kv_put', 16, 3, 0, 1_048_577, 0), -3],
  ['a value outside the memory', call('kv_put', 16, 3, -9, 20, 0), 'function_trap'],
  ['a value across the end', call('kv_put', 16, 3, 4 * 65_536 - 5, 6, 0), 'function_trap'],
  ['a time to live below zero', call('kv_put', 16, 3, 19, 5, -1), -2],
  ['the longest time to live', call('kv_put', 16, 3, 19, 5, 0x7fffffff), 0],
  ['a deletion', after(PUT, call('kv_delete', 16, 3)), 0],
  ['a second one', after(PUT, after(call('kv_delete', 16, 3), call('kv_delete', 16, 3))), -1],
  ['a list of nothing', call('kv_list', 0, 0, 0, 0, -4, -1), 0],
  ['a list', after(PUT, call('kv_list', 0, 0, 0, 0, 100, 50)), 7],
  [
    'its first bytes',
    after(PUT, after(call('kv_list', 16, 1, 0, 0, 100, 50), '(i32.load (i32.const 100))')),
    3,
  ],
  ['a list after its last key', after(PUT, call('kv_list', 0, 0, 16, 3, 100, 50)), 0],
  ['a list of another prefix', after(PUT, call('kv_list', 17, 1, 0, 0, 100, 50)), 0],
  ['a page that holds no key', after(PUT, call('kv_list', 0, 0, 0, 0, 100, 6)), 7],
  ['a page outside the memory', after(PUT, call('kv_list', 0, 0, 0, 0, -4, 50)), 'function_trap'],
  ['a prefix that says it is 4 GiB long', call('kv_list', 0, -1, 0, 0, 100, 50), -3],
  ['a cursor that says it is 2 GiB long', call('kv_list', 0, 0, 0, 0x7fffffff, 100, 50), -3],
  ['a count', call('metrics_increment', 16, 3, 0, 0, '(f64.const 1.5)'), 0],
  ['a count of NaN', call('metrics_increment', 16, 3, 0, 0, '(f64.const nan)'), -2],
  ['a count of infinity', call('metrics_increment', 16, 3, 0, 0, '(f64.const inf)'), -2],
  ['a count below zero', call('metrics_increment', 16, 3, 0, 0, '(f64.const -1)'), -2],
  ['a count of no name', call('metrics_increment', 16, 0, 0, 0, '(f64.const 1)'), -2],
  ['a count of labels without =', call('metrics_increment', 16, 3, 16, 3, '(f64.const 1)'), -2],
  ['a count of 4 GiB of labels', call('metrics_increment', 16, 3, 0, -1, '(f64.const 1)'), -3],
  ['a name of 4 GiB', call('metrics_increment', 16, -1, 0, 0, '(f64.const 1)'), -3],
  ['a name outside', call('metrics_increment', -9, 20, 0, 0, '(f64.const 1)'), 'function_trap'],
])('%s', async (_, expression, expected) => {
  expect(await evaluate(expression)).toBe(expected)
})

test('one function never sees the keys of another; versions of one share them', async () => {
  const id = Bun.randomUUIDv7()
  expect(await evaluate(PUT, { function_id: id })).toBe(0)
  const get = call('kv_get', 16, 3, 100, 50)
  expect(await evaluate(get, { function_id: id, version: 2 })).toBe(5)
  expect(await evaluate(get)).toBe(-1)
  expect(await evaluate(call('kv_list', 0, 0, 0, 0, 100, 50))).toBe(0)
})

test('a guest that waits for its keys is stopped at its deadline', async () => {
  const function_id = Bun.randomUUIDv7()
  expect(await evaluate(PUT, { function_id })).toBe(0)
  const { kv_dir } = hostOptionsIn(runtime.dir)
  const other = new Database(kvStoreFile(kvStoreDir(kv_dir, function_id)))
  try {
    other.run('BEGIN IMMEDIATE')
    const from = performance.now()
    expect(await evaluate(PUT, { function_id, max_execution_ms: 300 })).toBe('execution_timeout')
    expect(performance.now() - from).toBeWithin(295, 3000)
  } finally {
    other.close()
  }
  expect(await evaluate(PUT, { function_id })).toBe(0)
})

test.each([
  ['puts', `(drop ${call('kv_put', 16, 3, 0, 200_000, 0)})`],
  ['lists', `(drop ${call('kv_list', 0, 0, 0, 0, 100, 50_000)})`],
  ['counts', `(drop ${call('metrics_increment', 16, 3, 0, 0, '(f64.const 1)')})`],
])('a guest that %s for ever is stopped at its deadline', async (_, work) => {
  const from = performance.now()
  const loop = `(loop $again ${work} (br $again)) (i32.const 0)`
  expect(await evaluate(loop, { max_execution_ms: 300 })).toBe('execution_timeout')
  expect(performance.now() - from).toBeLessThan(3000)
})

test('a damaged store costs its function an errno once, and nobody else anything', async () => {
  const function_id = Bun.randomUUIDv7()
  const dir = kvStoreDir(hostOptionsIn(runtime.dir).kv_dir, function_id)
  mkdirSync(dir, { recursive: true })
  writeFileSync(kvStoreFile(dir), 'x'.repeat(10_000))
  expect(await evaluate(PUT, { function_id })).toBe(-5)
  expect(await evaluate(PUT, { function_id })).toBe(0)
  expect(await evaluate(call('kv_get', 16, 3, 100, 50), { function_id })).toBe(5)
})

test('a key expires while a guest looks', async () => {
  const put = call('kv_put', 16, 3, 19, 5, 1)
  const get = call('kv_get', 16, 3, 100, 50)
  const loop = `(drop ${put}) (loop $again (br_if $again (i32.eq ${get} (i32.const 5)))) ${get}`
  const from = performance.now()
  expect(await evaluate(loop, { max_execution_ms: 5_000 })).toBe(-1)
  expect(performance.now() - from).toBeGreaterThanOrEqual(995)
})

test('a guest of another ABI has its keys, too', async () => {
  const fn = runtime.module(
    assemble(`(module ${IMPORTS}
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 16) "key\\0a\\0avalue")
      (func (export "_start")
        (if ${call('kv_put', 16, 3, 19, 7, 0)} (then unreachable))
        (i32.store (i32.const 104) (i32.const 200))
        (i32.store (i32.const 108) ${call('kv_get', 16, 3, 200, 50)})
        (drop (call $write (i32.const 1) (i32.const 104) (i32.const 1) (i32.const 100)))))`),
  )
  expect(fn.abi).toBe('wagi')
  // The value begins with the two line feeds that end an empty head.
  expect(answer(await runtime.invoker.invoke(fn, request('/'))).text).toContain('value')
})

/** A guest that calls the host function that its body names by number, with the six numbers that follow. */
function callingGuest(): Uint8Array<ArrayBuffer> {
  const given = (index: number) => `(i32.load offset=${4 + index * 4} (local.get 6))`
  const calls = [4, 5, 2, 6].map((count, index) => {
    const name = ['kv_get', 'kv_put', 'kv_delete', 'kv_list'][index] ?? ''
    return call(name, ...Array.from({ length: count }, (_, at) => given(at)))
  })
  const value = `(f64.convert_i32_s ${given(4)})`
  calls.push(call('metrics_increment', given(0), given(1), given(2), given(3), value))
  const chosen = calls.reduceRight((rest, each, index) => {
    const isIt = `(i32.eq (i32.load (local.get 6)) (i32.const ${index}))`
    return `(if (result i32) ${isIt} (then ${each}) (else ${rest}))`
  })
  return numberGuest(chosen, IMPORTS, 2)
}

test('P38: whatever numbers a guest passes, it gets a result of the table or a trap', async () => {
  const fn = runtime.module(callingGuest(), { memory_pages: 4 })
  const edge = fc.constantFrom(
    0,
    1,
    4,
    512,
    513,
    65_536,
    2 * 65_536,
    1_048_577,
    2 ** 31 - 1,
    -1,
    -4,
  )
  const number = fc.oneof(edge, fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }))
  const step = fc.tuple(fc.nat({ max: 4 }), fc.array(number, { minLength: 6, maxLength: 6 }))
  await fc.assert(
    fc.asyncProperty(step, async ([which, numbers]) => {
      const body = new Uint8Array(Int32Array.of(which, ...numbers).buffer)
      const outcome = await runtime.invoker.invoke(fn, request('/', { method: 'POST', body }))
      if (!outcome.ok) return expect(outcome.code).toBe('function_trap')
      const result = Number(answer(outcome).text) | 0
      expect(result).toBeGreaterThanOrEqual(-5)
      // No more than a value or a page can have; for a list, what the next key needs.
      expect(result).toBeLessThanOrEqual(1_048_576)
    }),
    { numRuns: 500 },
  )
  expect(runtime.defects).toEqual([])
}, 120_000)
