import { afterAll, beforeAll, expect, test } from 'bun:test'

import fc from 'fast-check'

import { MemoryFault } from '../../../../ffi/memory.ts'
import type { WorkerFunction } from '../../../../src/edge/ipc.ts'
import { Kernel } from '../../../../src/edge/worker/host/extism/kernel.ts'
import { EXTISM_FUNCTIONS } from '../../../../src/wasm/extism-imports.ts'
import { startOrigin, text as textResponse } from '../fetch/origin.ts'
import type { RequestChanges } from './harness.ts'
import { answer, failure, request, startRuntime } from './harness.ts'
import type { RuntimeHarness } from './harness.ts'
import { assemble } from './wat.ts'

let runtime: RuntimeHarness
let plugin: WorkerFunction

beforeAll(async () => {
  runtime = await startRuntime(2, 2 ** 30, ['127.0.0.1/32'])
  plugin = await runtime.guest('extism-plugin-c', { max_execution_ms: 20_000 })
})
afterAll(async () => {
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

const text = (value: string) => new TextEncoder().encode(value)
const call = (target: string, changes: RequestChanges = {}) =>
  runtime.invoker.invoke(plugin, request(target, changes))

test('a plug-in of the AssemblyScript PDK takes the body and answers its output', async () => {
  const fn = await runtime.guest('extism-count-as', { env: { PLACE: 'tokyo' } })
  expect([fn.abi, fn.entrypoint]).toEqual(['extism', 'count_vowels'])
  const body = text('Hello, World! Ünïcödé')
  for (const calls of [1, 2, 3]) {
    const outcome = await runtime.invoker.invoke(fn, request('/a?b', { method: 'POST', body }))
    const { status, headers, text: json } = answer(outcome)
    expect([status, headers.get('content-type')]).toEqual([200, 'application/json'])
    // Variables stay with the instance.
    expect(JSON.parse(json)).toEqual({ count: 3, calls, path: '/a', place: 'tokyo' })
  }
})

test('input, output, configuration and log are the host’s', async () => {
  expect(answer(await call('/method', { method: 'PUT' })).text).toBe('PUT')
  expect(answer(await call('/query?x=1&y')).text).toBe('x=1&y')
  expect(answer(await call('/header', { headers: [['x-one', '1']] })).text).toBe('1')
  expect(answer(await call('/header')).text).toBe('')
  expect(answer(await call('/constructed')).text).toBe('once')
  const { logs } = await call('/log')
  expect(logs.map(({ level, message }) => [level, message])).toEqual([
    ['info', 'to know'],
    ['warn', 'to mind'],
  ])
})

test('any body comes back whole, as a block and copied word by word', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 3000 }), async (bytes) => {
      for (const path of ['/echo', '/copy']) {
        const outcome = await call(path, { method: 'POST', body: new Uint8Array(bytes) })
        if (!outcome.ok) throw new Error(outcome.message)
        expect(outcome.response.body).toEqual(new Uint8Array(bytes))
      }
    }),
    { numRuns: 100 },
  )
})

test('status and header fields come from variables, for one call', async () => {
  const made = answer(await call('/created'))
  expect([made.status, made.text]).toEqual([201, 'made'])
  expect([made.headers.get('location'), made.headers.get('x-made')]).toEqual(['/made', 'yes'])
  expect(answer(await call('/method')).status).toBe(200)
  expect(failure(await call('/bad-status'))).toBe('invalid_response')
  expect(failure(await call('/bad-header'))).toBe('invalid_response')
  expect(failure(await call('/long-header'))).toBe('invalid_response')
  expect(answer(await call('/method')).headers.get('x-made')).toBeUndefined()
})

test('an error is the function’s, and its message is for the log alone', async () => {
  const outcome = await call('/error')
  expect(failure(outcome)).toBe('function_error')
  expect(outcome.ok ? '' : outcome.message).not.toContain('the reason')
  expect(outcome.logs.map(({ level, message }) => [level, message])).toEqual([
    ['error', 'the reason'],
  ])
  const result = await call('/result')
  expect(failure(result)).toBe('function_error')
  expect(result.ok ? {} : result.details).toEqual({ result: 3 })
  expect(failure(await call('/exit'))).toBe('function_error')
})

test('what is outside of the kernel’s memory is a trap, and the next call is served', async () => {
  const outside = [
    'output-outside',
    'output-negative',
    'load-outside',
    'load-null',
    'store-outside',
  ]
  for (const path of [...outside, 'http', 'vars']) {
    expect([path, failure(await call(`/${path}`))]).toEqual([path, 'function_trap'])
    expect(answer(await call('/method')).text).toBe('GET')
  }
})

test('a plug-in sends requests to the hosts that its version may reach', async () => {
  const origin = await startOrigin({
    answer: () => textResponse('hello', 'X-One: 1\r\n', '404 Not Found'),
  })
  try {
    const http_allow = [`127.0.0.1:${origin.port}`]
    const fn = await runtime.guest('extism-plugin-c', { http_allow })
    const ask = async (said: unknown, of = fn) =>
      runtime.invoker.invoke(of, request('/http', { body: text(JSON.stringify(said)) }))
    const headers = { 'X-Two': '2', Host: 'elsewhere' }
    const outcome = await ask({ url: `${origin.url}/a`, method: 'put', headers })
    const { status, text: fields } = answer(outcome)
    expect([status, JSON.parse(fields)]).toEqual([404, { 'x-one': '1', 'content-length': '5' }])
    expect(outcome.logs.map(({ message }) => message)).toEqual(['hello'])
    const [seen] = origin.requests
    expect([seen?.method, seen?.path, seen?.body]).toEqual(['PUT', '/a', 'sent'])
    expect(seen?.head.toLowerCase()).toContain('x-two: 2')
    for (const [of, said] of [
      [fn, { url: 'http://127.0.0.1:1/' }],
      [fn, { url: 'nothing' }],
      [fn, { url: 5 }],
      [fn, { url: origin.url, headers: { 'a\r\nb': 'c' } }],
      [fn, 'no object'],
      [plugin, { url: origin.url }],
    ] as const) {
      expect(failure(await ask(said, of))).toBe('function_trap')
    }
    expect(origin.requests.length).toBe(1)
  } finally {
    await origin.close()
  }
})

test('memory of the kernel is bounded, given back, and gone after the call', async () => {
  for (const [path, said] of [
    ['/free-twice', 'different'],
    ['/alloc', 'bounded'],
    ['/alloc-huge', 'none'],
    ['/alloc-many', ''],
    ['/alloc', 'bounded'],
  ]) {
    expect([path, answer(await call(path ?? '')).text]).toEqual([path, said])
  }
  const large = { ...plugin, memory_pages: 256, version: 2 }
  const outcome = await runtime.invoker.invoke(large, request('/output-large'))
  expect(failure(outcome)).toBe('invalid_response')
})

test('a plug-in that only calls its host is stopped', async () => {
  const fn = { ...plugin, max_execution_ms: 100, version: 3 }
  expect(failure(await runtime.invoker.invoke(fn, request('/loop')))).toBe('execution_timeout')
})

test('a request that is longer than any may be is not parsed', async () => {
  const body = new Uint8Array(1_000_000).fill(0x20)
  const outcome = await runtime.invoker.invoke(plugin, request('/http', { method: 'POST', body }))
  expect(failure(outcome)).toBe('function_trap')
  const messages = outcome.logs.map(({ message }) => message)
  expect(messages).toEqual(['http_request: the request is over 196608 bytes'])
})

test('the names of before 1.0 are served', async () => {
  const old = assemble(`(module
    (import "env" "extism_input_length" (func $length (result i64)))
    (import "env" "extism_input_load_u8" (func $load (param i64) (result i32)))
    (import "env" "extism_alloc" (func $alloc (param i64) (result i64)))
    (import "env" "extism_store_u8" (func $store (param i64 i32)))
    (import "env" "extism_output_set" (func $output (param i64 i64)))
    (memory (export "memory") 1)
    (func (export "last_byte") (result i32) (local $at i64)
      (local.set $at (call $alloc (i64.const 1)))
      (call $store (local.get $at) (call $load (i64.sub (call $length) (i64.const 1))))
      (call $output (local.get $at) (i64.const 1))
      (i32.const 0)))`)
  const fn = runtime.module(old)
  const outcome = await runtime.invoker.invoke(fn, request('/', { body: text('abc') }))
  expect(answer(outcome).text).toBe('c')
})

test('initialisers run as the Extism runtime runs them', async () => {
  const start = (name: string, params = '') =>
    `(func (export "${name}") ${params} (global.set $n (i32.add (i32.mul (global.get $n) (i32.const 10)) (i32.const ${name.length}))))`
  const module = (initialisers: string) =>
    runtime.module(
      assemble(`(module
    (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
    (import "extism:host/env" "store_u8" (func $store (param i64 i32)))
    (import "extism:host/env" "output_set" (func $output (param i64 i64)))
    (memory (export "memory") 1) (global $n (mut i32) (i32.const 0)) ${initialisers}
    (func (export "run") (result i32) (local $at i64)
      (local.set $at (call $alloc (i64.const 1)))
      (call $store (local.get $at) (global.get $n))
      (call $output (local.get $at) (i64.const 1)) (i32.const 0)))`),
    )
  const run = async (fn: WorkerFunction) => {
    const outcome = await runtime.invoker.invoke(fn, request('/'))
    return outcome.ok ? outcome.response.body[0] : outcome.code
  }
  expect(await run(module(start('_start')))).toBe(0)
  expect(await run(module(start('_initialize')))).toBe(11)
  expect(await run(module(start('_initialize') + start('__wasm_call_ctors')))).toBe(17)
  expect(await run(module(start('_initialize') + start('hs_init', '(param i32 i32)')))).toBe(117)
})

test('a kernel used before there is a call, or by no plug-in, is a trap', async () => {
  const early = assemble(`(module
    (import "extism:host/env" "input_length" (func $length (result i64)))
    (memory (export "memory") 1) (start $s) (func $s (drop (call $length)))
    (func (export "run") (result i32) (i32.const 0)))`)
  expect(answer(await runtime.invoker.invoke(runtime.module(early), request('/'))).status).toBe(200)
  const command = assemble(`(module
    (import "extism:host/env" "input_length" (func $length (result i64)))
    (memory (export "memory") 1) (func (export "_start") (drop (call $length))))`)
  const fn = runtime.module(command, { abi: 'wagi' })
  expect(failure(await runtime.invoker.invoke(fn, request('/')))).toBe('function_trap')
})

test('blocks of a kernel never overlap, begin empty and stay within its bounds', () => {
  const step = fc.oneof(
    fc.record({ alloc: fc.integer({ min: 0, max: 3000 }) }),
    fc.record({ free: fc.nat({ max: 50 }) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const kernel = new Kernel(new Uint8Array(10), 65_536)
      const live: { address: number; length: number; mark: number }[] = []
      for (const [index, each] of steps.entries()) {
        if ('alloc' in each) {
          const address = kernel.alloc(each.alloc)
          if (address === 0) continue
          expect(kernel.block(address).every((byte) => byte === 0)).toBe(true)
          const mark = (index % 255) + 1
          for (let at = 0; at < each.alloc; at++) kernel.storeU8(address + at, mark)
          live.push({ address, length: each.alloc, mark })
        } else {
          for (const { address } of live.splice(each.free, 1)) kernel.free(address)
        }
      }
      for (const { address, length, mark } of live) {
        expect(kernel.length(address)).toBe(length)
        expect(kernel.block(address).every((byte) => byte === mark)).toBe(true)
      }
      const total = live.reduce((sum, { length }) => sum + length, 0)
      expect(total).toBeLessThanOrEqual(65_536)
      expect(() => kernel.block(1)).toThrow(MemoryFault)
      expect(() => kernel.loadU64(2 ** 60)).toThrow(MemoryFault)
    }),
    { numRuns: 100 },
  )
})

/** A plug-in whose input is calls of the kernel: 17 bytes each, the number of a function and two arguments. */
const CALLS: readonly [string, string, string][] = EXTISM_FUNCTIONS.filter(
  ([name]) => name !== 'http_request',
).map(([name, params, results]) => [name, params, results])

function interpreter(): Uint8Array<ArrayBuffer> {
  const imports = CALLS.map(
    ([name, params, results]) =>
      `(import "extism:host/env" "${name}" (func $${name} (param ${params}) (result ${results})))`,
  )
  const argument = (type: string, at: number) =>
    type === 'i64'
      ? `(call $word (i32.const ${at}))`
      : `(i32.wrap_i64 (call $word (i32.const ${at})))`
  const cases = CALLS.map(([name, params, results], index) => {
    const parameters = params === '' ? [] : params.split(' ')
    const call = `(call $${name} ${parameters.map((type, at) => argument(type, 1 + 8 * at)).join(' ')})`
    const run = results === '' ? call : `(drop ${call})`
    return `(if (i32.eq (local.get $which) (i32.const ${index})) (then ${run}))`
  })
  return assemble(`(module ${imports.join('\n')}
    (memory (export "memory") 1) (global $at (mut i64) (i64.const 0))
    (func $word (param $offset i32) (result i64)
      (call $input_load_u64 (i64.add (global.get $at) (i64.extend_i32_u (local.get $offset)))))
    (func (export "run") (result i32) (local $which i32)
      (global.set $at (i64.const 0))
      (loop $next
        (local.set $which (call $input_load_u8 (global.get $at)))
        ${cases.join('\n')}
        (global.set $at (i64.add (global.get $at) (i64.const 17)))
        (br_if $next (i64.lt_u (global.get $at) (call $input_length))))
      (i32.const 0)))`)
}

test('whatever a plug-in calls of its kernel, it answers or fails, and its neighbours never notice', async () => {
  const fn = runtime.module(interpreter(), { max_execution_ms: 5000 })
  const value = fc.oneof(
    fc.bigInt({ min: 0n, max: 5000n }),
    fc.constantFrom(-1n, 1n << 62n, -(1n << 63n), 0xffff_ffffn, 64n, 65n, 128n, 65_536n * 70n),
  )
  const step = fc.tuple(fc.nat({ max: CALLS.length - 1 }), value, value)
  const codes = new Set<string>()
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 30 }), async (steps) => {
      const body = new Uint8Array(17 * steps.length)
      const view = new DataView(body.buffer)
      for (const [index, [which, first, second]] of steps.entries()) {
        view.setUint8(17 * index, which)
        view.setBigInt64(17 * index + 1, BigInt.asIntN(64, first), true)
        view.setBigInt64(17 * index + 9, BigInt.asIntN(64, second), true)
      }
      const outcome = await runtime.invoker.invoke(fn, request('/', { method: 'POST', body }))
      codes.add(outcome.ok ? 'ok' : outcome.code)
    }),
    { numRuns: 300 },
  )
  for (const code of codes) {
    expect(['ok', 'function_trap', 'function_error', 'invalid_response']).toContain(code)
  }
  expect(codes.has('ok') && codes.has('function_trap')).toBe(true)
  expect(answer(await call('/method')).text).toBe('GET')
}, 120_000)
