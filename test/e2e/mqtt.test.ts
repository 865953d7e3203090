/** The real binary without MQTT, on either side, and with a broker of the operator's that dies. */

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import type { RouteView } from '../../src/protocol/api.ts'
import type { RouteDetail, SyncHistory } from '../../src/protocol/syncs.ts'
import { Mosquitto } from '../cp/broker/mosquitto.ts'
import { ControlPlane, GUESTS, Node, until, World } from './harness.ts'

let world: World
beforeAll(() => {
  world = new World()
})
afterAll(() => world.close(), 60_000)

const guest = (name: string) => join(GUESTS, `${name}.wasm`)
const hello = (plane: ControlPlane, file: string, ...more: string[]) =>
  plane.run('deploy', guest(file), '--name', 'hello', '--route', '/hello', ...more)

async function mqttCheck(node: Node): Promise<{ ok: boolean; detail: string } | undefined> {
  const ready = (await (await fetch(`${node.ops}/ready`)).json()) as {
    checks: Record<string, { ok: boolean; detail: string }>
  }
  return ready.checks['mqtt']
}

const answers = (node: Node, path: string) =>
  until(`${path} answers`, async () => (await node.get(path)).status === 200)

/** Deployments and routes come and go. */
async function works(plane: ControlPlane, node: Node): Promise<void> {
  expect(await hello(plane, 'hello-c')).toContain('version 1 is in service on 1 node')
  await answers(node, '/hello')
  expect(await hello(plane, 'hello-rust')).toContain('version 2 is in service on 1 node')
  const more = await plane.api<RouteView>('POST', '/routes', { path: '/more', function: 'hello' })
  await answers(node, '/more')
  const listed = await until('the route is said to be live', async () => {
    const text = await plane.run('routes', 'list')
    return text.split('\n').find((line) => line.includes('/more') && line.includes('1 of 1'))
  })
  expect(listed).toContain(more.id)
  expect(await plane.run('routes', 'show', more.id)).toMatch(
    new RegExp(`${node.id} +tokyo-1 +live`),
  )
  await plane.run('routes', 'delete', more.id)
  await until('it is gone', async () => (await node.get('/more')).status === 404)
}

test('--mqtt off on the control plane: everything works by polling', async () => {
  const plane = await (await ControlPlane.create(world, ['--mqtt', 'off'])).start()
  const node = await (await Node.create(world, plane, { id: 'polls', pop: 'tokyo-1' })).start()
  expect(await mqttCheck(node)).toMatchObject({ ok: false, detail: 'switched off' })
  await works(plane, node)
  const history = await plane.run('nodes', 'syncs', 'polls')
  expect(history).toMatch(/succeeded +\d+ \(100.0 %\)/)
  const { items } = await plane.api<SyncHistory>('GET', '/nodes/polls/syncs')
  expect(items.every((item) => item.succeeded)).toBe(true)
}, 120_000)

test('--mqtt off on the node: everything works by polling', async () => {
  const plane = await (await ControlPlane.create(world)).start()
  const flags = ['--mqtt', 'off']
  const node = await (
    await Node.create(world, plane, { id: 'alone', pop: 'tokyo-1', flags })
  ).start()
  expect(await mqttCheck(node)).toMatchObject({ ok: false, detail: 'switched off' })
  await works(plane, node)
}, 120_000)

describe("a broker of the operator's", () => {
  let broker: Mosquitto
  let plane: ControlPlane
  let node: Node
  const isConnected = () => until('the node is connected', async () => (await mqttCheck(node))?.ok)

  beforeAll(async () => {
    broker = await Mosquitto.start(['tokyo-a'])
    const account = async (name: string) => {
      const file = join(world.dir, `${name}.password`)
      writeFileSync(file, `${name}-secret\n`, { mode: 0o600 })
      return ['--mqtt-password-file', file, '--mqtt-ca-file', broker.caFile]
    }
    const cpFlags = ['--mqtt-url', broker.url, ...(await account('edgefn-cp'))]
    plane = await (await ControlPlane.create(world, cpFlags)).start()
    // So seldom that only hints and heartbeats bring a change within the patience of these tests.
    const flags = ['--sync-interval', '1h', ...(await account('tokyo-a'))]
    node = await (await Node.create(world, plane, { id: 'tokyo-a', pop: 'tokyo-1', flags })).start()
    await isConnected()
  }, 120_000)
  afterAll(() => broker[Symbol.asyncDispose]())

  test('carries the notices', async () => {
    await works(plane, node)
  }, 120_000)

  test('is not missed while it is away, and used again when it is back', async () => {
    await broker.kill()
    await until('the node sees it', async () => (await mqttCheck(node))?.ok === false)
    expect(await hello(plane, 'hello-c')).toContain('is in service on 1 node')
    const ready = await fetch(`${plane.url}/ready`)
    expect(ready.status).toBe(200)
    await broker.restart()
    await isConnected()
    expect(await hello(plane, 'hello-rust')).toContain('is in service on 1 node')
  }, 120_000)

  test('survives a control plane that is killed', async () => {
    await plane.stop('SIGKILL')
    await plane.start()
    expect(await hello(plane, 'hello-c')).toContain('is in service on 1 node')
    const { items } = await plane.api<{ items: RouteView[] }>('GET', '/routes')
    const route = await plane.api<RouteDetail>('GET', `/routes/${items[0]?.id}`)
    expect(route.delivery).toEqual({ nodes: 1, live: 1 })
  }, 120_000)
})
