import { afterAll, beforeAll, expect, test } from 'bun:test'

import fc from 'fast-check'

import type { WorkerFunction } from '../../../../src/edge/ipc.ts'
import type { Outcome } from '../../../../src/edge/worker/call.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'
import { startOrigin, text } from '../fetch/origin.ts'
import type { RequestChanges } from './harness.ts'
import { answer, failure, request, startRuntime } from './harness.ts'
import type { RuntimeHarness } from './harness.ts'
import { assemble } from './wat.ts'

let runtime: RuntimeHarness
let fn: WorkerFunction

beforeAll(async () => {
  runtime = await startRuntime(2, 2 ** 30, ['127.0.0.1/32'])
  fn = await runtime.guest('spin-echo-rust', { env: { PLACE: 'tokyo', lower: 'x' } })
})
afterAll(async () => {
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

const call = (target: string, changes: RequestChanges = {}): Promise<Outcome> =>
  runtime.invoker.invoke(fn, request(target, changes))

test('a module gets the request as lists and strings of its own, and gives its response so', async () => {
  const outcome = await call('/a%20b/c?x=1&y=%C3%A4', {
    method: 'DELETE',
    body: new TextEncoder().encode('höllo "w"\n'),
    headers: [
      ['host', 'example.com'],
      ['x-one', '1'],
      ['x-empty', ''],
      ['spin-client-addr', 'somebody else'],
    ],
    route_path: '/a%20b',
    remote_address: '::1',
  })
  const { status, headers, text: json } = answer(outcome)
  expect([status, headers.get('content-type'), headers.get('x-guest')]).toEqual([
    201,
    'text/plain',
    'rust',
  ])
  expect(JSON.parse(json)).toEqual({
    method: 'DELETE',
    path: '/a%20b/c',
    query: 'x=1&y=%C3%A4',
    body: 'höllo "w"\n',
    headers: {
      host: 'example.com',
      'x-one': '1',
      'x-empty': '',
      'spin-path-info': '/c',
      'spin-full-url': 'http://example.com/a%20b/c?x=1&y=%C3%A4',
      'spin-matched-route': '/a%20b/...',
      'spin-base-path': '/',
      'spin-raw-component-route': '/a%20b/...',
      'spin-component-route': '/a%20b',
      'spin-client-addr': '[::1]:4711',
    },
  })
  expect(outcome.logs.map(({ message }) => message)).toEqual(['handling /a%20b/c?x=1&y=%C3%A4'])
})

test('every method has its number', async () => {
  for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS']) {
    expect(JSON.parse(answer(await call('/', { method })).text).method).toBe(method)
  }
})

test('a variable is given in memory of the guest’s allocator, which frees it', async () => {
  expect(answer(await call('/config/PLACE')).text).toBe('tokyo')
  expect(answer(await call('/config/place')).text).toBe('tokyo')
  expect(answer(await call('/config/lower')).text).toBe('x')
  const missing = answer(await call('/config/none'))
  expect([missing.status, missing.text]).toEqual([404, '1: There is no variable "none".'])
})

test('what edgefn does not have answers with its own error', async () => {
  expect(answer(await call('/pg')).text).toBe('1 5: not available on edgefn')
})

test('the default store is the function’s keys', async () => {
  const work = async (what: string, of = fn) =>
    answer(await runtime.invoker.invoke(of, request(`/kv/${what}`))).text
  expect(await work('get/a')).toBe('error 4')
  expect(await work('exists/a')).toBe('0')
  expect(await work('keys')).toBe('')
  expect([await work('set/a/1'), await work('set/b/two'), await work('set/a/3')]).toEqual([
    'done',
    'done',
    'done',
  ])
  expect([await work('get/a'), await work('get/b'), await work('exists/b')]).toEqual([
    '3',
    'two',
    '1',
  ])
  expect(await work('keys')).toBe('a b')
  expect([await work('delete/a'), await work('delete/a'), await work('keys')]).toEqual([
    'done',
    'done',
    'b',
  ])
  expect(await work('open/other')).toBe('error 1')
  expect(await work('bad/b')).toBe('error 3')
  expect(await work('get/')).toBe('error 5: a key has at least one byte')
  expect(await work(`get/${'k'.repeat(LIMITS.kvKeyBytesMax + 1)}`)).toBe(
    `error 5: a key has at most ${LIMITS.kvKeyBytesMax} bytes`,
  )
  for (let key = 0; key < 300; key++) await work(`set/many-${1000 + key}/x`)
  const keys = (await work('keys')).split(' ')
  expect([keys.length, keys.at(-1)]).toEqual([301, 'many-1299'])
  // Another function has keys of its own.
  expect(await work('keys', await runtime.guest('spin-echo-rust'))).toBe('')
})

test('a module sends requests to the hosts that its version may reach', async () => {
  const origin = await startOrigin({ answer: () => text('hello', 'X-One: 1\r\n', '203 Said') })
  try {
    const http_allow = [`127.0.0.1:${origin.port}`]
    const reaching = await runtime.guest('spin-echo-rust', { http_allow })
    const body = new TextEncoder().encode('sent')
    const ask = async (of: WorkerFunction, url: string) =>
      answer(await runtime.invoker.invoke(of, request(`/http?${url}`, { body }))).text
    expect(await ask(reaching, `${origin.url}/a?b`)).toBe('203 x-one=1,content-length=5 hello')
    const [seen] = origin.requests
    expect([seen?.method, seen?.path, seen?.body]).toEqual(['POST', '/a?b', 'sent'])
    expect(seen?.head.toLowerCase()).toContain('x-guest: rust')
    expect(seen?.head).not.toContain('elsewhere')
    expect(await ask(reaching, 'http://127.0.0.1:1/')).toBe('error 1')
    expect(await ask(reaching, 'not a url')).toBe('error 2')
    expect(await ask(fn, origin.url)).toBe('error 1')
    expect(origin.requests.length).toBe(1)
  } finally {
    await origin.close()
  }
})

test('a module that ends itself has not answered, and the next request gets a fresh instance', async () => {
  expect(failure(await call('/panic'))).toBe('function_trap')
  expect(failure(await call('/exit'))).toBe('function_error')
  expect(answer(await call('/')).status).toBe(201)
})

test('a body that does not fit is a memory limit', async () => {
  const small = { ...fn, memory_pages: 16, version: 2 }
  const body = new Uint8Array(2 * 1024 * 1024)
  const outcome = await runtime.invoker.invoke(small, request('/', { method: 'POST', body }))
  expect(failure(outcome)).toBe('memory_limit')
})

/** A module that answers with the record at 64, which `data` fills, and allocates from 4096 up. */
const saying = (data: string, more = '') =>
  runtime.module(
    assemble(`(module ${more.startsWith('(import') ? more : ''}
    (memory (export "memory") 1)
    (global $heap (mut i32) (i32.const 4096))
    (data (i32.const 64) "${data}")
    (func $realloc (export "canonical_abi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
      (global.get $heap) (global.set $heap (i32.add (global.get $heap) (local.get $size))))
    ${more.startsWith('(import') ? '' : more}
    (func (export "handle-http-request") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
      (i32.const 64)))`),
  )

/** A record: status, then per option its tag, address and length. */
function responseRecord(status: number, headers: number[], body: number[]): string {
  return escaped(recordBytes(status, headers, body))
}

function recordBytes(status: number, headers: number[], body: number[]): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(28))
  bytes.setUint16(0, status, true)
  for (const [at, [tag = 0, address = 0, length = 0]] of [
    [4, headers],
    [16, body],
  ] as const) {
    bytes.setUint8(at, tag)
    bytes.setUint32(at + 4, address, true)
    bytes.setUint32(at + 8, length, true)
  }
  return new Uint8Array(bytes.buffer)
}

const escaped = (bytes: Uint8Array) =>
  [...bytes].map((byte) => `\\${byte.toString(16).padStart(2, '0')}`).join('')

test('a response without header and body is one', async () => {
  const { status, text: body } = answer(
    await runtime.invoker.invoke(saying(responseRecord(404, [], [])), request('/')),
  )
  expect([status, body]).toEqual([404, ''])
})

test('a record that lies is an invalid response, whatever it says', async () => {
  const huge = 0xffff_ffff
  const records: [string, string][] = [
    ['status', responseRecord(99, [], [])],
    ['status over', responseRecord(600, [], [])],
    ['option', responseRecord(200, [2], [])],
    ['body outside', responseRecord(200, [], [1, 65_530, 100])],
    ['body at the end of addresses', responseRecord(200, [], [1, huge, 2])],
    ['body of negative length', responseRecord(200, [], [1, 0, huge])],
    ['body over its limit', responseRecord(200, [], [1, 0, LIMITS.responseBodyBytesMax + 1])],
    ['header list of negative length', responseRecord(200, [1, 0, huge], [])],
    ['header list too long', responseRecord(200, [1, 0, 101], [])],
    ['header list outside', responseRecord(200, [1, 65_530, 1], [])],
    ['header outside', responseRecord(200, [1, 92, 1], []) + escaped(words(70_000, 4, 0, 0))],
    ['header name', responseRecord(200, [1, 92, 1], []) + escaped(words(0, 4, 0, 1))],
    [
      'header over its limit',
      responseRecord(200, [1, 92, 1], []) + escaped(words(0, 65_536, 0, 65_536)),
    ],
  ]
  for (const [what, data] of records) {
    const outcome = await runtime.invoker.invoke(saying(data), request('/'))
    expect([what, failure(outcome)]).toEqual([what, 'invalid_response'])
  }
})

function words(...values: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer)
}

test('an allocator that lies is a memory limit', async () => {
  for (const given of ['0', '-1', '65536', '65535']) {
    const bytes = assemble(`(module (memory (export "memory") 1)
      (func (export "canonical_abi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const ${given}))
      (func (export "handle-http-request") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
        (i32.const 64)))`)
    const outcome = await runtime.invoker.invoke(runtime.module(bytes), request('/long'))
    expect([given, failure(outcome)]).toEqual([given, 'memory_limit'])
  }
})

/** A module that asks for a variable from its `handle-http-request`, in ways that no binding does. */
const asking = (realloc: string, ask: string) =>
  runtime.module(
    assemble(`(module
    (import "spin-config" "get-config" (func $config (param i32 i32 i32)))
    (import "key-value" "open" (func $open (param i32 i32 i32)))
    (memory (export "memory") 1) (table 1 funcref) (elem (i32.const 0) $config)
    (type $import (func (param i32 i32 i32)))
    (global $heap (mut i32) (i32.const 4096)) (global $in (mut i32) (i32.const 0))
    (data (i32.const 0) "PLACE")
    (func (export "canonical_abi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
      (if (result i32) (global.get $in) (then ${realloc}) (else
        (global.get $heap)
        (global.set $heap (i32.add (global.get $heap) (local.get $size))))))
    (func (export "handle-http-request") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
      (global.set $in (i32.const 1)) ${ask}
      (i32.store16 (i32.const 64) (i32.const 200)) (i32.store8 (i32.const 68) (i32.const 0))
      (i32.store8 (i32.const 80) (i32.const 0)) (i32.const 64)))`),
    { env: { PLACE: 'tokyo' }, max_execution_ms: 200 },
  )

const ASK = '(call $config (i32.const 0) (i32.const 5) (i32.const 128))'

test('an allocation for a result that is not where it says ends the call', async () => {
  for (const given of ['i32.const 0', 'i32.const -1', 'i32.const 65536', 'i32.const 65533']) {
    const outcome = await runtime.invoker.invoke(asking(`(${given})`, ASK), request('/'))
    expect([given, failure(outcome)]).toEqual([given, 'function_trap'])
  }
})

test('host functions called in ways that no binding does end the call, or answer, and no more', async () => {
  const heap = '(i32.const 4096)'
  const trap: [string, string, string][] = [
    [
      'from the allocator',
      `${'(call $open (i32.const 0) (i32.const 5) (i32.const 160))'}${heap}`,
      ASK,
    ],
    ['a record outside', heap, ASK.replace('128', '65530')],
    ['a record at the end of addresses', heap, ASK.replace('128', '-4')],
    ['a name outside', heap, '(call $config (i32.const 65535) (i32.const 5) (i32.const 128))'],
  ]
  for (const [what, realloc, ask] of trap) {
    const outcome = await runtime.invoker.invoke(asking(realloc, ask), request('/'))
    expect([what, failure(outcome)]).toEqual([what, 'function_trap'])
  }
  // Through a table there is nobody to allocate: the guest finds a record that is neither.
  const indirect = ASK.replace('call $config', 'call_indirect (type $import)').replace(
    '(i32.const 128)',
    '(i32.const 128) (i32.const 0)',
  )
  const outcome = await runtime.invoker.invoke(asking(heap, indirect), request('/'))
  expect(answer(outcome).status).toBe(200)
  const endless = asking(`(loop (br 0)) ${heap}`, ASK)
  expect(failure(await runtime.invoker.invoke(endless, request('/')))).toBe('execution_timeout')
})

test('whatever bytes a record is made of, it is a response or an invalid one', async () => {
  const record = fc.oneof(
    fc.uint8Array({ minLength: 28, maxLength: 28 }),
    fc
      .tuple(
        fc.integer({ min: 190, max: 610 }),
        fc.tuple(fc.integer({ min: 0, max: 2 }), address, fc.integer({ min: -1, max: 101 })),
        fc.tuple(fc.integer({ min: 0, max: 2 }), address, fc.integer({ min: -1, max: 70_000 })),
      )
      .map(([status, headers, body]) => recordBytes(status, headers, body)),
  )
  await fc.assert(
    fc.asyncProperty(record, async (bytes) => {
      const outcome = await runtime.invoker.invoke(saying(escaped(bytes)), request('/'))
      if (!outcome.ok) expect(outcome.code).toBe('invalid_response')
    }),
    { numRuns: 100 },
  )
}, 120_000)

const address = fc.oneof(
  fc.integer({ min: 0, max: 200 }),
  fc.integer({ min: 65_000, max: 66_000 }),
  fc.constant(0xffff_fff0),
)

/** A module that sends a request described by its parameters. */
const sending = (parameters: string) =>
  runtime.module(
    assemble(`(module
    (import "wasi-outbound-http" "request" (func $request (param ${'i32 '.repeat(11)})))
    (memory (export "memory") 1)
    (global $heap (mut i32) (i32.const 4096))
    (data (i32.const 0) "http://127.0.0.1:1/")
    (func (export "canonical_abi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
      (global.get $heap) (global.set $heap (i32.add (global.get $heap) (local.get $size))))
    (func (export "handle-http-request") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
      (call $request ${parameters} (i32.const 128))
      (i32.store16 (i32.const 64) (i32.add (i32.const 200) (i32.load8_u (i32.const 132))))
      (i32.store8 (i32.const 68) (i32.const 0)) (i32.store8 (i32.const 80) (i32.const 0))
      (i32.const 64)))`),
    { http_allow: ['127.0.0.1:1'] },
  )

test('a request that lies is an error of its interface, or a trap', async () => {
  const parameters = (...values: number[]) =>
    values.map((value) => `(i32.const ${value})`).join(' ')
  const cases: [string, string, number | string][] = [
    ['nobody there', parameters(0, 0, 19, 0, 0, 0, 0, 0, 0, 0), 3],
    ['method', parameters(7, 0, 19, 0, 0, 0, 0, 0, 0, 0), 2],
    ['method below', parameters(-1, 0, 19, 0, 0, 0, 0, 0, 0, 0), 2],
    ['url too long', parameters(0, 0, -1, 0, 0, 0, 0, 0, 0, 0), 3],
    ['url outside', parameters(0, 65_530, 19, 0, 0, 0, 0, 0, 0, 0), 'function_trap'],
    ['list too long', parameters(0, 0, 19, 0, -1, 0, 0, 0, 0, 0), 3],
    ['list outside', parameters(0, 0, 19, 65_530, 1, 0, 0, 0, 0, 0), 'function_trap'],
    ['body too long', parameters(0, 0, 19, 0, 0, 0, 0, 1, 0, -1), 3],
    ['body outside', parameters(0, 0, 19, 0, 0, 0, 0, 1, 65_530, 100), 'function_trap'],
  ]
  for (const [what, given, expected] of cases) {
    const outcome = await runtime.invoker.invoke(sending(given), request('/'))
    const found = outcome.ok ? outcome.response.status - 200 : outcome.code
    expect([what, found]).toEqual([what, expected])
  }
})
