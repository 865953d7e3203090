/** What the ingress makes of outcomes: answers, statistics, log lines, modules fetched on demand. */

import { afterEach, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, constants } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import fc from 'fast-check'

import { ERROR_KINDS } from '../../../../src/errors.ts'
import { QuotaFile } from '../../../../src/edge/quota.ts'
import { CALL_ERROR_CODES } from '../../../../src/edge/stats.ts'
import type { GuestLogMessage } from '../../../../src/edge/worker/call.ts'
import { createLogRate } from '../../../../src/edge/worker/ingress/log-rate.ts'
import type { FunctionId } from '../../../../src/protocol/ids.ts'
import { errorBodySchema } from '../../../../src/protocol/api.ts'
import { aFunction, answered, failed, openIngress, raw, until } from './harness.ts'

let ingress = openIngress()
afterEach(() => ingress.close())

function open(options: Parameters<typeof openIngress>[0] = {}) {
  ingress.close()
  ingress = openIngress(options)
  return ingress
}

const MEASURES = {
  execution_ms: 523.4,
  busy_ms: 500,
  cold: false,
  logs: [],
  logs_dropped: 0,
  entered_ms: 0,
  left_ms: 0,
}
const message = (text: string, at = 0): GuestLogMessage => ({ level: 'info', message: text, at })

describe('failed calls', () => {
  for (const code of CALL_ERROR_CODES) {
    test(`${code} is answered as JSON and counted`, async () => {
      const { url, stats, fn, lines } = open({ invoke: () => failed(code, `It was ${code}.`) })
      const response = await fetch(url, { headers: { 'x-request-id': 'req-456' } })
      const body = errorBodySchema.parse(await response.json())
      expect(body.error).toMatchObject({ code, message: `It was ${code}.`, request_id: 'req-456' })
      expect(response.headers.get('x-request-id')).toBe('req-456')
      expect(stats.getError(fn.slot, code)).toBe(1)
      expect(stats.get(fn.slot, 'invocations')).toBe(1)
      expect(stats.get(fn.slot, 'in_flight')).toBe(0)
      // What the client did wrong, or the node decided before, is in the answer and the counters, not in the log.
      const refused = code === 'function_quarantined' || code === 'circuit_open'
      const logged = ERROR_KINDS[code].fault !== 'client' && !refused
      if (logged) expect(lines[0]).toMatchObject({ error_type: code })
      else expect(lines).toEqual([])
    })
  }

  test("a timeout is logged in the documents' format", async () => {
    const text = 'Function execution exceeded max_execution_ms (500ms)'
    const { url, fn, lines } = open({
      invoke: () => ({ ...MEASURES, ok: false, code: 'execution_timeout', message: text }),
    })
    expect((await fetch(url, { headers: { 'x-request-id': 'req-456' } })).status).toBe(504)
    expect(lines).toEqual([
      {
        timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
        level: 'error',
        component: 'edge-worker',
        message: 'The function call failed',
        function_id: fn.function_id,
        request_id: 'req-456',
        error_type: 'execution_timeout',
        error_message: text,
        context: { version: 1, max_execution_ms: 500, actual_execution_ms: 523 },
      },
    ])
  })

  test('an invoker that breaks its promise is answered 500 without telling why', async () => {
    const { url, stats, fn, lines } = open({
      invoke: () => {
        throw new Error('secret detail')
      },
    })
    const response = await fetch(url)
    expect([response.status, (await response.text()).includes('secret')]).toEqual([500, false])
    expect(stats.getError(fn.slot, 'internal')).toBe(1)
    expect(lines[0]).toMatchObject({ error_type: 'internal', error_cause: 'secret detail' })
  })
})

test('counters only grow and every call that ran is in one latency bucket at most', async () => {
  const { url, stats, fn } = open({
    invoke: (_fn, request) =>
      request.target === '/bad'
        ? failed('function_trap', 'x')
        : answered('abc', {}, { cold: true }),
  })
  let before = 0
  for (let call = 1; call <= 20; call += 1) {
    await (
      await fetch(`${url}/${call % 2 === 0 ? 'bad' : 'good'}`, { method: 'POST', body: 'ab' })
    ).text()
    expect(stats.get(fn.slot, 'invocations')).toBeGreaterThan(before)
    before = stats.get(fn.slot, 'invocations')
    expect(stats.get(fn.slot, 'latency_count')).toBe(call)
  }
  expect(stats.get(fn.slot, 'request_bytes')).toBe(40)
  expect(stats.get(fn.slot, 'response_bytes')).toBe(30)
  expect(stats.get(fn.slot, 'cold_starts')).toBe(10)
  expect(stats.getWorker('requests')).toBe(20)
})

describe('logs of guests', () => {
  test('P30: each has level, message, function, request and the time of the guest', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          level: fc.constantFrom('debug', 'info', 'warn', 'error'),
          message: fc.string({ maxLength: 100, unit: 'grapheme-ascii' }),
          at: fc.integer({ min: 0, max: 4_000_000_000_000 }),
        }),
        async (line) => {
          const { url, fn, lines } = open({ invoke: () => answered('', {}, { logs: [line] }) })
          const { headers } = await fetch(url)
          if (line.level === 'debug') return expect(lines).toEqual([])
          expect(lines).toEqual([
            expect.objectContaining({
              level: line.level,
              message: line.message,
              function_id: fn.function_id,
              request_id: headers.get('x-request-id'),
              timestamp: new Date(line.at).toISOString(),
            }),
          ])
        },
      ),
      { numRuns: 100 },
    )
  })

  test('P31: at most 1000 a second and function are written on a node, the rest is counted and reported', () => {
    const directory = mkdtempSync(join(tmpdir(), 'edgefn-log-'))
    const files = [1, 2, 3].map(() => new QuotaFile(join(directory, 'quotas'), 3))
    rmSync(directory, { recursive: true })
    let slot = 0
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            id: fc.constantFrom('a', 'b'),
            worker: fc.nat(2),
            gap: fc.nat(300),
            burst: fc.nat(900),
          }),
          {
            maxLength: 20,
          },
        ),
        (steps) => {
          let now = 1_000_000
          let offered = 0
          let written = 0
          let dropped = 0
          slot += 2
          // Each worker has the file mapped for itself.
          const rates = files.map((file) =>
            createLogRate({
              take: (at) => file.takeLogLine(at, 1000, now),
              onDropped: (_id, count) => (dropped += count),
            }),
          )
          const windows = new Map<string, { from: number; taken: number }>()
          for (const { id, worker, gap, burst } of steps) {
            now += gap
            let window = windows.get(id)
            if (window === undefined || now - window.from >= 1000) window = { from: now, taken: 0 }
            windows.set(id, window)
            for (let line = 0; line < burst; line += 1) {
              offered += 1
              const fn = { function_id: id as FunctionId, quota_slot: slot + (id === 'a' ? 0 : 1) }
              if (rates[worker]?.take(fn) !== true) continue
              written += 1
              window.taken += 1
            }
            expect(window.taken).toBeLessThanOrEqual(1000)
          }
          for (const rate of rates) rate.close()
          expect(written + dropped).toBe(offered)
        },
      ),
      { numRuns: 300 },
    )
  })

  test('a flood is cut, counted in the statistics and named in one line', async () => {
    const { url, fn, stats, lines } = open({
      invoke: () =>
        answered(
          '',
          {},
          { logs: Array.from({ length: 600 }, () => message('x')), logs_dropped: 5 },
        ),
    })
    await fetch(url)
    await fetch(url)
    await until(() => lines.some((line) => line['level'] === 'warn'))
    expect(lines.filter((line) => line['message'] === 'x')).toHaveLength(1000)
    expect(lines.find((line) => line['level'] === 'warn')).toMatchObject({
      function_id: fn.function_id,
      context: { dropped: 210 },
    })
    expect(stats.get(fn.slot, 'log_messages')).toBe(1210)
    expect(stats.get(fn.slot, 'log_messages_dropped')).toBe(210)
  })
})

describe('modules on demand', () => {
  test('requests for a module that is not cached fetch it once, wait, and are served', async () => {
    const asked: boolean[] = []
    const fn = aFunction({ path: null })
    const { url, calls, stats, onDemand } = open({
      fn,
      onFetch: (_fn, damaged) => asked.push(damaged) > 0,
    })
    const answers = Promise.all(Array.from({ length: 20 }, () => fetch(url)))
    await until(() => stats.get(fn.slot, 'in_flight') === 20)
    expect(calls).toHaveLength(0)
    onDemand.fetched(fn.function_id, fn.version, '/cache/1.wasm', null)
    expect((await answers).map((answer) => answer.status)).toEqual(Array(20).fill(200))
    expect(asked).toEqual([false])
    expect(new Set(calls.map((call) => call.fn.path))).toEqual(new Set(['/cache/1.wasm']))
    expect(stats.get(fn.slot, 'cache_misses')).toBe(20)
    expect(stats.get(fn.slot, 'cache_hits')).toBe(0)
  })

  test('a damaged file is fetched again and the call is made once more', async () => {
    const asked: boolean[] = []
    const { url, fn, calls, stats, onDemand } = open({
      invoke: (fn) =>
        fn.path === '/new' ? answered('ok') : failed('artifact_mismatch', 'damaged'),
      onFetch: (_fn, damaged) => asked.push(damaged) > 0,
    })
    const answer = fetch(url)
    await until(() => asked.length === 1)
    onDemand.fetched(fn.function_id, fn.version, '/new', null)
    expect(await (await answer).text()).toBe('ok')
    expect([asked, calls.length]).toEqual([[true], 2])
    expect(stats.get(fn.slot, 'invocations')).toBe(1)
    expect(stats.get(fn.slot, 'cache_misses')).toBe(1)
    expect(stats.get(fn.slot, 'latency_count')).toBe(1)
  })

  test('a file that is damaged again is 503, not asked for for ever', async () => {
    const { url, calls, fn, onDemand } = open({
      invoke: () => failed('artifact_mismatch', 'damaged'),
      onFetch: (wanted) => {
        queueMicrotask(() => onDemand.fetched(wanted.function_id, wanted.version, '/new', null))
        return true
      },
    })
    expect((await fetch(url)).status).toBe(503)
    expect([calls.length, fn.path]).toEqual([2, '/nowhere/1.wasm'])
  })

  test('what cannot be fetched is 503 and says nothing of why; the log does', async () => {
    const fn = aFunction({ path: null })
    const { url, lines, onDemand } = open({ fn, onFetch: () => true })
    const answer = fetch(url)
    await until(() => ingress.stats.get(0, 'in_flight') === 1)
    const error = { code: 'artifact_store_unavailable', message: 'http://10.0.0.1/secret' }
    onDemand.fetched(fn.function_id, fn.version, null, error)
    const text = await (await answer).text()
    expect(JSON.parse(text).error).toMatchObject({ code: 'function_unavailable', retryable: true })
    expect(text).not.toContain('10.0.0.1')
    expect(lines[0]).toMatchObject({ error_type: 'function_unavailable' })
    expect(String(lines[0]?.['error_cause'])).toContain('10.0.0.1')
  })

  test('an agent that does not answer in time, or is not there, is 503', async () => {
    const fn = aFunction({ path: null })
    const silent = open({ fn, onFetch: () => true, fetchWaitMsMax: 50 })
    expect((await fetch(silent.url)).status).toBe(503)
    const alone = open({ fn, onFetch: () => false })
    expect((await fetch(alone.url)).status).toBe(503)
  })
})

test('a call over a quota of its function is 429 with Retry-After, counted, and not run', async () => {
  const quotas = { concurrency: null, requests_per_second: 0.1, burst: 2 }
  const ingress = openIngress({ fn: aFunction({ quotas }) })
  const statuses: number[] = []
  for (let request = 0; request < 3; request += 1) {
    const response = await fetch(ingress.url)
    statuses.push(response.status)
    if (response.status !== 429) continue
    expect(response.headers.get('retry-after')).toBe('10')
    const { error } = (await response.json()) as { error: { code: string; details: unknown } }
    expect(error.code).toBe('rate_limited')
    expect(error.details).toMatchObject({ quota: 'requests_per_second', limit: 0.1 })
  }
  expect(statuses).toEqual([200, 200, 429])
  expect(ingress.calls).toHaveLength(2)
  expect(ingress.stats.getError(ingress.fn.slot, 'rate_limited')).toBe(1)
  ingress.close()
})

test('a call that found no executor in time is 503 with Retry-After', async () => {
  const { url, stats, fn } = open({ invoke: () => failed('overloaded', 'No executor.') })
  const response = await fetch(url)
  expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1'])
  expect(errorBodySchema.parse(await response.json()).error.retryable).toBe(true)
  expect(stats.getError(fn.slot, 'overloaded')).toBe(1)
})

describe('a client that leaves', () => {
  const waits = async (client: (() => AbortSignal) | undefined) => {
    const signal = client?.()
    while (signal?.aborted === false) await Bun.sleep(1)
    return failed('client_gone', 'The client left.')
  }

  test.each(['without a body', 'with a body that was read'])(
    '%s is known to the pool, counted and not logged',
    async (kind) => {
      const { url, stats, fn, calls, lines } = open({
        invoke: (_fn, _request, client) => waits(client),
      })
      const leaving = new AbortController()
      const body = kind === 'without a body' ? {} : { method: 'POST', body: 'abc' }
      const answer = fetch(url, { ...body, signal: leaving.signal }).catch(() => 'gone')
      await until(() => calls.length === 1)
      leaving.abort()
      expect(await answer).toBe('gone')
      await until(() => stats.getError(fn.slot, 'client_gone') === 1)
      expect([stats.get(fn.slot, 'in_flight'), lines]).toEqual([0, []])
    },
  )

  test('leaves by resetting its HTTP/2 stream as well', async () => {
    const { url, stats, fn, calls } = open({ invoke: (_fn, _request, client) => waits(client) })
    const session = connect(url)
    const stream = session.request({ ':path': '/' })
    stream.on('error', () => {})
    await until(() => calls.length === 1)
    stream.close(constants.NGHTTP2_CANCEL)
    await until(() => stats.getError(fn.slot, 'client_gone') === 1)
    session.destroy()
  })
})

test('a call is admitted when its body and its module are at hand', async () => {
  const fn = aFunction({ path: null })
  const { port, calls, onDemand, stats } = open({ fn, onFetch: () => true })
  const begun = performance.now()
  const sent = Promise.withResolvers<void>()
  const answer = raw(
    port,
    ['POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\n'],
    () => false,
    sent.promise.then(() => 'abc'),
  )
  await until(() => stats.get(fn.slot, 'in_flight') === 1)
  const bodyFrom = performance.now()
  sent.resolve()
  await until(() => stats.get(fn.slot, 'invocations') === 1)
  const fetchedFrom = performance.now()
  onDemand.fetched(fn.function_id, fn.version, '/cache/1.wasm', null)
  expect(await answer).toStartWith('HTTP/1.1 200')
  expect(begun).toBeLessThan(bodyFrom)
  expect(calls[0]?.request.admitted_ms).toBeWithin(fetchedFrom, performance.now())
})

test('a call over the concurrency is 429 that names it, says when to come again, and leaves the other alone', async () => {
  const quotas = { concurrency: 1, requests_per_second: null, burst: null }
  const busy = Promise.withResolvers<void>()
  const { url, calls } = open({
    fn: aFunction({ quotas }),
    invoke: async () => {
      await busy.promise
      return answered('done')
    },
  })
  const first = fetch(url)
  await until(() => calls.length === 1)
  const refused = await fetch(url)
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1'])
  const { error } = errorBodySchema.parse(await refused.json())
  expect(error).toMatchObject({ retryable: true, details: { quota: 'concurrency', limit: 1 } })
  busy.resolve()
  expect(await (await first).text()).toBe('done')
  expect((await fetch(url)).status).toBe(200)
})
