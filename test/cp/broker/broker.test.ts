/** The broker over real connections: who may come in, say and hear what. */

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { connect as connectTcp } from 'node:net'

import type { NodeCredentials } from '../../../src/protocol/api.ts'
import { LIMITS } from '../../../src/protocol/limits.ts'
import { eventTopic, nodeTopic } from '../../../src/protocol/topics.ts'
import { eventually, heartbeatOf, testPlane, type TestPlane } from '../api/test-plane.ts'
import { asNode, asWatcher, connect, mosquitto, verdict } from './clients.ts'

let cp: TestPlane
let tokyo: NodeCredentials
let osaka: NodeCredentials
let url: string

beforeAll(async () => {
  cp = await testPlane()
  tokyo = await cp.addNode('tokyo-1')
  osaka = await cp.addNode('osaka-1')
  url = tokyo.mqtt_url ?? ''
})
afterAll(() => cp[Symbol.asyncDispose]())

describe('who is let in', () => {
  test('a node under its own id, and a watcher with an API key', async () => {
    expect(await verdict(asNode(tokyo))).toBe('accepted')
    expect(await verdict(asWatcher(url, cp.key))).toBe('accepted')
    expect(await verdict(asWatcher(url, cp.key, { clientId: '' }))).toBe('accepted')
  })

  const refused: readonly (readonly [string, () => Promise<string>])[] = [
    ['nobody without credentials', () => verdict(connect(url, { clientId: 'x' }))],
    ['a wrong password', () => verdict(asNode(tokyo, { password: 'wrong' }))],
    ['a node under the id of another', () => verdict(asNode(tokyo, { clientId: osaka.node_id }))],
    ['a node under the name of another', () => verdict(asNode(tokyo, { username: osaka.node_id }))],
    ['a node with the token of another', () => verdict(asNode(tokyo, { password: osaka.token }))],
    ['a node as a watcher', () => verdict(asWatcher(url, tokyo.token))],
    [
      'a watcher under the id of a node',
      () => verdict(asWatcher(url, cp.key, { clientId: tokyo.node_id })),
    ],
    [
      'a watcher with a session that stays',
      () => verdict(asWatcher(url, cp.key, { clean: false })),
    ],
    ['an API key under the name of a node', () => verdict(asNode(tokyo, { password: cp.key }))],
    ['a client id with a NUL', () => verdict(asNode(tokyo, { clientId: `${tokyo.node_id}\0` }))],
    [
      'a client id with a line break',
      () => verdict(asWatcher(url, cp.key, { clientId: 'watch:a\nb' })),
    ],
    ['MQTT 5', () => verdict(asNode(tokyo, { protocolVersion: 5 }))],
    ['a connection that is never to be checked', () => verdict(asNode(tokyo, { keepalive: 0 }))],
    [
      'a last will in the name of another',
      () =>
        verdict(
          asNode(tokyo, {
            will: {
              topic: nodeTopic(osaka.node_id, 'status'),
              payload: Buffer.from('x'),
              qos: 1,
              retain: true,
            },
          }),
        ),
    ],
    [
      'a watcher with a last will',
      () =>
        verdict(
          asWatcher(url, cp.key, {
            will: { topic: eventTopic('nodes'), payload: Buffer.from('x'), qos: 0, retain: false },
          }),
        ),
    ],
  ]
  test.each(refused)('%s is not', async (_name, attempt) => {
    expect(await attempt()).not.toBe('accepted')
  })

  test('a second connection of a node takes the place of the first', async () => {
    await using first = await asNode(tokyo)
    await using second = await asNode(tokyo)
    await eventually(() => first.closed(), 'the end of the first')
    expect(second.mqtt.connected).toBe(true)
  })

  test('a watcher does not take the place of one with another key', async () => {
    const other = await cp.must<{ key: string }>('POST', '/api-keys', { name: 'v', role: 'viewer' })
    await using first = await asWatcher(url, cp.key, { clientId: 'watch:same' })
    expect(await verdict(asWatcher(url, other.key, { clientId: 'watch:same' }))).toContain(
      'Not authorized',
    )
    expect(first.mqtt.connected).toBe(true)
    expect(await verdict(asWatcher(url, cp.key, { clientId: 'watch:same' }))).toBe('accepted')
  })
})

test('the session of a watcher ends soon after its key is revoked', async () => {
  const made = await cp.must<{ id: string; key: string }>('POST', '/api-keys', {
    ...{ name: 'watcher', role: 'viewer' },
  })
  await using watcher = await asWatcher(url, made.key, { clientId: 'watch:revoked' })
  await cp.must('DELETE', `/api-keys/${made.id}`)
  await eventually(() => watcher.closed(), 'the end of the connection')
})

describe('who may say what', () => {
  const allowed = ['acks', 'heartbeat', 'results', 'logs', 'status'] as const
  test.each([...allowed])('a node may publish to its own %s', async (channel) => {
    await using node = await asNode(tokyo)
    await node.mqtt.publishAsync(nodeTopic(tokyo.node_id, channel), '{}', { qos: 1 })
    expect(node.closed()).toBe(false)
  })

  const refused: readonly (readonly [string, string, boolean])[] = [
    ['its own notices', 'edgefn/v1/nodes/tokyo-x/notices', false],
    ['events', 'edgefn/v1/events/nodes', false],
    ['$SYS', '$SYS/broker/load', false],
    ['any other topic', 'hello', false],
    ['a topic of another node', 'edgefn/v1/nodes/osaka-x/heartbeat', false],
    ['a retained heartbeat', 'edgefn/v1/nodes/tokyo-x/heartbeat', true],
  ]
  test.each(refused)('a node may not publish %s', async (_name, template, retain) => {
    const topic = template.replace('tokyo-x', tokyo.node_id).replace('osaka-x', osaka.node_id)
    await using node = await asNode(tokyo)
    node.mqtt.publish(topic, '{}', { qos: 0, retain })
    await eventually(() => node.closed(), 'the end of the connection')
  })

  test('a watcher may publish nothing', async () => {
    await using watcher = await asWatcher(url, cp.key)
    watcher.mqtt.publish(eventTopic('nodes'), '{}')
    await eventually(() => watcher.closed(), 'the end of the connection')
  })
})

describe('who may hear what', () => {
  const down = ['notices', 'commands'] as const
  test.each([...down])('a node may subscribe to its own %s', async (channel) => {
    await using node = await asNode(tokyo)
    const granted = await node.mqtt.subscribeAsync(nodeTopic(tokyo.node_id, channel), { qos: 1 })
    expect(granted.map((grant) => grant.qos)).toEqual([1])
  })

  test.each([
    '#',
    '+/v1/nodes/+/notices',
    'edgefn/v1/nodes/+/notices',
    'edgefn/v1/nodes/osaka-x/notices',
    'edgefn/v1/nodes/tokyo-x/#',
    'edgefn/v1/nodes/tokyo-x/heartbeat',
    'edgefn/v1/events/#',
    '$SYS/#',
    '$share/group/edgefn/v1/nodes/tokyo-x/notices',
  ])('a node may not subscribe to %s', async (template) => {
    const filter = template.replace('tokyo-x', tokyo.node_id).replace('osaka-x', osaka.node_id)
    await using node = await asNode(tokyo)
    expect(await grantOf(node.mqtt, filter)).toBe(128)
  })

  test('a watcher hears events and nothing else', async () => {
    await using watcher = await asWatcher(url, cp.key)
    expect(await grantOf(watcher.mqtt, 'edgefn/v1/events/#')).toBe(0)
    for (const filter of ['#', 'edgefn/#', 'edgefn/v1/+/nodes', '$SYS/#', 'edgefn/v1/nodes/#']) {
      expect(await grantOf(watcher.mqtt, filter)).toBe(128)
    }
    await using node = await asNode(osaka)
    await node.mqtt.publishAsync(
      nodeTopic(osaka.node_id, 'heartbeat'),
      JSON.stringify(heartbeatOf(osaka.node_id)),
      { qos: 1 },
    )
    await eventually(() => watcher.received.length > 0, 'the event')
    expect(new Set(watcher.received.map((message) => message.topic))).toEqual(
      new Set([eventTopic('nodes')]),
    )
    expect(JSON.parse(watcher.received[0]?.text ?? '')).toMatchObject({
      type: 'node',
      node_id: osaka.node_id,
      status: 'online',
    })
  })

  async function grantOf(
    client: { subscribe: TestSubscribe },
    filter: string,
  ): Promise<number | undefined> {
    const { promise, resolve } = Promise.withResolvers<number | undefined>()
    client.subscribe(filter, { qos: 0 }, (_error, _granted, packet) =>
      resolve(Number(packet?.granted?.[0])),
    )
    return promise
  }
})

type TestSubscribe = (
  filter: string,
  options: { qos: 0 },
  done: (error: unknown, granted: unknown, packet?: { granted?: unknown[] }) => void,
) => unknown

describe('sizes and clocks', () => {
  test('a packet over the limit ends the connection before it is held', async () => {
    await using node = await asNode(tokyo)
    const payload = Buffer.alloc(LIMITS.mqttPacketBytesMax + 1)
    node.mqtt.publish(nodeTopic(tokyo.node_id, 'logs'), payload, { qos: 0 })
    await eventually(() => node.closed(), 'the end of the connection')
  })

  test('nobody unknown may announce more than a CONNECT needs', async () => {
    const { hostname, port } = new URL(url)
    const { promise: ended, resolve } = Promise.withResolvers<void>()
    const socket = connectTcp(Number(port), hostname, () => {
      // CONNECT with a length of 16 MiB.
      socket.write(Buffer.from([0x10, 0xff, 0xff, 0xff, 0x07]))
    })
    socket.on('close', () => resolve())
    socket.on('error', () => undefined)
    await ended
  })
})

describe('what becomes of a session', () => {
  test('a node that goes without a word is offline by its last will', async () => {
    const node = await cp.addNode('nagoya-1')
    const payload = Buffer.from(JSON.stringify({ node_id: node.node_id, status: 'offline' }))
    const will = {
      topic: nodeTopic(node.node_id, 'status'),
      payload,
      qos: 1 as const,
      retain: true,
    }
    await using client = await asNode(node, { will })
    await client.mqtt.publishAsync(
      nodeTopic(node.node_id, 'heartbeat'),
      JSON.stringify(heartbeatOf(node.node_id)),
      { qos: 1 },
    )
    await eventually(() => statusIs(node.node_id, 'online'), 'online')
    client.mqtt.stream.destroy()
    await eventually(() => statusIs(node.node_id, 'offline'), 'offline')
  })

  test('the session of a deleted node ends, and its token opens nothing', async () => {
    const node = await cp.addNode('kobe-1')
    await using client = await asNode(node)
    await cp.must('DELETE', `/nodes/${node.node_id}`)
    await eventually(() => client.closed(), 'the end of the session')
    expect(await verdict(asNode(node))).not.toBe('accepted')
    expect(
      (await cp.call('GET', `/nodes/${node.node_id}/sync`, undefined, node.token)).status,
    ).toBe(401)
  })

  test('bad messages are counted, dropped, and harm nobody', async () => {
    await using client = await asNode(tokyo)
    for (const text of ['', '{', 'null', JSON.stringify(heartbeatOf(osaka.node_id))]) {
      await client.mqtt.publishAsync(nodeTopic(tokyo.node_id, 'heartbeat'), text, { qos: 1 })
    }
    const metrics = await (await fetch(`${cp.plane().api_url}/metrics`)).text()
    const invalid = /edgefn_mqtt_messages_total\{outcome="invalid"\} (\d+)/.exec(metrics)?.[1]
    expect(Number(invalid)).toBeGreaterThanOrEqual(4)
    expect(client.closed()).toBe(false)
  })

  async function statusIs(nodeId: string, status: string): Promise<boolean> {
    return (await cp.must<{ status: string }>('GET', `/nodes/${nodeId}`)).status === status
  }
})

describe('mosquitto as a foreign client', () => {
  const login = (node: NodeCredentials) => [
    '-i',
    node.node_id,
    '-u',
    node.node_id,
    '-P',
    node.token,
  ]

  test('publishes a heartbeat at every QoS', async () => {
    for (const qos of ['0', '1', '2']) {
      const topic = nodeTopic(tokyo.node_id, 'heartbeat')
      const message = JSON.stringify(heartbeatOf(tokyo.node_id, { cpu_percent: 42 }))
      const flags = [...login(tokyo), '-q', qos, '-t', topic, '-m', message]
      expect(await mosquitto('mosquitto_pub', url, flags)).toEqual({ exit: 0, output: '' })
    }
    await eventually(async () => {
      const shown = await cp.must<{ cpu_percent: number }>('GET', `/nodes/${tokyo.node_id}`)
      return shown.cpu_percent === 42
    }, 'the heartbeat')
  })

  test('is told why it is refused', async () => {
    const topic = nodeTopic(tokyo.node_id, 'heartbeat')
    const wrong = ['-i', tokyo.node_id, '-u', tokyo.node_id, '-P', 'wrong', '-t', topic, '-m', 'x']
    const answer = await mosquitto('mosquitto_pub', url, wrong)
    expect(answer.exit).not.toBe(0)
    expect(answer.output).toContain('bad user name or password')
    const alien = ['-i', 'watch:m', '-u', 'api', '-P', tokyo.token, '-t', topic, '-m', 'x']
    expect((await mosquitto('mosquitto_pub', url, alien)).output).toContain('not authorised')
  })

  test('receives the notice of a deployment, and nothing of another node', async () => {
    await cp.addFunction('foreign')
    const topic = nodeTopic(tokyo.node_id, 'notices')
    const listening = mosquitto('mosquitto_sub', url, [
      ...login(tokyo),
      '-q',
      '1',
      '-t',
      topic,
      '-C',
      '1',
    ])
    await eventually(async () => {
      const metrics = await (await fetch(`${cp.plane().api_url}/metrics`)).text()
      return /edgefn_mqtt_connections [1-9]/.test(metrics)
    }, 'the connection')
    await cp.deploy('foreign', { target: 'tokyo-1' })
    const { exit, output } = await listening
    expect(exit).toBe(0)
    expect(JSON.parse(output)).toMatchObject({ type: 'deploy', name: 'foreign', version: 1 })
    const other = nodeTopic(osaka.node_id, 'notices')
    const refused = await mosquitto('mosquitto_sub', url, [
      ...login(tokyo),
      '-t',
      other,
      '-C',
      '1',
      '-W',
      '5',
    ])
    expect(refused.output.toLowerCase()).toContain('denied')
  })
})
