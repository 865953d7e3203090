/** Telemetry on the real binary: nothing is lost and nothing counted twice, whoever is killed meanwhile. */

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

import type { FunctionMetrics, NodeMetrics } from '../../src/protocol/telemetry.ts'
import { ControlPlane, GUESTS, Node, until, World } from './harness.ts'

let world: World
let plane: ControlPlane
/** One uploads over MQTT, the other over HTTP. */
let nodes: [Node, Node]
let sent = 0

/** Requests that are all answered, so that it is known how many there were. */
async function request(node: Node, count: number): Promise<void> {
  for (let at = 0; at < count; at += 10) {
    const group = Math.min(10, count - at)
    const answers = await Promise.all(
      // Each on a connection of its own: one that is kept would be reset with the workers of a former agent.
      Array.from({ length: group }, async () =>
        (await node.get('/count', { keepalive: false })).text(),
      ),
    )
    expect(answers).toEqual(answers.map(() => 'Hello, edge!\n'))
    sent += group
  }
}

/** Workers whose agent was killed end when there is another one, and reset who connects to them just then. */
const gone = (workers: readonly number[]) =>
  until('the former workers are gone', () =>
    workers.every((pid) => !existsSync(`/proc/${pid}/cmdline`)),
  )

async function totals(query = '') {
  const from = new Date(Date.now() - 3_600_000).toISOString()
  const found = await plane.api<FunctionMetrics>(
    'GET',
    `/functions/count/metrics?from=${from}${query}`,
  )
  return found.versions[0]?.totals ?? null
}

async function allThere(): Promise<void> {
  await until(`all ${sent} requests are there`, async () => {
    const requests = (await totals())?.requests ?? 0
    if (requests > sent) throw new Error(`${requests} of ${sent}`)
    return requests === sent
  })
  // Whatever comes twice had time to come.
  await Bun.sleep(1_500)
  expect((await totals())?.requests).toBe(sent)
}

beforeAll(async () => {
  world = new World()
  plane = await (await ControlPlane.create(world)).start()
  const flags = ['--telemetry-interval', '300ms', '--workers', '2']
  const [first, second] = await Promise.all([
    Node.create(world, plane, { id: 'tokyo-1-a', pop: 'tokyo-1', flags }),
    Node.create(world, plane, {
      id: 'osaka-1-a',
      pop: 'osaka-1',
      flags: [...flags, '--mqtt', 'off'],
    }),
  ])
  nodes = [first, second]
  await Promise.all(nodes.map((node) => node.start()))
  await plane.run('deploy', join(GUESTS, 'hello-c.wasm'), '--name', 'count', '--route', '/count')
}, 120_000)
afterAll(async () => {
  await world.close()
}, 120_000)

test('counts what was requested, by node and version, over MQTT and over HTTP', async () => {
  await Promise.all(nodes.map((node, index) => request(node, 100 + 50 * index)))
  await allThere()
  expect((await totals('&node=osaka-1-a'))?.requests).toBe(150)
  expect((await totals('&version=1'))?.errors).toEqual({})
  const figures = await plane.api<NodeMetrics>('GET', '/nodes/osaka-1-a/metrics')
  expect(figures.points.reduce((sum, { requests }) => sum + requests, 0)).toBe(150)
  expect(figures.points.at(-1)).toMatchObject({ cache_files: 1 })
  expect(await plane.run('metrics', 'count')).toMatch(
    /VERSION +REQUESTS +FAULTS[^]*\nv1 +250 +0 +0\.00 %/,
  )
  expect(await plane.run('nodes', 'metrics', 'tokyo-1-a', '--step', '10s')).toContain('MEMORY')
}, 120_000)

test('a control plane that is killed gets all of it when it is back, also from a node that was killed meanwhile', async () => {
  await Promise.all(nodes.map((node) => request(node, 50)))
  await plane.stop('SIGKILL')
  await Promise.all(nodes.map((node) => request(node, 120)))
  await Bun.sleep(700)
  for (const node of nodes) {
    const former = node.workers()
    await node.stop('SIGKILL')
    // Its workers go on without it, and what they count is in no batch.
    await request(node, 30)
    await node.start()
    await gone(former)
    await request(node, 20)
  }
  await plane.start()
  await Promise.all(nodes.map((node) => request(node, 10)))
  await allThere()
  expect((await totals())?.server_faults).toBe(0)
}, 120_000)

test('agents killed again and again while requests come leave nothing uncounted and nothing counted twice', async () => {
  const [node] = nodes
  for (let time = 0; time < 3; time += 1) {
    const former = node.workers()
    const load = request(node, 150)
    await Bun.sleep(40 * time)
    await node.stop('SIGKILL')
    await load
    await node.start()
    await gone(former)
  }
  await allThere()
}, 120_000)

test('a node that ends in order leaves its last batch for its next start', async () => {
  const [, node] = nodes
  await request(node, 33)
  await node.stop('SIGTERM')
  await node.start()
  await allThere()
}, 120_000)
