/** What holds for requests whichever lane answers them: without a pause, or later. */

import { afterEach, describe, expect, test } from 'bun:test'
import http2 from 'node:http2'

import { ERROR_KINDS, type ErrorCode } from '../../../../src/errors.ts'
import { headerFields } from '../../../../src/edge/worker/header-lines.ts'
import type { Outcome } from '../../../../src/edge/worker/call.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'
import { aFunction, answered, failed, openIngress, raw } from './harness.ts'

let ingress = openIngress()
afterEach(() => ingress.close())

function open(options: Parameters<typeof openIngress>[0] = {}) {
  ingress.close()
  ingress = openIngress(options)
  return ingress
}

/** Random numbers that are the same in each run. */
function chance(seed: number) {
  let state = seed
  return (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

const FAILURES: readonly ErrorCode[] = [
  'function_trap',
  'execution_timeout',
  'stack_overflow',
  'memory_limit',
  'invalid_response',
  'function_error',
  'overloaded',
  'function_load_failed',
  'internal',
]

test('whatever comes of calls, each is counted once and gives back what it holds', async () => {
  const random = chance(7)
  const concurrency = 12
  const fn = aFunction({ quotas: { concurrency, requests_per_second: null, burst: null } })
  const invoke = (): Outcome => {
    switch (random(5)) {
      case 0:
        return failed(FAILURES[random(FAILURES.length)] ?? 'internal', 'It failed.')
      case 1:
        throw new Error('The invoker broke.')
      case 2:
        // Cannot be written: that is found out when all else is done.
        return answered('x', { headers: [['bad name', 'x']] })
      default:
        return answered('x')
    }
  }
  // Each request in another window of the breaker, which never opens then.
  let now = 0
  const { url, stats, quotas } = open({
    ...{ fn, invoke, runsNow: () => random(2) === 0 },
    now: () => (now += LIMITS.breakerWindowMs),
  })
  const seen = new Map<number, number>()
  async function send(): Promise<void> {
    const method = ['GET', 'POST', 'PUT', 'HEAD', 'DELETE'][random(5)] ?? 'GET'
    const hasBody = method === 'POST' || method === 'PUT'
    // Some bodies are over the limit.
    const body = hasBody ? { body: new Uint8Array([0, 10, 999, 1001][random(4)] ?? 0) } : {}
    const response = await fetch(url, { method, ...body })
    await response.arrayBuffer()
    seen.set(response.status, (seen.get(response.status) ?? 0) + 1)
  }
  const rounds = 40
  for (let round = 0; round < rounds; round += 1) {
    await Promise.all(Array.from({ length: concurrency }, send))
  }
  expect(quotas.running(fn.slot)).toBe(0)
  expect(stats.get(fn.slot, 'in_flight')).toBe(0)
  const counted = new Map<number, number>([[200, seen.get(200) ?? 0]])
  for (const code of Object.keys(ERROR_KINDS) as (keyof typeof ERROR_KINDS)[]) {
    const count =
      FAILURES.includes(code) || code === 'body_too_large'
        ? stats.getError(fn.slot, code as never)
        : 0
    const { status } = ERROR_KINDS[code]
    if (count > 0) counted.set(status, (counted.get(status) ?? 0) + count)
  }
  expect([...counted].sort()).toEqual([...seen].sort())
  expect(seen.get(429)).toBeUndefined()
  const tooLarge = seen.get(413) ?? 0
  expect(tooLarge).toBeGreaterThan(0)
  expect(stats.get(fn.slot, 'invocations')).toBe(rounds * concurrency - tooLarge)
})

test('calls that fail without a pause open the breaker, and probes close it, as elsewhere', async () => {
  let now = 1_000_000
  let fails = true
  const { url, calls } = open({
    ...{ now: () => now, runsNow: () => true },
    invoke: () => (fails ? failed('function_trap', 'It trapped.') : answered('x')),
  })
  const statuses = async (count: number) => {
    const all: number[] = []
    for (let call = 0; call < count; call += 1) all.push((await fetch(url)).status)
    return all
  }
  await statuses(LIMITS.breakerCallsMin)
  expect(await statuses(2)).toEqual([503, 503])
  expect(calls).toHaveLength(LIMITS.breakerCallsMin)
  fails = false
  now += LIMITS.breakerOpenMsMin
  expect(await statuses(LIMITS.breakerProbesMax + 2)).toEqual([200, 200, 200, 200, 200])
})

describe('responses whose headers are the same object', () => {
  const headers = [
    ['content-type', 'text/plain'],
    ['set-cookie', 'a=1'],
    ['set-cookie', 'b=2'],
    ['x-request-id', 'of the guest'],
  ] as const
  const body = new Uint8Array(256 * 1024)

  test('have each their own request id, also where clients read them late', async () => {
    const { port } = open({ invoke: () => answered(body, { headers }), runsNow: () => true })
    const answers = await Promise.all(
      Array.from({ length: 8 }, async (_, client) => {
        const requests = Array.from(
          { length: 10 },
          (__, at) =>
            `GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: c${client}-${at}\r\n` +
            `${at === 9 ? 'Connection: close\r\n' : ''}\r\n`,
        )
        const received = await raw(port, requests.join(''))
        return [...received.matchAll(/^x-request-id: (.*)\r$/gim)].map(([, id]) => id)
      }),
    )
    for (const [client, ids] of answers.entries()) {
      expect(ids).toEqual(Array.from({ length: 10 }, (_, at) => `c${client}-${at}`))
    }
  })

  test('have each their own request id over one HTTP/2 connection whose window is full', async () => {
    const { url } = open({ invoke: () => answered(body, { headers }), runsNow: () => true })
    const client = http2.connect(url)
    const got = await Promise.all(
      Array.from({ length: 20 }, (_, at) => {
        const { promise, resolve, reject } = Promise.withResolvers<unknown[]>()
        const stream = client.request({ ':path': '/', 'x-request-id': `s${at}` })
        let bytes = 0
        let fields: Record<string, unknown> = {}
        stream.on('response', (of) => (fields = of))
        stream.on('data', (data: Buffer) => (bytes += data.length))
        stream.on('end', () => resolve([fields['x-request-id'], fields['set-cookie'], bytes]))
        stream.on('error', reject)
        stream.end()
        return promise
      }),
    )
    client.destroy()
    expect(got).toEqual(got.map((_, at) => [`s${at}`, ['a=1', 'b=2'], body.length]))
  })

  test('have their own status, and none of the fields of a body that they lack', async () => {
    let status = 200
    const { url } = open({
      invoke: () => answered('text', { status, headers }),
      runsNow: () => true,
    })
    const seen: unknown[] = []
    for (status of [200, 204, 200, 304, 404]) {
      const response = await fetch(url)
      seen.push([response.status, response.headers.get('content-type'), await response.text()])
    }
    expect(seen).toEqual([
      [200, 'text/plain', 'text'],
      [204, null, ''],
      [200, 'text/plain', 'text'],
      [304, null, ''],
      [404, 'text/plain', 'text'],
    ])
  })
})

test('fields with names that objects have already, or that are numbers, reach the guest like any other', async () => {
  const { port, calls } = open({ runsNow: () => true })
  const names = [
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    '123',
    '0',
    'x',
    'length',
  ]
  const lines = names.map((name, at) => `${name}: v${at}\r\n`).join('')
  await raw(
    port,
    `GET / HTTP/1.1\r\nHost: h\r\n${lines}X-Twice: a\r\nX-Twice: b\r\nX-Empty:\r\n` +
      'Cookie: a=1\r\nCookie: b=2\r\nSet-Cookie: c=1\r\nSet-Cookie: d=2\r\nConnection: close, x\r\n\r\n',
  )
  const fields = headerFields(calls[0]?.request.header_lines ?? '')
  const own = fields.filter(([name]) => name !== 'x-request-id').sort()
  const expected = names.map((name, at) => [name.toLowerCase(), `v${at}`])
  expect(own).toEqual(
    [
      ...expected.filter(([name]) => name !== 'x'),
      ['host', 'h'],
      ['x-twice', 'a, b'],
      ['x-empty', ''],
      ['cookie', 'a=1; b=2'],
      ['set-cookie', 'c=1'],
      ['set-cookie', 'd=2'],
    ].sort() as [string, string][],
  )
})

test.each(['a\nX-B: c', 'a\rX-B: c', 'a\0b'])(
  'a value of %j is no way to another field',
  async (value) => {
    const { port, calls } = open({ runsNow: () => true })
    const received = await raw(
      port,
      `GET / HTTP/1.1\r\nHost: h\r\nX-A: ${value}\r\nConnection: close\r\n\r\n`,
    )
    for (const { request } of calls) {
      // One line for each field, whose name and value are apart.
      for (const line of request.header_lines.split('\r\n').slice(0, -1)) {
        expect(line).toMatch(/^[!-9;-~]+: [^\r\n\0]*$/)
      }
    }
    expect(received).toMatch(/^HTTP\/1.1 [24]/)
  },
)
