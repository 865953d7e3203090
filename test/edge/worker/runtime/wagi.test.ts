import { afterAll, beforeAll, expect, test } from 'bun:test'

import { startOrigin, text } from '../fetch/origin.ts'
import type { RequestChanges } from './harness.ts'
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

async function environment(target: string, changes: RequestChanges) {
  const fn = await runtime.guest('wagi-misbehave-c')
  const outcome = await runtime.invoker.invoke(fn, request(target, changes))
  const lines = answer(outcome).text.trimEnd().split('\n')
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )
}

test('the variables are those that WAGI documents, for a prefix and an exact route', async () => {
  const headers: [string, string][] = [
    ['host', 'example.com:3000'],
    ['accept', 'text/html'],
    ['content-type', 'text/plain'],
    ['x-test-header', 'hello'],
    ['x_test_header', 'spoof'],
    ['proxy', 'http://evil.example'],
  ]
  const target = '/environ/test%3brun?foo=bar'
  const found = await environment(target, {
    method: 'POST',
    headers,
    body: new TextEncoder().encode('1234'),
    route_path: '/environ',
    server_name: 'example.com',
    server_port: 3000,
    remote_address: '192.168.0.1',
  })
  expect(found).toMatchObject({
    AUTH_TYPE: '',
    CONTENT_LENGTH: '4',
    CONTENT_TYPE: 'text/plain',
    GATEWAY_INTERFACE: 'CGI/1.1',
    HTTP_ACCEPT: 'text/html',
    HTTP_HOST: 'example.com:3000',
    HTTP_X_TEST_HEADER: 'hello',
    PATH_INFO: '/test;run',
    PATH_TRANSLATED: '/test;run',
    QUERY_STRING: 'foo=bar',
    REMOTE_ADDR: '192.168.0.1',
    REMOTE_HOST: '192.168.0.1',
    REMOTE_USER: '',
    REQUEST_METHOD: 'POST',
    SCRIPT_NAME: '/environ',
    SERVER_NAME: 'example.com',
    SERVER_PORT: '3000',
    SERVER_PROTOCOL: 'HTTP/1.1',
    X_FULL_URL: 'http://example.com:3000/environ/test%3brun?foo=bar',
    X_MATCHED_ROUTE: '/environ/...',
    X_RAW_PATH_INFO: '/test%3brun',
    X_RELATIVE_PATH: 'test%3brun',
  })
  expect(found['HTTP_PROXY']).toBeUndefined()
  expect(found['HTTP_CONTENT_TYPE']).toBeUndefined()
  const exact = await environment('/environ', { route_path: '/environ', route_type: 'exact' })
  expect(exact).toMatchObject({
    CONTENT_LENGTH: '0',
    CONTENT_TYPE: '',
    PATH_INFO: '',
    SCRIPT_NAME: '/environ',
    X_MATCHED_ROUTE: '/environ',
    X_RELATIVE_PATH: '',
  })
})

test('the hello world of WAGI’s documentation answers', async () => {
  const wat = `(module
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (memory 1) (export "memory" (memory 0))
    (data (i32.const 8) "content-type:text/plain\\n\\nhello world\\n")
    (func $main (export "_start")
      (i32.store (i32.const 0) (i32.const 8)) (i32.store (i32.const 4) (i32.const 37))
      (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20)) drop))`
  const outcome = await runtime.invoker.invoke(runtime.module(assemble(wat)), request('/'))
  const { status, headers, text: body } = answer(outcome)
  expect([status, headers.get('content-type'), body]).toEqual([200, 'text/plain', 'hello world\n'])
})

test('another export than _start answers where it is the entrypoint', async () => {
  const said = (name: string, at: number) =>
    `(func (export "${name}") (i32.store (i32.const 0) (i32.const ${at})) (i32.store (i32.const 4) (i32.const 6))
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20))))`
  const bytes = assemble(`(module
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1) (data (i32.const 64) "\\nstart\\nhello\\nhandl")
    ${said('_start', 64)} ${said('hello', 70)} ${said('handle', 76)})`)
  const run = async (entrypoint: string) => {
    const fn = runtime.module(bytes, { entrypoint })
    expect(fn.abi).toBe('wagi')
    return answer(await runtime.invoker.invoke(fn, request('/'))).text
  }
  expect([await run('hello'), await run('handle'), await run('_start')]).toEqual([
    'hello',
    'start',
    'start',
  ])
})

test('a module sends requests by wasi_experimental_http', async () => {
  const origin = await startOrigin({ answer: () => text('hello', 'X-One: one\r\n', '201 Created') })
  try {
    const http_allow = [`127.0.0.1:${origin.port}`]
    const fn = await runtime.guest('wagi-http-rust', { http_allow })
    const ask = async (url: string) => {
      const body = new TextEncoder().encode('sent')
      const outcome = await runtime.invoker.invoke(fn, request(`/?${url}`, { method: 'PUT', body }))
      return answer(outcome).text
    }
    expect(await ask(`${origin.url}/a`)).toBe(
      'req 0 201\nheader 0 one\nsmall 4\nall 0 x-one:one;content-length:5;|0 hel|0 lo|0 \nclose 0 1\n',
    )
    const [seen] = origin.requests
    expect([seen?.method, seen?.path, seen?.body]).toEqual(['PUT', '/a', 'sent'])
    expect(seen?.head).toContain('x-guest: rust')
    expect(await ask('http://127.0.0.1:1/')).toContain('req 7 0\nheader 1 \n')
    expect(await ask('nothing')).toContain('req 10 0\n')
    expect(origin.requests.length).toBe(1)
  } finally {
    await origin.close()
  }
})

/** A module whose `_routes` prints `routes`, and whose other exports print their names and their routes. */
const declaring = (routes: string, exit = '') =>
  runtime.module(
    assemble(`(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
    (memory (export "memory") 2)
    (data (i32.const 1024) "\\n_start\\n") (data (i32.const 1040) "\\non_exact\\n")
    (data (i32.const 1056) "\\non_wild\\n") (data (i32.const 2048) "${routes.replaceAll('\n', '\\n')}")
    (func $say (param $at i32) (param $length i32)
      (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $length))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
    (func $env (drop (call $environ (i32.const 4096) (i32.const 8192)))
      (call $say (i32.const 8192) (i32.const 4096)))
    (func (export "_routes") (call $say (i32.const 2048) (i32.const ${routes.length}))
      (drop (call $close (i32.const 1))) ${exit})
    (func (export "_start") (call $say (i32.const 1024) (i32.const 8)) (call $env))
    (func (export "on_exact") (call $say (i32.const 1040) (i32.const 10)) (call $env))
    (func (export "on_wild") (call $say (i32.const 1056) (i32.const 9)) (call $env)))`),
  )

test('a module may declare routes of its own, the last that fits wins', async () => {
  const text = '/exact on_exact\n/wild/... on_exact\n\n/wild/... on_wild\n/wild/main _start\n'
  for (const fn of [declaring(text), declaring(text, '(call $exit (i32.const 0))')]) {
    const tell = async (target: string) => {
      const { text: said } = answer(
        await runtime.invoker.invoke(fn, request(target, { route_path: '/base' })),
      )
      const variable = (name: string) => new RegExp(`\0${name}=([^\0]*)\0`).exec(said)?.[1]
      return [
        said.split('\n')[0],
        variable('SCRIPT_NAME'),
        variable('PATH_INFO'),
        variable('X_MATCHED_ROUTE'),
      ]
    }
    expect(await tell('/base')).toEqual(['_start', '/base', '', '/base/...'])
    expect(await tell('/base/exact?x=1')).toEqual(['on_exact', '/base/exact', '', '/base/exact'])
    expect(await tell('/base/exact/x')).toEqual(['_start', '/base', '/exact/x', '/base/...'])
    expect(await tell('/base/wild')).toEqual(['on_wild', '/base/wild', '', '/base/wild/...'])
    expect(await tell('/base/wild/a/b')).toEqual([
      'on_wild',
      '/base/wild',
      '/a/b',
      '/base/wild/...',
    ])
    expect(await tell('/base/wilder')).toEqual(['_start', '/base', '/wilder', '/base/...'])
    expect(await tell('/base/wild/main')).toEqual([
      '_start',
      '/base/wild/main',
      '',
      '/base/wild/main',
    ])
  }
})

test('routes that are none, or lead nowhere, fail the call', async () => {
  const outcome = async (routes: string, exit = '') =>
    failure(await runtime.invoker.invoke(declaring(routes, exit), request('/x')))
  expect(await outcome('/x\n')).toBe('invalid_response')
  expect(await outcome('/x on_exact more\n')).toBe('invalid_response')
  expect(await outcome('/x nothing\n')).toBe('function_load_failed')
  expect(await outcome('/x memory\n')).toBe('function_load_failed')
  expect(await outcome('/x on_exact\n', '(call $exit (i32.const 3))')).toBe('function_error')
  expect(await outcome('/x on_exact\n', 'unreachable')).toBe('function_trap')
  expect(await outcome('/x _routes\n')).toBe('invalid_response')
})
