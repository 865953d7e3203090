import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'

import type { WorkerFunction } from '../../../../src/edge/ipc.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'
import { until } from '../../../e2e/harness.ts'
import { redirect, startOrigin, text } from '../fetch/origin.ts'
import type { Origin, OriginOptions } from '../fetch/origin.ts'
import { answer, failure, request, startRuntime } from './harness.ts'
import type { RuntimeHarness } from './harness.ts'
import { numberGuest } from './wat.ts'

let runtime: RuntimeHarness
const origins: Origin[] = []

beforeAll(async () => {
  runtime = await startRuntime(4, 2 ** 30, ['127.0.0.1/32'])
})
afterEach(async () => {
  await Promise.all(origins.splice(0).map((origin) => origin.close()))
})
afterAll(async () => {
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

async function origin(options: OriginOptions = {}): Promise<Origin> {
  const started = await startOrigin(options)
  origins.push(started)
  return started
}

/** A guest that may reach the origins. */
function guest(reachable: readonly Origin[], changes: Partial<WorkerFunction> = {}) {
  const http_allow = reachable.map(({ port }) => `127.0.0.1:${port}`)
  return runtime.guest('fetch-c', { http_allow, ...changes })
}

/** What the guest has to say of `action` with a request of this text. */
async function tell(fn: WorkerFunction, action: string, text: string): Promise<string> {
  const body = new Uint8Array(Buffer.from(text))
  const call = request(`/${action}`, { method: 'POST', body })
  return answer(await runtime.invoker.invoke(fn, call)).text
}

const get = (url: string) => `GET ${url}\r\n\r\n`

test('a guest gets head and body of what it fetches', async () => {
  const server = await origin({
    answer: () => text('hello', 'X-One: 1\r\nConnection: x-two\r\nX-Two: 2\r\n'),
  })
  const told = await tell(await guest([server]), 'whole', get(`${server.url}/a`))
  expect(told).toBe(
    'result 1\nStatus: 200\r\nx-one: 1\r\ncontent-length: 5\r\n\nhello\nend 0\nclose 0\n',
  )
  expect(server.requests.map(({ path }) => path)).toEqual(['/a'])
})

test('a guest without an allow-list gets -6, and nobody is asked', async () => {
  const server = await origin()
  expect(await tell(await guest([]), 'whole', get(server.url))).toBe('result -6\n')
  expect(await tell(await guest([]), 'whole', 'not even a request')).toBe('result -6\n')
  expect(server.connections()).toBe(0)
})

test('the code says why a fetch came to nothing', async () => {
  const server = await origin({ answer: ({ path }) => redirect(`${path}x`) })
  const silent = await origin({ answer: () => '' })
  const fn = await guest([server, silent], {
    http_allow: [
      ...[server, silent].map(({ port }) => `127.0.0.1:${port}`),
      ...['127.0.0.2', '[::1]', 'localhost', '169.254.169.254', 'name.invalid'],
    ],
  })
  const codes: readonly (readonly [string, number])[] = [
    ['no request', -2],
    [get('http://127.1/'), -2],
    [`GET ${server.url}/\r\nhost: x\r\n\r\n`, -2],
    [`GET ${server.url}/\r\nx: ${'y'.repeat(40_000)}\r\n\r\n`, -3],
    [`POST ${server.url}/\r\n\r\n${'y'.repeat(LIMITS.fetchRequestBodyBytesMax + 1)}`, -3],
    [get('http://example.com/'), -6],
    [get('http://127.0.0.2/'), -7],
    [get('http://[::1]/'), -7],
    [get('http://169.254.169.254/latest/meta-data/'), -7],
    [get('http://name.invalid/'), -9],
    [get(`${silent.url}/`), -9],
    [get(`${server.url}/`), -11],
  ]
  for (const [text, code] of codes) expect(await tell(fn, 'whole', text)).toBe(`result ${code}\n`)
})

test('bodies of any size come whole, however they are read', async () => {
  const bytes = Buffer.alloc(3_000_000, 'abcdefghij')
  const server = await origin({
    answer: ({ path }) =>
      Buffer.concat([
        Buffer.from(
          path === '/close'
            ? 'HTTP/1.1 200 OK\r\n\r\n'
            : `HTTP/1.1 200 OK\r\ncontent-length: ${bytes.length}\r\n\r\n`,
        ),
        bytes,
      ]),
  })
  const fn = await guest([server], { max_execution_ms: 20_000, memory_pages: 256 })
  for (const atOnce of [65_536, 1000, 333]) {
    const told = await tell(fn, `count/${atOnce}`, get(`${server.url}/close`))
    expect(told).toBe(`result 1\nbytes ${bytes.length}\nend 0\n`)
  }
  const whole = await tell(fn, 'whole', get(server.url))
  expect(whole.split('\r\n\n')[1]).toBe(`${bytes.toString()}\nend 0\nclose 0\n`)
})

test('a body that breaks off, or is too large, ends with its code after what there was', async () => {
  const half = await origin({ answer: () => 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf' })
  const endless = await origin({
    answer(_request, socket) {
      const pour = () => {
        while (!socket.destroyed && socket.write('x'.repeat(65_536))) continue
      }
      socket.on('drain', pour)
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      pour()
      return null
    },
  })
  const fn = await guest([half, endless], { max_execution_ms: 20_000 })
  expect(await tell(fn, 'count/100', get(half.url))).toBe('result 1\nbytes 4\nend -9\n')
  const told = await tell(fn, 'count/65536', get(endless.url))
  expect(told).toContain('end -3')
  expect(Number(/bytes (\d+)/.exec(told)?.[1])).toBeLessThanOrEqual(
    LIMITS.fetchResponseBodyBytesMax,
  )
  await endless.idle()
})

test('a request that has come by fetches too often fetches no more', async () => {
  const server = await origin()
  const fn = await guest([server])
  const seen = async (...fields: readonly string[]) => {
    const body = new Uint8Array(Buffer.from(get(server.url)))
    const headers = fields.map((value) => ['cdn-loop', value] as const)
    const outcome = await runtime.invoker.invoke(
      fn,
      request('/leave', { method: 'POST', body, headers }),
    )
    return answer(outcome).text
  }
  expect(await seen()).toBe('result 1\n')
  expect(await seen('edgefn, cache; a=b', 'edgefn;x')).toBe('result 1\n')
  expect(await seen('edgefn, cache', 'edgefn, edgefn')).toBe('result -11\n')
  expect(await seen('x'.repeat(2000))).toBe('result -11\n')
  const passed = server.requests.map(({ head }) => /^cdn-loop: (.*)$/m.exec(head)?.[1]?.trim())
  expect(passed).toEqual(['edgefn', 'edgefn, cache; a=b, edgefn;x, edgefn'])
})

describe('handles', () => {
  test('are of one call: open ones end with it, and the next call knows none of them', async () => {
    const server = await origin({
      answer: (_request, socket) => {
        socket.write('HTTP/1.1 200 OK\r\n\r\nsome')
        return null
      },
    })
    const fn = await guest([server])
    expect(await tell(fn, 'leave', get(server.url))).toBe('result 1\n')
    await server.idle()
    expect(await tell(fn, 'handle/1', '')).toBe('head -1\nbody -1\nclose -1\n')
    expect(await tell(fn, 'handle/0', '')).toBe('head -1\nbody -1\nclose -1\n')
    expect(await tell(fn, 'handle/-5', '')).toBe('head -1\nbody -1\nclose -1\n')
  })

  test('are closed one by one', async () => {
    const server = await origin()
    const told = await tell(await guest([server]), 'pair', get(server.url))
    expect(told).toMatch(/^result 1\nresult 2\nclose 0\nclosed -1\nStatus: 200/)
    expect(told).toEndWith('hello\nend 0\nclose 0\n')
  })

  test('are as many as a call may have', async () => {
    const server = await origin()
    const told = await tell(
      await guest([server]),
      `open/${LIMITS.fetchesPerCallMax + 2}`,
      get(server.url),
    )
    const results = told.trim().split('\n')
    expect(results.slice(0, -2)).toEqual(
      Array.from({ length: LIMITS.fetchesPerCallMax }, (_, index) => `result ${index + 1}`),
    )
    expect(results.slice(-2)).toEqual(['result -10', 'result -10'])
  })

  test('of hundreds of calls leave nothing behind', async () => {
    const server = await origin({ answer: () => text('hello', 'connection: close\r\n') })
    const fn = await guest([server], { max_execution_ms: 10_000 })
    for (let round = 0; round < 60; round += 1) {
      const told = await Promise.all(
        Array.from({ length: 4 }, () => tell(fn, 'open/6', get(server.url))),
      )
      for (const each of told) expect(each).toEndWith('result 6\n')
    }
    await server.idle()
    expect(server.requests).toHaveLength(60 * 4 * 6)
  }, 120_000)
})

describe('pointers and lengths', () => {
  const imports = `
    (import "edgefn" "http_fetch" (func $fetch (param i32 i32) (result i32)))
    (import "edgefn" "http_response_head" (func $head (param i32 i32 i32) (result i32)))
    (import "edgefn" "http_response_body" (func $body (param i32 i32 i32) (result i32)))
    (import "edgefn" "http_response_close" (func $close (param i32) (result i32)))`
  /** Fetches the URL that is written at 64, then does `then` with the response; negative results wrap around. */
  function outcome(server: Origin, then: string) {
    const text = get(server.url)
    const data = `(data (i32.const 64) "${text.replace('\r\n\r\n', '\\0d\\0a\\0d\\0a')}")`
    const wat = then
      .replaceAll('FETCH', `(call $fetch (i32.const 64) (i32.const ${text.length}))`)
      .replaceAll('NEAR_END', '(i32.sub (i32.shl (memory.size) I(16)) I(2))')
      .replaceAll('I(', '(i32.const ')
    const fn = runtime.module(numberGuest(wat, `${imports} ${data}`), {
      http_allow: [`127.0.0.1:${server.port}`],
    })
    return runtime.invoker.invoke(fn, request('/'))
  }

  const harmless: readonly (readonly [string, number])[] = [
    ['FETCH', 1],
    ['(call $fetch I(0) I(0))', -2],
    ['(call $fetch I(64) I(20))', -2],
    ['(call $fetch I(64) I(-1))', -3],
    ['(call $fetch I(-1) I(0x7fffffff))', -3],
    ['(call $head FETCH I(0) I(0))', 32],
    ['(call $body FETCH I(1000) I(2))', 2],
    ['(call $body FETCH I(1000) I(-1))', 5],
    ['(call $body FETCH I(1000) I(0))', -2],
    ['(call $body I(7) I(-1) I(-1))', -1],
    ['(call $close I(-1))', -1],
    ['(call $close FETCH)', 0],
  ]
  test.each(harmless)('%s gives %d', async (then, result) => {
    const server = await origin()
    const told = answer(await outcome(server, then)).text
    expect(Number(told) | 0).toBe(result)
    await server.idle()
  })

  test.each([
    '(call $fetch I(-1) I(10))',
    '(call $fetch I(0x7fffffff) I(10))',
    '(call $fetch NEAR_END I(100000))',
    '(call $head FETCH I(-1) I(10))',
    '(call $body FETCH I(-1) I(10))',
    '(call $body FETCH NEAR_END I(10))',
    '(i32.add FETCH (unreachable))',
  ])('%s is a trap, and nothing stays open', async (then) => {
    const server = await origin()
    expect(failure(await outcome(server, then))).toBe('function_trap')
    await server.idle()
  })
})

describe('the deadline', () => {
  const slow: readonly (readonly [string, string, string])[] = [
    ['for a head', 'whole', ''],
    ['for a body', 'whole', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf'],
    [
      'for a body read byte by byte',
      'count/1',
      'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf',
    ],
  ]
  test.each(slow)('ends a guest that waits %s, and its connection', async (_what, action, sent) => {
    const server = await origin({
      answer: (_request, socket) => {
        socket.write(sent)
        return null
      },
    })
    const fn = await guest([server], { max_execution_ms: 200 })
    // Warm, so that what is measured is the stop and not the start.
    await tell(fn, 'handle/1', '')
    const from = performance.now()
    const body = new Uint8Array(Buffer.from(get(server.url)))
    const outcome = await runtime.invoker.invoke(
      fn,
      request(`/${action}`, { method: 'POST', body }),
    )
    expect(failure(outcome)).toBe('execution_timeout')
    expect(performance.now() - from).toBeLessThan(5000)
    expect(performance.now() - from).toBeGreaterThan(195)
    await server.idle()
  })

  test('of one guest is nothing to another that fetches at the same time', async () => {
    const stuck = await origin({ answer: () => null })
    const server = await origin()
    const slowFn = await guest([stuck], { max_execution_ms: 500 })
    const fn = await guest([server])
    await Promise.all([tell(slowFn, 'handle/1', ''), tell(fn, 'handle/1', '')])
    const body = new Uint8Array(Buffer.from(get(stuck.url)))
    const waiting = runtime.invoker.invoke(slowFn, request('/whole', { method: 'POST', body }))
    for (let index = 0; index < 20; index += 1) {
      expect(await tell(fn, 'whole', get(server.url))).toContain('hello')
    }
    expect(failure(await waiting)).toBe('execution_timeout')
  })
})

test('one call cannot read what another fetches', async () => {
  const server = await origin({ answer: ({ path }) => text(`secret of ${path}`.repeat(500)) })
  const fns = await Promise.all([guest([server]), guest([server]), guest([server])])
  await Promise.all(
    Array.from({ length: 60 }, async (_, index) => {
      const fn = fns[index % 3]
      if (fn === undefined) throw new Error('There is no function.')
      const told = await tell(fn, 'whole', get(`${server.url}/${index}`))
      expect(told).toContain(`\r\n\n${`secret of /${index}`.repeat(500)}\nend 0`)
    }),
  )
}, 120_000)

test('fetches are counted by how they end', async () => {
  const ended = (outcome: 'ok' | 'invalid' | 'forbidden_address') =>
    runtime.stats.getWorker(`fetch_${outcome}`)
  const server = await origin()
  const fn = await guest([server], { http_allow: [`127.0.0.1:${server.port}`, '127.0.0.3'] })
  // Counts come late, and in the order of the fetches: with this one, those of the tests before have come.
  const invalid = ended('invalid')
  await tell(fn, 'whole', 'nonsense')
  await until('the fetches before are counted', () => ended('invalid') > invalid)
  const before = [ended('ok'), ended('invalid'), ended('forbidden_address')]
  await tell(fn, 'whole', get(server.url))
  await tell(fn, 'whole', 'nonsense')
  await tell(fn, 'whole', get('http://127.0.0.3/'))
  await tell(fn, 'whole', get('http://127.0.0.3/'))
  const wanted = before.map((count, index) => count + (index === 2 ? 2 : 1))
  const counted = () => [ended('ok'), ended('invalid'), ended('forbidden_address')]
  await until('all are counted', () => counted().join() === wanted.join())
})
