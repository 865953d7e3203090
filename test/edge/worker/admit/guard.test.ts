/** Requests of functions that the node keeps calls away from, on a real socket. */

import { afterEach, beforeEach, expect, test } from 'bun:test'

import { LIMITS } from '../../../../src/protocol/limits.ts'
import { errorBodySchema } from '../../../../src/protocol/api.ts'
import { answered, failed, openIngress } from '../ingress/harness.ts'

const { breakerCallsMin, breakerOpenMsMin, breakerProbesMax } = LIMITS

let nowMs: number
let behaves: () => ReturnType<typeof answered> | Promise<ReturnType<typeof answered>>
let ingress: ReturnType<typeof openIngress>

beforeEach(() => {
  nowMs = 1_800_000_000_000
  behaves = () => answered('well')
  ingress = openIngress({ invoke: () => behaves(), now: () => nowMs })
})
afterEach(() => {
  ingress.close()
})

async function call(init: RequestInit = {}): Promise<string> {
  const response = await fetch(ingress.url, init)
  if (response.status === 200) return response.text()
  return errorBodySchema.parse(await response.json()).error.code
}

async function trip(): Promise<void> {
  behaves = () => failed('function_trap', 'It trapped.')
  for (let index = 0; index < breakerCallsMin; index += 1) await call()
  behaves = () => answered('well')
}

test('an open circuit is 503 with Retry-After and is counted, and neither runs the call nor logs it', async () => {
  await trip()
  const { calls, lines, stats, fn } = ingress
  const before = [calls.length, lines.length]
  const response = await fetch(ingress.url)
  expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5'])
  const { error } = errorBodySchema.parse(await response.json())
  expect(error).toMatchObject({ code: 'circuit_open', retryable: true })
  expect([calls.length, lines.length]).toEqual(before)
  expect(stats.getError(fn.slot, 'circuit_open')).toBe(1)
  expect(stats.get(fn.slot, 'in_flight')).toBe(0)
})

test('after its time probes go through, no more than may at once, and their success closes it', async () => {
  await trip()
  nowMs += breakerOpenMsMin
  const held = Promise.withResolvers<void>()
  behaves = async () => {
    await held.promise
    return answered('probe')
  }
  const first = Array.from({ length: breakerProbesMax }, () => call())
  while (ingress.calls.length < breakerCallsMin + breakerProbesMax) await Bun.sleep(1)
  expect(await call()).toBe('circuit_open')
  held.resolve()
  expect(await Promise.all(first)).toEqual(Array(breakerProbesMax).fill('probe'))
  behaves = () => answered('well')
  expect(await call()).toBe('well')
})

test('one failed probe opens it again, for twice as long', async () => {
  await trip()
  nowMs += breakerOpenMsMin
  behaves = () => failed('execution_timeout', 'It was late.')
  expect(await call()).toBe('execution_timeout')
  nowMs += 2 * breakerOpenMsMin - 1
  expect(await call()).toBe('circuit_open')
  nowMs += 1
  behaves = () => answered('well')
  expect(await call()).toBe('well')
})

test('a probe that says nothing, a body over the limit or a full queue, leaves room for another', async () => {
  await trip()
  nowMs += breakerOpenMsMin
  behaves = () => failed('overloaded', 'No executor became free.')
  for (let index = 0; index < 10; index += 1) expect(await call()).toBe('overloaded')
  const large = { method: 'POST', body: new Uint8Array(2_000_000) }
  for (let index = 0; index < 3; index += 1) expect(await call(large)).toBe('body_too_large')
  behaves = () => answered('well')
  for (let index = 0; index < breakerProbesMax; index += 1) expect(await call()).toBe('well')
})

test('errors that are not the function’s own, and error statuses that it answers, never open it', async () => {
  behaves = () => failed('overloaded', 'No executor became free.')
  for (let index = 0; index < breakerCallsMin * 2; index += 1) await call()
  behaves = () => answered('sorry', { status: 503 })
  for (let index = 0; index < breakerCallsMin * 2; index += 1) {
    expect((await fetch(ingress.url)).status).toBe(503)
  }
  behaves = () => answered('well')
  expect(await call()).toBe('well')
})

test('a quarantined version is 503 that says until when, whatever its circuit is', async () => {
  await trip()
  const { fn, verdicts } = ingress
  const until = Date.now() + 600_000
  verdicts.quarantine(fn.slot, { version: fn.version, deaths: 3, until })
  const response = await fetch(ingress.url)
  expect(response.status).toBe(503)
  expect(Number(response.headers.get('retry-after'))).toBeWithin(590, 601)
  const { error } = errorBodySchema.parse(await response.json())
  expect(error).toMatchObject({ code: 'function_quarantined', retryable: false })
  expect(error.details).toMatchObject({ worker_deaths: 3, version: 1 })
  expect(error.message).toContain(new Date(until).toISOString())
  verdicts.quarantine(fn.slot, { version: fn.version + 1, deaths: 3, until })
  expect(await call()).toBe('circuit_open')
})

test('a call that ran for long counts when it has ended, and forgets no failures of that time', async () => {
  const window = () => ingress.breakers.window(ingress.fn.slot, nowMs)
  const [short, long] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const held = [short, long]
  behaves = async () => {
    await held.shift()?.promise
    return answered('well')
  }
  const both = [call(), call()]
  while (ingress.calls.length < both.length) await Bun.sleep(1)
  short.resolve()
  await Promise.race(both)
  // Time for which nothing else says what time it is, as long as the window of the breaker.
  nowMs += LIMITS.breakerWindowMs
  await Bun.sleep(100)
  behaves = () => failed('function_trap', 'It trapped.')
  await call()
  expect(window()).toEqual({ calls: 1, failures: 1 })
  long.resolve()
  await Promise.all(both)
  expect(window()).toEqual({ calls: 2, failures: 1 })
})
