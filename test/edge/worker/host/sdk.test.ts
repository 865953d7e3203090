import { afterAll, beforeAll, describe, expect, test } from 'bun:test'

import type { WorkerFunction } from '../../../../src/edge/ipc.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'
import { answer, request, startRuntime } from '../runtime/harness.ts'
import type { RuntimeHarness } from '../runtime/harness.ts'

let runtime: RuntimeHarness
let origin: Bun.Server<undefined>

beforeAll(async () => {
  origin = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    async fetch(of) {
      const sent = `${of.method} ${of.headers.get('x-from')} ${await of.text()} `
      const body = sent + 'y'.repeat(100_000)
      return new Response(body, { status: 202, headers: { 'x-answer': 'yes' } })
    },
  })
  runtime = await startRuntime(2, 2 ** 30, ['127.0.0.1/32'])
})
afterAll(async () => {
  await origin.stop(true)
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

describe.each(['sdk-c', 'sdk-bare-c', 'sdk-rust', 'sdk-as'])('%s', (name) => {
  let fn: WorkerFunction
  beforeAll(async () => {
    fn = await runtime.guest(name, {
      memory_pages: 256,
      max_execution_ms: 30_000,
      env: { NAME: 'value of it' },
      http_allow: [`127.0.0.1:${origin.port}`],
    })
  })

  async function call(query: Record<string, string>, body: string | Uint8Array = '') {
    const bytes = Uint8Array.from(typeof body === 'string' ? Buffer.from(body) : body)
    const target = `/some/path?${new URLSearchParams(query)}`
    const headers = [
      ['host', 'example.com'],
      ['x-a', 'a: b'],
    ] as const
    const of = request(target, { method: 'POST', headers, body: bytes })
    return runtime.invoker.invoke(fn, of)
  }
  const text = async (query: Record<string, string>, body: string | Uint8Array = '') =>
    answer(await call(query, body)).text

  test('gives the handler the whole request, and what the host knows', async () => {
    const lines = (await text({ op: 'echo', q: 'ü & = %' }, 'the body')).trimEnd().split('\n')
    expect(lines).toEqual([
      'method=POST',
      'path=/some/path',
      'q=ü & = %',
      'header=a: b',
      'host_header=a: b',
      'missing=(none)',
      'id=test-request-1',
      'env=value of it',
      'body=the body',
    ])
  })

  test('sends responses of any size, with status and headers', async () => {
    for (const n of [0, 1, 65_000, 65_536, 200_000, 1_000_000]) {
      const { status, headers, text: body } = answer(await call({ op: 'big', n: String(n) }))
      expect([status, headers.get('x-big'), body.length]).toEqual([201, 'yes', n])
      expect(body.replaceAll('x', '')).toBe('')
    }
  })

  test('lets no value begin another header, of a response or of a fetch', async () => {
    const { headers } = answer(await call({ op: 'header', key: 'a\r\nx-more: b' }))
    expect([headers.get('x-given'), headers.get('x-more')]).toEqual(['a  x-more: b', undefined])
    const url = `http://127.0.0.1:${origin.port}/ HTTP/1.1\r\nx-more: b`
    expect(await text({ op: 'fetch', key: url })).toStartWith('status=-2\n')
  })

  test('keeps, finds, lists and deletes keys, large values too', async () => {
    const big = new Uint8Array(300_000).fill(0x41)
    expect(await text({ op: 'put', key: 'a/1' }, 'one')).toBe('0')
    expect(await text({ op: 'put', key: 'a/2', ttl: '1000' }, big)).toBe('0')
    expect(await text({ op: 'put', key: 'b/ü' }, '')).toBe('0')
    expect(await text({ op: 'get', key: 'a/1' })).toBe('one')
    expect((await text({ op: 'get', key: 'a/2' })).length).toBe(big.length)
    expect(await text({ op: 'get', key: 'b/ü' })).toBe('')
    expect(answer(await call({ op: 'get', key: 'a' }))).toMatchObject({ status: 404, text: '-1' })
    expect(await text({ op: 'keys', key: 'a/' })).toBe('a/1\na/2\n')
    expect(await text({ op: 'keys', key: '' })).toBe('a/1\na/2\nb/ü\n')
    expect(await text({ op: 'delete', key: 'a/1' })).toBe('0')
    expect(await text({ op: 'delete', key: 'a/1' })).toBe('-1')
    expect(await text({ op: 'keys', key: 'a/' })).toBe('a/2\n')
  })

  test('lists more keys than a page has', async () => {
    const names = Array.from({ length: 1200 }, (_, n) => `many/${String(n).padStart(40, '0')}`)
    for (const key of names) expect(await text({ op: 'put', key }, 'v')).toBe('0')
    expect(await text({ op: 'keys', key: 'many/' })).toBe(`${names.join('\n')}\n`)
  }, 120_000)

  test('tells what the host refuses', async () => {
    expect(await text({ op: 'put', key: '' }, 'v')).toBe('-2')
    expect(await text({ op: 'put', key: 'k', ttl: '-1' }, 'v')).toBe('-2')
    const long = 'k'.repeat(LIMITS.kvKeyBytesMax + 1)
    expect(await text({ op: 'put', key: long }, 'v')).toBe('-3')
    const value = new Uint8Array(LIMITS.kvValueBytesMax + 1)
    expect(await text({ op: 'put', key: 'k' }, value)).toBe('-3')
  })

  test('fetches, large answers too, and tells why it cannot', async () => {
    const lines = await text({ op: 'fetch', key: `http://127.0.0.1:${origin.port}/` }, 'given')
    const [status, header, body = ''] = lines.split('\n')
    expect([status, header]).toEqual(['status=202', 'x-answer=yes'])
    expect(body.replaceAll('y', '')).toBe('bod=POST guest given ')
    expect(body.length).toBe('body=POST guest given '.length + 100_000)
    expect(await text({ op: 'fetch', key: 'http://elsewhere.example/' })).toStartWith('status=-6\n')
  })

  test('counts and logs', async () => {
    expect(await text({ op: 'count', key: 'things', value: '3' }, 'kind=new\nsize=big')).toBe('0')
    expect(await text({ op: 'count', key: 'things', value: '-3' })).toBe('-2')
    expect(await text({ op: 'count', key: 'bad name', value: '1' })).toBe('-2')
    const outcome = await call({ op: 'log', key: 'words' })
    expect(outcome.logs).toMatchObject([{ level: 'warn', message: 'words' }])
  })
})

test.each(['sdk-c', 'sdk-bare-c'])(
  '%s has memory of its own beside that of malloc',
  async (name) => {
    const fn = await runtime.guest(name, { max_execution_ms: 30_000 })
    for (let n = 0; n < 5; n += 1) {
      expect(answer(await runtime.invoker.invoke(fn, request('/?op=memory'))).text).toBe('1')
    }
  },
)

test.each(['sdk-c', 'sdk-bare-c'])('%s writes nothing where there is no text', async (name) => {
  const fn = await runtime.guest(name, { max_execution_ms: 30_000 })
  const outcome = await runtime.invoker.invoke(fn, request('/?op=absent&key=none'))
  expect(answer(outcome)).toMatchObject({ status: 200, text: '[]' })
})

test.each([
  ['example-c', 'Hello from C: POST /a\n'],
  ['example-rust', 'Hello from Rust: POST /a\n'],
  ['example-as', 'Hello from AssemblyScript: POST /a\n'],
])('%s says hello', async (name, hello) => {
  const fn = await runtime.guest(name)
  const outcome = await runtime.invoker.invoke(fn, request('/a?b=c', { method: 'POST' }))
  expect(answer(outcome)).toMatchObject({ status: 200, text: hello })
})

test.each(['example-visits-c', 'example-visits-rust', 'example-visits-as'])(
  '%s counts its visits',
  async (name) => {
    const fn = await runtime.guest(name)
    for (const [path, visits] of [
      ['/a', '1'],
      ['/a', '2'],
      ['/b', '1'],
      ['/a', '3'],
    ] as const) {
      expect(answer(await runtime.invoker.invoke(fn, request(path))).text).toBe(visits)
    }
  },
)
