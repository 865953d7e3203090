/**
 * Clocks that are wrong, or are set while everything runs, with the real binary: hours and days on nodes and control plane, and two
 * control planes that differ by minutes. Only wall clocks: the monotonic ones nobody can set.
 */

import { afterEach, beforeEach, expect, test } from 'bun:test'
import { join } from 'node:path'

import type { DeploymentView, NodeView } from '../../src/protocol/api.ts'
import type { CommandView } from '../../src/protocol/commands.ts'
import type { PreviewView } from '../../src/protocol/preview.ts'
import type { WebhookCreated } from '../../src/protocol/webhooks.ts'
import { receiver } from '../cp/webhooks/receiver.ts'
import { Clock } from './clock.ts'
import { ControlPlane, GUESTS, Node, type Page, until, World } from './harness.ts'
import { startPair } from './pair.ts'

const hour = 3_600
const day = 24 * hour

let world: World
beforeEach(() => {
  world = new World()
})
afterEach(async () => {
  await world.close()
}, 120_000)

const guest = (name: string) => join(GUESTS, `${name}.wasm`)
const files = ['hello-c', 'hello-rust'] as const
const newest = async (plane: ControlPlane) => {
  const path = '/deployments?function=hello&limit=1'
  const [first] = (await plane.api<Page<DeploymentView>>('GET', path)).items
  if (first === undefined) throw new Error('There is no deployment.')
  return first
}

/** Everything that an operator does, done now; `what` names the moment. */
async function works(plane: ControlPlane, nodes: readonly Node[], what: string): Promise<void> {
  const strategy = ['--strategy', 'rolling', '--batch', '1', '--pause', '1s', '--timeout', '40s']
  const { version } = await newest(plane)
  const next = guest(files[version % 2] ?? '')
  expect([what, await plane.run('deploy', next, '--name', 'hello', ...strategy)]).toEqual([
    what,
    expect.stringContaining(`is in service on ${nodes.length} node`),
  ])
  expect(await plane.run('rollback', 'hello')).toContain('completed')
  const shown = await newest(plane)
  expect([what, shown.status, shown.version]).toEqual([what, 'completed', version])
  for (const node of nodes) {
    for (const command of ['drain', 'undrain']) {
      expect(await plane.run('nodes', command, node.id)).toContain(`${command} on ${node.id}: done`)
    }
    expect((await node.get('/hello')).status).toBe(200)
    expect((await plane.api<NodeView>('GET', `/nodes/${node.id}`)).status).toBe('online')
  }
  expect(await plane.run('audit', 'verify')).toContain('the audit log is intact')
}

const firstDeploy = (plane: ControlPlane) =>
  plane.run('deploy', guest('hello-c'), '--name', 'hello', '--route', '/hello')

/** What the control plane has told of nodes that were not well. */
const unwell = (plane: ControlPlane) =>
  plane.output
    .split('\n')
    .filter((line) => /changed its status/.test(line) && /"status":"(offline|degraded)"/.test(line))

test('nodes whose clocks are hours off join, serve, obey and come back from isolation; a preview says whose clock ends it', async () => {
  const plane = await (await ControlPlane.create(world)).start()
  const start = async (id: string, aheadSeconds: number) => {
    const clock = new Clock(world, id, aheadSeconds)
    const node = await Node.create(world, plane, { id, pop: `${id}-1`, env: clock.env })
    await node.start()
    expect(await clock.isShownBy(`${node.ops}/ready`)).toBe(true)
    return { node, set: (seconds: number) => clock.set(seconds, `${node.ops}/ready`) }
  }
  const started = await Promise.all([start('ahead', 2 * hour), start('behind', -2 * hour)])
  const [{ node: ahead }, { node: behind }] = started
  const nodes = [ahead, behind]
  await firstDeploy(plane)
  await works(plane, nodes, 'nodes hours off')
  const said = await until('a node says that its clock differs', () =>
    ahead.output.split('\n').find((line) => line.includes('of the control plane differ')),
  )
  expect(said).toMatch(/"ahead_seconds":7(199|200|201)/)

  const words = ['versions', 'preview', 'hello', 'v2', '--output', 'json']
  const { token } = JSON.parse(await plane.run(...words)) as PreviewView
  const headers = { 'x-edgefn-version': 'v2', 'x-edgefn-preview-token': token }
  expect((await behind.get('/hello', { headers })).status).toBe(200)
  const refused = await ahead.get('/hello', { headers })
  expect(refused.status).toBe(403)
  expect(await refused.text()).toMatch(/expired at \S+, and the clock of the node says \S+/)

  for (const { id } of nodes) await plane.run('nodes', 'isolate', id, '--for', '2s', '--no-wait')
  await until('both are back from isolation', async () => {
    const views = nodes.map(({ id }) => plane.api<NodeView>('GET', `/nodes/${id}`))
    return (await Promise.all(views)).every(
      ({ status, last_command }) => status === 'online' && last_command?.state === 'succeeded',
    )
  })
  await works(plane, nodes, 'after isolation')
  for (const seconds of [-day, day, 0]) {
    for (const { set } of started) await set(seconds)
    await works(plane, nodes, `nodes set to ${seconds}`)
  }
}, 120_000)

test('a control plane whose clock is set a day forward and back, and weeks forward, loses nothing', async () => {
  const clock = new Clock(world, 'cp')
  const plane = await (await ControlPlane.create(world, [], clock.env)).start()
  const set = (seconds: number) => clock.set(seconds, `${plane.url}/ready`)
  const nodes = await Promise.all(
    ['a', 'b'].map(async (id) => (await Node.create(world, plane, { id, pop: `${id}-1` })).start()),
  )
  await using told = receiver()
  told.answer = ({ genuine }) => new Response('', { status: genuine ? 200 : 401 })
  const hook = { url: told.url, events: ['rollout.completed'] }
  told.secret = (await plane.api<WebhookCreated>('POST', '/webhooks', hook)).secret
  await firstDeploy(plane)
  const atStart = unwell(plane)
  const late = await Node.create(world, plane, { id: 'late', pop: 'late-1' })
  for (const days of [1, -1, 0]) {
    await set(days * day)
    await works(plane, nodes, `${days} days`)
  }
  expect(unwell(plane)).toEqual(atStart)
  // Receivers refuse what was signed a day off; it is signed anew with every attempt.
  await until('the webhook was taken', () => told.received.some(({ genuine }) => genuine))

  // Beyond the life of the nodes' tokens: they serve on, say why they are refused, and go on by themselves.
  await set(40 * day)
  await until('both nodes are told why', () =>
    nodes.every(({ output }) =>
      /expired at \S+, and the clock of the control plane says/.test(output),
    ),
  )
  await plane.api('POST', '/functions/hello/deploy', { version: 2 })
  const meanwhile = await newest(plane)
  expect(meanwhile.version).toBe(2)
  expect(meanwhile.status).not.toBe('completed')
  for (const node of nodes) expect((await node.get('/hello')).status).toBe(200)
  await late.start(false)
  await until('a join token is refused with the times', () =>
    /join token expired at \S+, and the clock of the control plane says/.test(late.output),
  )
  await set(0)
  await until('what was ordered meanwhile is done', async () => {
    const { id, status } = await newest(plane)
    return id === meanwhile.id && status === 'completed'
  })
  await until('all is well', async () => {
    const { items } = await plane.api<Page<NodeView>>('GET', '/nodes?status=online')
    return items.length === nodes.length
  })
  await works(plane, nodes, 'after weeks')
}, 240_000)

test('what is newest stays so when a control plane starts with its clock set back, and a command that the clock ends says so', async () => {
  const clock = new Clock(world, 'cp', day)
  const plane = await (await ControlPlane.create(world, [], clock.env)).start()
  const node = await (await Node.create(world, plane, { id: 'a', pop: 'a-1' })).start()
  await firstDeploy(plane)
  await works(plane, [node], 'a day ahead')
  await plane.stop('SIGKILL')
  await clock.set(0, `${node.ops}/ready`).catch(() => undefined)
  await plane.start()
  expect(await clock.isShownBy(`${plane.url}/ready`)).toBe(true)
  await until('the node is online', async () => {
    return (await plane.api<NodeView>('GET', '/nodes/a')).status === 'online'
  })
  await works(plane, [node], 'a day back')
  const { last_command } = await plane.api<NodeView>('GET', '/nodes/a')
  const { items } = await plane.api<Page<CommandView>>('GET', '/nodes/a/commands')
  expect(items.map(({ type }) => type)).toEqual(['undrain', 'drain', 'undrain', 'drain'])
  expect(last_command?.id === items[0]?.id).toBe(true)

  await node.stop('SIGKILL')
  const ask = { type: 'drain', ttl_seconds: 15 }
  const { id } = await plane.api<CommandView>('POST', '/nodes/a/commands', ask)
  await until('the command is known for a while', async () => {
    const { created_at } = await plane.api<CommandView>('GET', `/commands/${id}`)
    return Date.now() - Date.parse(created_at) > 1_500
  })
  await clock.set(day, `${plane.url}/ready`)
  const ended = await until('it expires', async () => {
    const seen = await plane.api<CommandView>('GET', `/commands/${id}`)
    return seen.state === 'expired' ? seen : null
  })
  expect(ended.error?.message).toMatch(/for 15 s and known here for \d+ s, but the clock .* says/)
}, 180_000)

test('two control planes whose clocks differ by five minutes show the same, drive once, pass commands on and stand in', async () => {
  const env = [new Clock(world, 'first', 150).env, new Clock(world, 'second', -150).env] as const
  const planes = await startPair(world, ['--heartbeat-interval', '3s'], env)
  const [first, second] = planes
  // So seldom that only what is pushed comes in time.
  const flags = ['--sync-interval', '1h', '--heartbeat-interval', '1s']
  const nodes = await Promise.all(
    planes.map(async (plane, index) => {
      const id = `at-${index + 1}`
      return (await Node.create(world, plane, { id, pop: `${id}-1`, flags })).start()
    }),
  )
  await firstDeploy(first)
  await until('both are shown online by both', async () => {
    const lists = planes.map((plane) => plane.api<Page<NodeView>>('GET', '/nodes'))
    const all = (await Promise.all(lists)).flatMap(({ items }) => items)
    return all.length === 4 && all.every(({ status }) => status === 'online')
  })
  const before = planes.map((plane) => unwell(plane).length)
  await works(second, nodes, 'by the second')
  await works(first, nodes, 'by the first')
  expect(planes.map((plane) => unwell(plane).length)).toEqual(before)
  await until('they say that their clocks differ', () =>
    planes.some(({ output }) => output.includes('The clock of another control plane differs')),
  )

  // The one that drives is killed in the middle of a rollout.
  const { id } = await second.api<DeploymentView>('POST', '/functions/hello/deploy', {
    ...{ version: 2, strategy: 'rolling', rolling: { batch: 1, pause_seconds: 5 } },
  })
  const drives = ({ output }: ControlPlane) =>
    output.split('\n').some((line) => line.includes(id) && line.includes('A rollout went on.'))
  await until('one drives it', () => planes.some(drives))
  expect(planes.filter(drives)).toHaveLength(1)
  const [driver, other] = drives(first) ? [first, second] : [second, first]
  await driver.stop('SIGKILL')
  // The nodes of the dead one hear nothing until it is back; their part waits for them.
  await until('the other drives it', () => drives(other))
  await driver.start()
  const ended = await until('it is done', async () => {
    const view = await other.api<DeploymentView>('GET', `/deployments/${id}`)
    return view.status === 'completed' ? view : null
  })
  expect(ended.targets.map(({ state }) => state)).toEqual(['deployed', 'deployed'])
  expect(await first.run('nodes', 'remove', 'at-2')).toContain('credentials: erased')
}, 240_000)
