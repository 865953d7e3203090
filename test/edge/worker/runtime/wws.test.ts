import { afterAll, beforeAll, expect, test } from 'bun:test'

import type { WorkerFunction } from '../../../../src/edge/ipc.ts'
import { functionIdSchema } from '../../../../src/protocol/ids.ts'
import { startOrigin, text as textResponse } from '../fetch/origin.ts'
import { answer, failure, request, startRuntime } from './harness.ts'
import type { RuntimeHarness } from './harness.ts'
import { assemble } from './wat.ts'

let runtime: RuntimeHarness

beforeAll(async () => {
  runtime = await startRuntime(2, 2 ** 30, ['127.0.0.1/32'])
})
afterAll(async () => {
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

const guest = () => runtime.guest('wws-echo-rust', { abi: 'wws', env: { PLACE: 'tokyo' } })

test('a worker reads its request as JSON and answers in JSON', async () => {
  const fn = await guest()
  const outcome = await runtime.invoker.invoke(
    fn,
    request('/a%20b/c?x=1', {
      method: 'POST',
      body: new TextEncoder().encode('höllo "w"\n'),
      headers: [
        ['host', 'example.com:8080'],
        ['x-two', '1'],
        ['x-two', '2'],
      ],
    }),
  )
  const { status, headers, text } = answer(outcome)
  expect([status, headers.get('content-type')]).toEqual([203, 'text/html'])
  expect([headers.get('x-guest'), headers.get('x-place')]).toEqual(['rust', 'tokyo'])
  expect(JSON.parse(text)).toEqual({
    url: 'http://example.com:8080/a%20b/c?x=1',
    method: 'POST',
    headers: { host: 'example.com:8080', 'x-two': '1, 2' },
    body: 'höllo "w"\n',
    kv: {},
    params: {},
  })
})

test('a body that is not text comes as none, and a binary answer as base64', async () => {
  const fn = await guest()
  const body = Uint8Array.of(0xff, 0, 1)
  const echoed = answer(await runtime.invoker.invoke(fn, request('/', { method: 'POST', body })))
  expect(JSON.parse(echoed.text).body).toBe('')
  const binary = await runtime.invoker.invoke(fn, request('/binary'))
  if (!binary.ok) throw new Error(binary.message)
  expect(binary.response.body).toEqual(Uint8Array.of(0, 255, 0, 1))
})

/** A worker that answers these bytes. */
const saying = (output: string) =>
  runtime.module(
    assemble(`(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "${[...new TextEncoder().encode(output)].map((byte) => `\\${byte.toString(16).padStart(2, '0')}`).join('')}")
    (func (export "_start")
      (i32.store (i32.const 0) (i32.const 16))
      (i32.store (i32.const 4) (i32.const ${new TextEncoder().encode(output).length}))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))`),
    { abi: 'wws' },
  )

test('kv is what the worker answered last, and a function’s own', async () => {
  const fn = await guest()
  const kvOf = async (of: WorkerFunction) =>
    JSON.parse(answer(await runtime.invoker.invoke(of, request('/'))).text).kv
  const { function_id } = fn
  const answered = async (kv: string) => {
    const of = { ...saying(`{"data":"","status":200,"headers":{},"kv":${kv}}`), function_id }
    return runtime.invoker.invoke(of, request('/'))
  }
  expect(answer(await answered('{"a":"1","ä":"zwei"}')).status).toBe(200)
  expect(await kvOf(fn)).toEqual({ a: '1', ä: 'zwei' })
  // The echo answers with nothing in its kv, and so empties it.
  expect(await kvOf(fn)).toEqual({})
  answer(await answered('{"a":"2"}'))
  expect(await kvOf({ ...fn, function_id: functionIdSchema.parse(Bun.randomUUIDv7()) })).toEqual({})
  expect(await kvOf(fn)).toEqual({ a: '2' })
  expect(failure(await answered('{"a":2}'))).toBe('invalid_response')
})

test('what may be left out has a default', async () => {
  const fn = saying('{"data":"{}","status":200,"headers":{"Content-Type":"application/json"}}')
  const { status, headers, text } = answer(await runtime.invoker.invoke(fn, request('/')))
  expect([status, headers.get('content-type'), text]).toEqual([200, 'application/json', '{}'])
})

test('an answer of another form is refused, and says in what', async () => {
  const refused: [string, string][] = [
    ['', 'JSON'],
    ['{"data":"x"', 'JSON'],
    ['[]', 'no object'],
    ['{"status":200,"headers":{}}', 'data must'],
    ['{"data":"x","status":"200","headers":{}}', 'status must'],
    ['{"data":"x","status":99,"headers":{}}', 'status must'],
    ['{"data":"x","status":200,"headers":{"a":1}}', 'headers must'],
    ['{"data":"x","status":200,"headers":{"a":"b\\r\\nc: d"}}', 'malformed line'],
    ['{"data":"x","status":200,"headers":{"a b":"c"}}', 'malformed name'],
    ['{"data":"x!","status":200,"headers":{},"base64":true}', 'base64'],
  ]
  for (const [output, said] of refused) {
    const outcome = await runtime.invoker.invoke(saying(output), request('/'))
    expect([output, failure(outcome)]).toEqual([output, 'invalid_response'])
    expect(outcome.ok ? '' : outcome.message).toContain(said)
  }
})

test('a worker that sends requests is known by it, and reaches what its version may', async () => {
  const origin = await startOrigin({ answer: () => textResponse('hello') })
  try {
    const fn = await runtime.guest('wws-http-rust', { http_allow: [`127.0.0.1:${origin.port}`] })
    expect(fn.abi).toBe('wws')
    const ask = async (url: string) =>
      answer(await runtime.invoker.invoke(fn, request(`/to/${url}`))).text
    expect(await ask(origin.url)).toBe('200 hello')
    expect(origin.requests.map(({ method, body }) => [method, body])).toEqual([['POST', 'sent']])
    expect(await ask('http://127.0.0.1:1/')).toBe('error 3 http_fetch: not allowed')
    expect(await ask('nothing')).toBe('error 0 http_fetch: invalid')
  } finally {
    await origin.close()
  }
})
