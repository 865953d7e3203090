/** Links that stall, one way or both, and control planes that share a broker of the operator's, with the real binary. */

import { afterEach, beforeEach, expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import type { DeploymentView, NodeView } from '../../src/protocol/api.ts'
import type { CommandView } from '../../src/protocol/commands.ts'
import { LIMITS } from '../../src/protocol/limits.ts'
import { Mosquitto } from '../cp/broker/mosquitto.ts'
import { ControlPlane, freePort, GUESTS, jsonOf, Node, until, World } from './harness.ts'
import { type Cut, Link } from './link.ts'
import { startPair } from './pair.ts'

/** Longer than a broker waits for a client that says nothing: one and a half of the keep-alive of 15 s. */
const silenceMs = 25_000

let world: World
beforeEach(() => {
  world = new World()
})
afterEach(async () => {
  await world.close()
}, 120_000)

const guest = (name: string) => join(GUESTS, `${name}.wasm`)
const portOf = (url: string) => Number(new URL(url).port)
const deploy = (plane: ControlPlane, file: string, ...more: string[]) =>
  plane.run('deploy', guest(file), '--name', 'hello', '--timeout', '60s', ...more)

/** Between two attempts: the longest delay, half as much again so that nodes do not come at once, and one that nobody answers. */
const reconnectMsMax = LIMITS.backoffMsMax * 1.5 + 10_000

const connected = (node: Node) =>
  until(
    `${node.id} is connected`,
    async () => {
      const ready = await jsonOf<{ checks: Record<string, { ok: boolean }> }>(
        await fetch(`${node.ops}/ready`),
      )
      return ready.checks['mqtt']?.ok
    },
    reconnectMsMax,
  )

test('two control planes with one broker: what is done at either reaches every node at once, also when one is killed', async () => {
  await using broker = await Mosquitto.start(['a', 'b'])
  const account = (name: string) => {
    const file = join(world.dir, `${name}.password`)
    writeFileSync(file, `${name}-secret\n`, { mode: 0o600 })
    return ['--mqtt-password-file', file, '--mqtt-ca-file', broker.caFile]
  }
  // As behind a load balancer: nodes know one address.
  const link = await Link.to(world, 0)
  const shared = ['--public-url', `http://127.0.0.1:${link.port}`]
  const cpFlags = [...shared, '--mqtt-url', broker.url, ...account('edgefn-cp')]
  const [first, second] = await startPair(world, cpFlags)
  link.serverPort = portOf(first.url)
  // So seldom that only hints bring anything within the patience of this test.
  const seldom = ['--sync-interval', '1h', '--heartbeat-interval', '1h']
  const nodes = await Promise.all(
    ['a', 'b'].map(async (id) => {
      const flags = [...seldom, ...account(id)]
      const cp = `http://127.0.0.1:${link.port}`
      return (await Node.create(world, first, { id, pop: `${id}-1`, flags, cp })).start()
    }),
  )
  await Promise.all(nodes.map(connected))
  await using watcher = await broker.connect('edgefn-watcher')
  await watcher.mqtt.subscribeAsync('edgefn/v1/events/#')

  const everywhere = expect.stringContaining('is in service on 2 nodes')
  expect(await deploy(first, 'hello-c', '--route', '/hello')).toEqual(everywhere)
  expect(await deploy(second, 'hello-rust')).toEqual(everywhere)
  for (const plane of [first, second]) {
    for (const { id } of nodes) {
      for (const command of ['drain', 'undrain']) {
        const done = await plane.run('nodes', command, id, '--timeout', '60s')
        expect(done).toContain(`${command} on ${id}: done`)
      }
    }
  }
  // Events of both come to who watches, each once.
  const completed = watcher.received.filter(
    ({ topic, text }) => topic.endsWith('/deployments') && text.includes('"completed"'),
  )
  const ids = completed.map(
    ({ text }) => (JSON.parse(text) as { deployment_id: string }).deployment_id,
  )
  expect(new Set(ids).size).toBe(2)
  expect(new Set(completed.map(({ text }) => text)).size).toBe(completed.length)

  await first.stop('SIGKILL')
  link.serverPort = portOf(second.url)
  expect(await deploy(second, 'hello-c')).toEqual(everywhere)
  await first.start()
  await second.stop('SIGKILL')
  link.serverPort = portOf(first.url)
  expect(await deploy(first, 'hello-rust')).toEqual(everywhere)
  expect(await first.run('nodes', 'drain', 'b', '--timeout', '60s')).toContain('done')
  expect((await nodes[0]?.get('/hello'))?.status).toBe(200)
}, 120_000)

/** A node whose way to the API is a link of its own. */
async function behindLink(plane: ControlPlane, id: string): Promise<[Node, Link]> {
  const link = await Link.to(world, portOf(plane.url))
  const cp = `http://127.0.0.1:${link.port}`
  const node = await Node.create(world, plane, { id, pop: `${id}-1`, cp })
  return [await node.start(), link]
}

test('links that stall in the middle of a rollout and of commands, one way or both, leave nothing undone and nothing done twice', async () => {
  const mqttPort = await freePort()
  const mqtt = await Link.to(world, mqttPort)
  const plane = await (
    await ControlPlane.create(world, [
      ...['--mqtt-listen', `127.0.0.1:${mqttPort}`],
      ...['--mqtt-public-url', `mqtt://127.0.0.1:${mqtt.port}`],
    ])
  ).start()
  const cuts: readonly Cut[] = ['none', 'both', 'down', 'up']
  const ways = await Promise.all(
    cuts.map(async (cut) => [cut, ...(await behindLink(plane, cut))] as const),
  )
  const nodes = ways.map(([, node]) => node)
  await Promise.all(nodes.map(connected))
  expect(await deploy(plane, 'hello-c', '--route', '/hello')).toContain('on 4 nodes')
  let file = 'hello-rust'
  for (const mqttCut of ['both', 'down', 'up'] as const) {
    await deploy(
      plane,
      file,
      '--strategy',
      'rolling',
      '--batch',
      '1',
      '--pause',
      '1s',
      '--timeout',
      '1s',
    ).catch(() => undefined)
    file = file === 'hello-c' ? 'hello-rust' : 'hello-c'
    const asked = nodes.map(({ id }) =>
      plane.api<CommandView>('POST', `/nodes/${id}/commands`, { type: 'restart_workers' }),
    )
    mqtt.cut = mqttCut
    for (const [cut, , link] of ways) link.cut = cut
    const commands = await Promise.all(asked)
    await Bun.sleep(silenceMs)
    for (const node of nodes) expect((await node.get('/hello')).status).toBe(200)
    // The cuts are such: who is not heard, or does not hear, has not answered.
    const held = await Promise.all(
      commands.map(({ id }) => plane.api<CommandView>('GET', `/commands/${id}`)),
    )
    expect(held.map(({ node_id, finished_at }) => [`${node_id}`, finished_at !== null])).toEqual(
      cuts.map((cut) => [cut, cut === 'none']),
    )
    mqtt.cut = 'none'
    for (const [, , link] of ways) link.cut = 'none'

    await until(
      'the rollout ends',
      async () => {
        const { items } = await plane.api<{ items: DeploymentView[] }>(
          'GET',
          '/deployments?limit=1',
        )
        return items[0]?.status === 'completed'
      },
      90_000,
    )
    await until('all nodes are well and have everything', async () => {
      const { items } = await plane.api<{ items: NodeView[] }>('GET', '/nodes?status=online')
      return items.filter((node) => node.applied_revision === node.desired_revision).length === 4
    })
    for (const { id, node_id } of commands) {
      const ended = await until(`the command at ${node_id} ends`, async () => {
        const seen = await plane.api<CommandView>('GET', `/commands/${id}`)
        return seen.finished_at === null ? null : seen
      })
      expect([node_id, ended.state]).toEqual([node_id, 'succeeded'])
      const node = nodes.find((each) => each.id === node_id)
      const begun = node?.output
        .split('\n')
        .filter((line) => line.includes('A command begins') && line.includes(id))
      expect([node_id, begun?.length]).toEqual([node_id, 1])
    }
    await Promise.all(nodes.map(connected))
  }
}, 500_000)
