/** The circuit breaker of a function on a real node: opened by failures in any worker, for all of them, closed by probes. */

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { join } from 'node:path'

import type { ErrorBody, NodeDetail } from '../../src/protocol/api.ts'
import { LIMITS } from '../../src/protocol/limits.ts'
import { ControlPlane, GUESTS, jsonOf, Node, until, World } from './harness.ts'

let world: World
let plane: ControlPlane
let node: Node

/** Each on a connection of its own, so that both workers get some. */
const ONCE = { keepalive: false, headers: { connection: 'close' } }

beforeAll(async () => {
  world = new World()
  plane = await (await ControlPlane.create(world)).start()
  node = await (await Node.create(world, plane, { id: 'kobe-1-a', pop: 'kobe-1' })).start()
  for (const name of ['half', 'other']) {
    await plane.run(
      'deploy',
      join(GUESTS, 'misbehave-c.wasm'),
      '--name',
      name,
      '--route',
      `/${name}/*`,
    )
  }
}, 120_000)
afterAll(async () => {
  await world.close()
}, 120_000)

/** Calls in a row; how often each status or error code came. */
async function call(paths: readonly string[]): Promise<Record<string, number>> {
  const seen: Record<string, number> = {}
  for (const path of paths) {
    const response = await node.get(path, ONCE)
    const text = await response.text()
    const isError = text.startsWith('{"error"')
    const what = isError ? (JSON.parse(text) as ErrorBody).error.code : String(response.status)
    seen[what] = (seen[what] ?? 0) + 1
  }
  return seen
}

const times = (count: number, ...paths: string[]) =>
  Array.from({ length: count }, (_, index) => paths[index % paths.length] ?? '')

test('neither occasional failures nor deliberate error answers open it', async () => {
  const calls = LIMITS.breakerCallsMin * 2
  expect(await call(times(calls, '/half/status/503', '/half/status/500'))).toEqual({
    503: calls / 2,
    500: calls / 2,
  })
  expect(
    await call(
      times(calls, '/half/status/200', '/half/status/200', '/half/status/200', '/half/trap'),
    ),
  ).toEqual({ 200: (calls * 3) / 4, function_trap: calls / 4 })
}, 120_000)

test('when half of the calls fail it opens in all workers, and says so everywhere; the neighbour is served', async () => {
  await until('it opens', async () => {
    const seen = await call(times(20, '/half/trap', '/half/status/200'))
    return (seen['circuit_open'] ?? 0) > 0
  })
  const response = await node.get('/half/status/200', ONCE)
  const { error } = await jsonOf<ErrorBody>(response)
  expect([response.status, error.code, error.retryable]).toEqual([503, 'circuit_open', true])
  expect(Number(response.headers.get('retry-after'))).toBeWithin(1, 6)
  expect(await call(times(20, '/half/status/200'))).toEqual({ circuit_open: 20 })
  expect(await call(times(20, '/other/status/200'))).toEqual({ 200: 20 })
  expect(await node.metric('edgefn_breaker_state')).toBe(1)
  expect(await node.metric('edgefn_breaker_opened_total')).toBe(1)
  const shown = await until('the heartbeat says it', async () => {
    const detail = await plane.api<NodeDetail>('GET', '/nodes/kobe-1-a')
    return detail.status === 'degraded' ? detail : null
  })
  const half = shown.functions.find((fn) => fn.function_name === 'half')
  expect(half).toMatchObject({ state: 'serving', breaker: 'open' })
  expect(await plane.run('nodes', 'show', 'kobe-1-a')).toMatch(/half .*serving +open/)
  expect(await plane.run('functions', 'show', 'half')).toMatch(/kobe-1-a .*circuit breaker/)
  await until('it is logged', () => node.output.includes('"error_type":"circuit_open"'))
}, 120_000)

test('it closes when its probes succeed, and the node is well again', async () => {
  await until('a call goes through', async () => {
    return (await node.get('/half/status/200', ONCE)).status === 200
  })
  await until('it is closed', async () => {
    await call(times(5, '/half/status/200'))
    return (await node.metric('edgefn_breaker_state')) === 0
  })
  expect(await call(times(20, '/half/status/200', '/half/trap'))).toEqual({
    200: 10,
    function_trap: 10,
  })
  await until('the node is well', async () => {
    return (await plane.api<NodeDetail>('GET', '/nodes/kobe-1-a')).status === 'online'
  })
}, 120_000)

test('another version begins with a closed one', async () => {
  await call(times(LIMITS.breakerCallsMin * 2, '/half/trap'))
  expect(await call(['/half/status/200'])).toEqual({ circuit_open: 1 })
  await plane.run(
    'deploy',
    join(GUESTS, 'misbehave-c.wasm'),
    '--name',
    'half',
    '--message',
    'two',
    '--force',
  )
  expect(await call(['/half/status/200'])).toEqual({ 200: 1 })
}, 120_000)
