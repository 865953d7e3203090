import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import type { ErrorBody, RegistrationView, RouteView } from '../../src/protocol/api.ts'
import { BINARY, ControlPlane, GUESTS, jsonOf, Node, startLoad, until, World } from './harness.ts'
import type { Page } from './harness.ts'

let world: World
let plane: ControlPlane
let nodes: Node[]

const ANY_PORT = '127.0.0.1:0'

const guest = (name: string) => join(GUESTS, `${name}.wasm`)

beforeAll(async () => {
  world = new World()
  plane = await (await ControlPlane.create(world, ['--mqtt-listen', 'off'])).start()
  nodes = await Promise.all(
    [
      { id: 'osaka-1-a', pop: 'osaka-1' },
      { id: 'osaka-2-a', pop: 'osaka-2' },
    ].map(async (options) => (await Node.create(world, plane, options)).start()),
  )
}, 60_000)
afterAll(async () => {
  await world.close()
}, 60_000)

test('without MQTT a deployment reaches every node by heartbeat and poll', async () => {
  const printed = await plane.run(
    'deploy',
    guest('hello-c'),
    '--name',
    'hello',
    '--route',
    '/hello',
  )
  expect(printed).toContain('in service on 2 nodes')
  for (const node of nodes) expect(await (await node.get('/hello')).text()).toBe('Hello, edge!\n')
}, 60_000)

test('a target reaches its POPs and no others', async () => {
  const words = ['--name', 'local', '--route', '/local', '--target', 'osaka-2']
  await plane.run('deploy', guest('hello-c'), ...words)
  expect((await nodes[0]?.get('/local'))?.status).toBe(404)
  expect((await nodes[1]?.get('/local'))?.status).toBe(200)
  const nowhere = await plane.cli(
    'deploy',
    guest('hello-c'),
    '--name',
    'local',
    '--target',
    'kyoto-1',
  )
  expect(nowhere.code).not.toBe(0)
  expect(nowhere.stderr).toContain('No edge nodes available in target POP')
}, 60_000)

test('a burning function does not stop its neighbours', async () => {
  const words = ['--name', 'bad', '--route', '/bad/*', '--max-execution-ms', '1000']
  await plane.run('deploy', guest('misbehave-c'), ...words)
  const [node] = nodes
  if (node === undefined) throw new Error('There is no node.')
  const burning = Array.from({ length: 8 }, () => node.get('/bad/loop'))
  const load = startLoad(`${node.url}/hello`, 4)
  const statuses = (await Promise.all(burning)).map((response) => response.status)
  const report = await load.stop()
  expect(statuses.every((status) => status === 504 || status === 503)).toBe(true)
  expect(statuses).toContain(504)
  expect(report.failures).toEqual([])
  expect(report.requests).toBeGreaterThan(20)
}, 60_000)

test('each misbehaviour is answered by its status and an error body that names it', async () => {
  const [node] = nodes
  if (node === undefined) throw new Error('There is no node.')
  const expected: [string, number, string][] = [
    ['/bad/trap', 500, 'function_trap'],
    ['/bad/alloc', 500, 'memory_limit'],
    ['/bad/negative', 500, 'function_error'],
    ['/bad/write100m', 502, 'invalid_response'],
    ['/bad/crlf', 502, 'invalid_response'],
    ['/nowhere', 404, 'route_not_found'],
  ]
  for (const [path, status, code] of expected) {
    const response = await node.get(path)
    const body = await jsonOf<ErrorBody>(response)
    expect([path, response.status, body.error.code]).toEqual([path, status, code])
    expect(body.error.request_id).toBe(response.headers.get('x-request-id') ?? '')
  }
  const pids = node.workers()
  expect(pids.length).toBeGreaterThan(0)
}, 60_000)

test('a quota holds for the node as a whole, whichever worker a request meets', async () => {
  const [node] = nodes
  if (node === undefined) throw new Error('There is no node.')
  const quotas = { concurrency: 2, requests_per_second: null, burst: null }
  const body = { name: 'few', quotas, max_execution_ms: 5000 }
  const registered = await plane.api<RegistrationView>('POST', '/functions', body)
  const uploaded = await fetch(registered.upload_url, {
    method: 'PUT',
    body: Bun.file(guest('wagi-misbehave-c')),
  })
  expect(uploaded.status).toBe(200)
  await plane.api('POST', '/routes', { path: '/few', path_type: 'prefix', function: 'few' })
  await plane.api('POST', '/functions/few/deploy', {})
  await until('it serves', async () => (await node.get('/few/status/200')).status === 200)
  const answers = await Promise.all(Array.from({ length: 12 }, () => node.get('/few/sleep/600')))
  const statuses = answers.map((response) => response.status).sort()
  expect(statuses.filter((status) => status === 200)).toHaveLength(2)
  expect(statuses.filter((status) => status === 429)).toHaveLength(10)
  expect((await node.get('/few/status/200')).status).toBe(200)
}, 60_000)

test('a route change and a deletion reach the nodes', async () => {
  const [node] = nodes
  if (node === undefined) throw new Error('There is no node.')
  const { items } = await plane.api<Page<RouteView>>('GET', '/routes')
  const route = items.find(({ path }) => path === '/hello')
  if (route === undefined) throw new Error('The route is missing.')
  await plane.run('routes', 'update', route.id, '--priority', '5', '--route', '/hi')
  await until('the new path answers', async () => (await node.get('/hi')).status === 200)
  await until('the old path is gone', async () => (await node.get('/hello')).status === 404)
  await plane.run('functions', 'delete', 'hello')
  await until('the function is gone', async () => (await node.get('/hi')).status === 404)
}, 60_000)

test('commands print JSON on request and fail with the documented codes', async () => {
  for (const noun of ['functions', 'routes', 'nodes', 'deployments']) {
    const printed = JSON.parse(await plane.run(noun, 'list', '-o', 'json'))
    expect(Array.isArray(printed.items ?? printed)).toBe(true)
  }
  expect((await plane.cli('functions', 'show', 'missing')).code).toBe(4)
  expect((await plane.cli('functions', 'list', '--nonsense')).code).toBe(2)
  expect((await plane.cli('functions', 'list', '--cp', 'http://127.0.0.1:1')).code).toBe(3)
  const inspected = await plane.cli('inspect', guest('memory-17'), '--memory-pages', '16')
  expect(inspected.code).not.toBe(0)
  expect(`${inspected.stdout}${inspected.stderr}`).toContain('17')
}, 60_000)

/** An environment in which the dynamic linker finds an empty file where libwasmedge should be. */
function withoutWasmedge(): Record<string, string | undefined> {
  const folder = join(world.dir, 'no-wasmedge')
  mkdirSync(folder)
  for (const name of ['libwasmedge.so.0', 'libwasmedge.so']) writeFileSync(join(folder, name), '')
  return { ...process.env, LD_LIBRARY_PATH: folder }
}

test('a control plane runs without libwasmedge, and a node without it says what to install', async () => {
  const flags = ['--pop', 'osaka-3', '--cp', plane.url, '--data-dir', join(world.dir, 'no-engine')]
  const token = await plane.joinToken('osaka-3')
  const edge = Bun.spawn(
    [
      BINARY,
      'edge',
      ...flags,
      '--token',
      token,
      '--listen',
      ANY_PORT,
      '--metrics-listen',
      ANY_PORT,
    ],
    { env: withoutWasmedge(), stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' },
  )
  const [stdout, stderr, code] = await Promise.all([
    edge.stdout.text(),
    edge.stderr.text(),
    edge.exited,
  ])
  expect(code).not.toBe(0)
  expect(`${stdout}${stderr}`).toContain('libwasmedge')
  expect(`${stdout}${stderr}`).toMatch(/install/)
  const maps = readFileSync(`/proc/${plane.pid}/maps`, 'utf8')
  expect(maps).not.toContain('wasmedge')
}, 60_000)
