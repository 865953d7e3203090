import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import type { DeploymentView, NodeView } from '../../src/protocol/api.ts'
import { ControlPlane, GUESTS, jsonOf, Node, startLoad, until, World } from './harness.ts'
import type { Echo, Page } from './harness.ts'

let world: World
let plane: ControlPlane
let node: Node

const guest = (name: string) => join(GUESTS, `${name}.wasm`)
const deploy = (file: string, name: string, ...more: string[]) =>
  plane.run('deploy', guest(file), '--name', name, '--route', `/${name}/*`, ...more)

beforeAll(async () => {
  world = new World()
  plane = await (await ControlPlane.create(world)).start()
  node = await (await Node.create(world, plane, { id: 'tokyo-1-a', pop: 'tokyo-1' })).start()
}, 120_000)
afterAll(async () => {
  await world.close()
}, 120_000)

test('a deployed function answers', async () => {
  const printed = await deploy('hello-c', 'hello')
  expect(printed).toContain('version 1 is in service on 1 node')
  expect(printed).toContain(`${node.url}/hello`)
  const response = await node.get('/hello')
  expect([response.status, await response.text()]).toEqual([200, 'Hello, edge!\n'])
  expect(response.headers.get('x-request-id')).not.toBeNull()
}, 120_000)

test('guests of every toolchain are served, with method, query, headers and body', async () => {
  for (const name of ['echo-c', 'echo-as', 'echo-rust', 'wagi-echo-c', 'wagi-echo-rust']) {
    await deploy(name, name)
    const response = await node.get(`/${name}/x?y=1`, {
      method: 'PUT',
      body: 'b',
      headers: { 'x-a': '2' },
    })
    const echoed = await jsonOf<Echo>(response)
    expect(echoed).toMatchObject({ method: 'PUT', query: 'y=1', body: 'b' })
    expect(echoed.headers['x-a']).toBe('2')
  }
}, 120_000)

test('a new version takes over under load without one failed request', async () => {
  const load = startLoad(`${node.url}/hello`, 8)
  const versions = ['hello-rust', 'hello-c', 'wagi-hello-c', 'hello-as']
  for (const [index, file] of versions.entries()) {
    expect(await deploy(file, 'hello', '--force')).toContain(`version ${index + 2}`)
  }
  const report = await load.stop()
  expect(report.failures).toEqual([])
  expect(report.requests).toBeGreaterThan(100)
}, 120_000)

test('a killed worker is replaced, and only requests it was running are lost', async () => {
  const before = node.workers()
  const [victim] = before
  if (victim === undefined) throw new Error('The node has no workers.')
  const clients = 8
  const load = startLoad(`${node.url}/hello`, clients)
  process.kill(victim, 'SIGKILL')
  await until('another worker is there', () => {
    const now = node.workers()
    return now.length === before.length && !now.includes(victim)
  })
  const report = await load.stop()
  expect(report.failures.length).toBeLessThanOrEqual(clients)
  const invocations = await node.metric('wasm_invoke_count_total')
  expect(invocations).toBeGreaterThan(report.requests - clients - 1)
}, 120_000)

test('with the control plane gone a killed agent comes back and serves from its cache', async () => {
  await plane.stop('SIGKILL')
  const load = startLoad(`${node.url}/hello`, 4)
  await node.stop('SIGKILL')
  await node.start()
  expect(await (await node.get('/hello')).text()).toBe('Hello, edge!\n')
  await until('the orphans of the killed agent are gone', () => node.workers().length === 2)
  const report = await load.stop()
  // Connections that a closing listener had not yet accepted are reset; nothing else may fail.
  expect(report.failures.length).toBeLessThan(report.requests / 20)
}, 120_000)

test('when the control plane is back, everything converges and new deployments arrive', async () => {
  await plane.start()
  await until('the node is online again', async () => {
    const view = await plane.api<NodeView>('GET', `/nodes/${node.id}`)
    return view.status === 'online' && view.applied_revision === view.desired_revision
  })
  await deploy('echo-c', 'hello', '--force')
  const echoed = await jsonOf<Echo>(await node.get('/hello/again'))
  expect(echoed.path).toBe('/hello/again')
}, 120_000)

test('a damaged cache file is found at start and fetched again', async () => {
  await node.stop('SIGTERM')
  const dirs = readdirSync(join(node.dataDir, 'cache'))
  const files = dirs.flatMap((dir) =>
    readdirSync(join(node.dataDir, 'cache', dir)).map((file) =>
      join(node.dataDir, 'cache', dir, file),
    ),
  )
  for (const file of files) writeFileSync(file, 'damaged')
  await node.start()
  const response = await node.get('/hello/again')
  expect(response.status).toBe(200)
}, 120_000)

test('a deployment made while a node is away reaches it when it returns', async () => {
  await node.stop('SIGKILL')
  const away = await plane.cli(
    'deploy',
    guest('hello-c'),
    '--name',
    'hello',
    '--timeout',
    '2s',
    '--force',
  )
  expect(away.code).not.toBe(0)
  await node.start()
  await until('the version is in service', async () => {
    return (await (await node.get('/hello')).text()) === 'Hello, edge!\n'
  })
  await until('the deployment is completed', async () => {
    const { items } = await plane.api<Page<DeploymentView>>('GET', '/deployments?limit=1')
    return items[0]?.status === 'completed'
  })
}, 120_000)

test('logs are JSON lines', () => {
  for (const line of `${node.output}${plane.output}`.split('\n')) {
    if (line.startsWith('{')) expect(JSON.parse(line)).toHaveProperty('level')
  }
  expect(`${node.output}${plane.output}`).not.toContain(plane.key)
})
