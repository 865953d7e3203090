/** Commands to nodes with the real binary: drained, isolated, removed, killed in the middle, away, without a broker. */

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

import type { NodeView } from '../../src/protocol/api.ts'
import type { CommandView } from '../../src/protocol/commands.ts'
import { ControlPlane, GUESTS, jsonOf, Node, startLoad, until, World } from './harness.ts'
import type { Page } from './harness.ts'

interface Ready {
  readonly status: string
  readonly checks: Readonly<Record<string, { readonly ok: boolean }>>
}

let world: World
let plane: ControlPlane
let first: Node
let second: Node

beforeAll(async () => {
  world = new World()
  plane = await (await ControlPlane.create(world)).start()
  first = await (await Node.create(world, plane, { id: 'n-1', pop: 'tokyo-1' })).start()
  second = await (
    await Node.create(world, plane, { id: 'n-2', pop: 'tokyo-1', flags: ['--mqtt', 'off'] })
  ).start()
  const wasm = join(GUESTS, 'hello-c.wasm')
  await plane.run('deploy', wasm, '--name', 'hello', '--route', '/hello')
}, 120_000)
afterAll(async () => {
  await world.close()
}, 120_000)

const ask = (id: string, body: unknown) =>
  plane.api<CommandView>('POST', `/nodes/${id}/commands`, body)
const show = (id: string) => plane.api<CommandView>('GET', `/commands/${id}`)
const viewOf = (id: string) => plane.api<NodeView>('GET', `/nodes/${id}`)
const finished = (id: string) =>
  until(`command ${id} is finished`, async () => {
    const seen = await show(id)
    return seen.finished_at === null ? null : seen
  })
const begun = (node: Node, id: string) =>
  node.output.split('\n').filter((line) => line.includes('A command begins') && line.includes(id))

test('a drained node answers 503, closes connections and is not ready; others lose nothing', async () => {
  const load = startLoad(`${second.url}/hello`, 4)
  expect(await plane.run('nodes', 'drain', 'n-1')).toContain('drain on n-1: done')
  const refused = await first.get('/hello')
  expect(refused.status).toBe(503)
  expect(refused.headers.get('connection')).toBe('close')
  expect(await refused.json()).toMatchObject({ error: { code: 'node_drained', retryable: true } })
  expect((await fetch(`${first.ops}/ready`)).status).toBe(503)
  expect(await plane.run('nodes', 'list')).toMatch(/n-1 .* drained .* drain succeeded/)

  // It holds for an agent that was killed, and for its new workers.
  await first.stop('SIGKILL')
  await first.start(false)
  const ready = await until('its workers serve', async () => {
    const answer = await jsonOf<Ready>(await fetch(`${first.ops}/ready`))
    return answer.checks['workers']?.ok === true ? answer : null
  })
  expect([ready.status, ready.checks['drain']?.ok]).toEqual(['not_ready', false])
  expect((await first.get('/hello')).status).toBe(503)
  await plane.run('nodes', 'undrain', 'n-1')
  expect((await first.get('/hello')).status).toBe(200)
  expect((await fetch(`${first.ops}/ready`)).status).toBe(200)
  const report = await load.stop()
  expect(report.failures).toEqual([])
  expect(report.requests).toBeGreaterThan(50)
}, 120_000)

test('a drain waits for the calls that run', async () => {
  const wasm = join(GUESTS, 'misbehave-c.wasm')
  const limits = ['--max-execution-ms', '8000']
  await plane.run('deploy', wasm, '--name', 'slow', '--route', '/slow/*', ...limits)
  const slow = first.get('/slow/loop')
  await until('it runs', async () => (await first.metric('edgefn_in_flight')) > 0)
  const { id } = await ask('n-1', { type: 'drain' })
  await until('it is drained', async () => (await first.get('/hello')).status === 503)
  expect((await show(id)).state).toBe('delivered')
  expect((await slow).status).toBe(504)
  expect(await finished(id)).toMatchObject({ state: 'succeeded', detail: { running: 0 } })
  await plane.run('nodes', 'undrain', 'n-1')
}, 120_000)

test('workers are replaced one by one under load without a failed request', async () => {
  const before = new Set(first.workers())
  const load = startLoad(`${first.url}/hello`, 4)
  expect(await plane.run('nodes', 'restart-workers', 'n-1')).toContain('done')
  const report = await load.stop()
  expect(report.failures).toEqual([])
  expect(report.requests).toBeGreaterThan(50)
  const after = first.workers()
  expect(after).toHaveLength(2)
  // One of them may be the spare that stood by.
  expect(after.filter((pid) => before.has(pid))).toEqual([])
}, 120_000)

test('a node that was away runs a command once when it returns, and none whose time is over', async () => {
  await first.stop('SIGTERM')
  const expired = await ask('n-1', { type: 'sync', ttl_seconds: 1 })
  const waiting = await ask('n-1', { type: 'set_log_level', params: { level: 'debug' } })
  expect((await finished(expired.id)).state).toBe('expired')
  await first.start()
  expect((await finished(waiting.id)).state).toBe('succeeded')
  await plane.run('nodes', 'sync', 'n-1')
  expect(begun(first, waiting.id)).toHaveLength(1)
  expect(begun(first, expired.id)).toHaveLength(0)
  expect((await show(expired.id)).state).toBe('expired')
  await plane.run('nodes', 'set-log-level', 'n-1', 'info')
}, 120_000)

test('an agent that is killed during a command does not run it again, and says so', async () => {
  const { id } = await ask('n-1', { type: 'restart_workers' })
  await until('it has begun', () => begun(first, id).length > 0)
  await first.stop('SIGKILL')
  await first.start()
  const seen = await finished(id)
  expect([seen.state, seen.error?.code]).toEqual(['failed', 'interrupted'])
  expect(begun(first, id)).toHaveLength(0)
  expect((await first.get('/hello')).status).toBe(200)
}, 120_000)

test('an isolated node serves on and is offline until the time is over, also after a restart', async () => {
  const { id } = await ask('n-1', { type: 'isolate', params: { for_seconds: 15 } })
  await until('the node is gone', async () => (await viewOf('n-1')).status === 'offline')
  expect((await viewOf('n-1')).isolated_until).not.toBeNull()
  expect(await plane.run('nodes', 'list')).toContain('isolated until')
  await first.stop('SIGKILL')
  await first.start()
  expect((await first.get('/hello')).status).toBe(200)
  expect((await show(id)).state).toBe('delivered')
  const seen = await finished(id)
  expect([seen.state, seen.detail]).toEqual(['succeeded', { isolated_seconds: 15 }])
  const tookMs = Date.parse(seen.finished_at ?? '') - Date.parse(seen.delivered_at ?? '')
  expect(tookMs).toBeGreaterThan(14_900)
  await until('it is back', async () => (await viewOf('n-1')).status === 'online')
}, 120_000)

test('without a broker, commands arrive with heartbeats; the cache can be purged', async () => {
  expect(await plane.run('nodes', 'purge-cache', 'n-2', '--all')).toMatch(/fetched_again: \d/)
  expect((await second.get('/hello')).status).toBe(200)
  expect(await plane.run('nodes', 'commands', 'n-2')).toContain('purge_cache')
}, 120_000)

test('a removed node is drained, forgets who it is, ends, and is gone', async () => {
  expect(await plane.run('nodes', 'remove', 'n-2')).toContain('credentials: erased')
  await until('the agent has ended', () => second.output.includes('"message":"closed"'))
  for (const file of ['credentials.json', 'secrets.key']) {
    expect(existsSync(join(second.dataDir, file))).toBe(false)
  }
  const { items } = await plane.api<Page<NodeView>>('GET', '/nodes')
  expect(items.map((item) => item.id as string)).toEqual(['n-1'])
}, 120_000)
