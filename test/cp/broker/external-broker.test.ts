/** The control plane at a broker of the operator's: Debian's mosquitto, over TLS, with the accounts and the ACL of the docs. */

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'

import { NO_MQTT_ACCOUNT, readMqttSecrets } from '../../../src/config/mqtt-options.ts'
import type { DeploymentView, NodeCredentials, NodeDetail } from '../../../src/protocol/api.ts'
import type { HeartbeatAnswer } from '../../../src/protocol/messages.ts'
import type { Plan } from '../../../src/protocol/plan.ts'
import { eventTopic, nodeTopic } from '../../../src/protocol/topics.ts'
import { eventually, heartbeatOf, testPlane, type TestPlane } from '../api/test-plane.ts'
import { connect, type TestClient } from './clients.ts'
import { Mosquitto } from './mosquitto.ts'

let broker: Mosquitto
let cp: TestPlane
let tokyo: NodeCredentials
let osaka: NodeCredentials

beforeAll(async () => {
  broker = await Mosquitto.start(['tokyo-a', 'osaka-a'])
  cp = await testPlane({
    mqtt_listen: null,
    mqtt_external: { url: broker.url, account: broker.account('edgefn-cp') },
  })
  tokyo = await cp.addNode('tokyo-1', 'tokyo-a')
  osaka = await cp.addNode('osaka-1', 'osaka-a')
  await cp.addFunction('hello')
  await connected()
})
afterAll(async () => {
  await cp[Symbol.asyncDispose]()
  await broker[Symbol.asyncDispose]()
})

const brokerCheck = async () => {
  const answer = await fetch(`${cp.plane().api_url}/ready`)
  const { checks } = (await answer.json()) as { checks: { broker: string } }
  return { status: answer.status, broker: checks.broker }
}
const connected = () =>
  eventually(async () => (await brokerCheck()).broker === 'ok', 'the broker is connected')

/** A node at the broker: subscribed, and said to be online. */
async function come(node: NodeCredentials): Promise<TestClient> {
  const client = await broker.connect(node.node_id)
  await client.mqtt.subscribeAsync(nodeTopic(node.node_id, 'notices'), { qos: 1 })
  await say(client, node, 'status', { node_id: node.node_id, status: 'online' }, true)
  return client
}

async function say(
  client: TestClient,
  node: NodeCredentials,
  channel: 'status' | 'heartbeat' | 'acks',
  body: unknown,
  retain = false,
): Promise<void> {
  const topic = nodeTopic(node.node_id, channel)
  await client.mqtt.publishAsync(topic, JSON.stringify(body), { qos: 1, retain })
}

const statusOf = async (id: string) => (await cp.must<NodeDetail>('GET', `/nodes/${id}`)).status

test('nodes are told where the broker is and that it knows them by accounts, when they join and by every heartbeat', async () => {
  const place = { mqtt_url: broker.url, mqtt_auth: 'account' } as const
  expect(tokyo).toMatchObject(place)
  const beat = heartbeatOf('osaka-a')
  const path = '/nodes/osaka-a/heartbeat'
  const answer = await cp.must<HeartbeatAnswer>('POST', path, beat, osaka.token)
  expect(answer.mqtt).toEqual(place)
})

test('a deployment is announced through the broker, acknowledged, and told to watchers', async () => {
  await using node = await come(tokyo)
  await using watcher = await broker.connect('edgefn-watcher', 'watch-1')
  await watcher.mqtt.subscribeAsync('edgefn/v1/events/#')
  const deployment = await cp.deploy('hello', { target: 'tokyo-1' })
  const notice = await eventually(() => node.received[0], 'the notice')
  const body = JSON.parse(notice.text) as { type: string; notice_id: string; version: number }
  expect(body).toMatchObject({ type: 'deploy', version: 1 })
  await say(node, tokyo, 'acks', { notice_id: body.notice_id })
  // The acknowledgement that comes twice, as with QoS 1 it may, changes nothing more.
  await say(node, tokyo, 'acks', { notice_id: body.notice_id })
  const now = () => cp.must<DeploymentView>('GET', `/deployments/${deployment.id}`)
  await eventually(async () => (await now()).targets[0]?.state === 'notified', 'notified')
  await cp.syncNode(tokyo, 0)
  expect((await now()).status).toBe('completed')
  await eventually(
    () => watcher.received.some(({ topic }) => topic === eventTopic('deployments')),
    'the event',
  )
})

test('heartbeats and status messages say who lives; a last will ends it', async () => {
  const node = await come(osaka)
  await eventually(async () => (await statusOf('osaka-a')) === 'online', 'online')
  await say(node, osaka, 'heartbeat', heartbeatOf('osaka-a', { status: 'degraded' }))
  await eventually(async () => (await statusOf('osaka-a')) === 'degraded', 'degraded')
  await say(node, osaka, 'status', { node_id: 'osaka-a', status: 'offline' }, true)
  await eventually(async () => (await statusOf('osaka-a')) === 'offline', 'offline')
  await node[Symbol.asyncDispose]()
})

describe('what the broker says is a hint', () => {
  test('a message in the name of another, too old, unreadable or not of a node changes nothing', async () => {
    // As the control plane's own account, which the broker lets write a status: whoever owns the broker can say anything.
    await using liar = await broker.connect('edgefn-cp', 'liar')
    const before = await cp.must<NodeDetail>('GET', '/nodes/tokyo-a')
    const metric = async (outcome: string) => {
      const text = await (await fetch(`${cp.plane().api_url}/metrics`)).text()
      const line = new RegExp(`edgefn_mqtt_messages_total{outcome="${outcome}"} (\\d+)`)
      return Number(line.exec(text)?.[1] ?? 0)
    }
    const [refused, invalid] = [await metric('refused'), await metric('invalid')]
    const status = (id: string, body: string) =>
      liar.mqtt.publishAsync(`edgefn/v1/nodes/${id}/status`, body, { qos: 1 })
    await status('tokyo-a', JSON.stringify({ node_id: 'osaka-a', status: 'offline' }))
    await status('tokyo-a', 'not JSON')
    await status('NOT-A-NODE', JSON.stringify({ node_id: 'tokyo-a', status: 'offline' }))
    await status('nobody', JSON.stringify({ node_id: 'nobody', status: 'online' }))
    await eventually(async () => (await metric('invalid')) >= invalid + 2, 'two are invalid')
    await eventually(async () => (await metric('refused')) >= refused + 1, 'one is refused')
    const after = await cp.must<NodeDetail>('GET', '/nodes/tokyo-a')
    expect(after.desired_revision).toBe(before.desired_revision)
    expect(after.applied_revision).toBe(before.applied_revision)
    expect((await cp.call('GET', '/nodes/nobody')).status).toBe(404)
  })

  test('nodes that nobody took in are not remembered', async () => {
    await using liar = await broker.connect('edgefn-cp', 'inventor')
    await using node = await come(osaka)
    await eventually(async () => (await statusOf('osaka-a')) === 'online', 'online')
    const metric = async (line: RegExp) =>
      Number(line.exec(await (await fetch(`${cp.plane().api_url}/metrics`)).text())?.[1] ?? 0)
    const accepted = () => metric(/edgefn_mqtt_messages_total{outcome="accepted"} (\d+)/)
    const [before, connections] = [await accepted(), await metric(/edgefn_mqtt_connections (\d+)/)]
    for (let index = 0; index < 50; index += 1) {
      const body = { node_id: `ghost-${index}`, status: 'online' }
      const topic = `edgefn/v1/nodes/ghost-${index}/status`
      await liar.mqtt.publishAsync(topic, JSON.stringify(body), { qos: 1 })
    }
    await eventually(async () => (await accepted()) >= before + 50, 'all were read')
    expect(await metric(/edgefn_mqtt_connections (\d+)/)).toBe(connections)
    expect(node.closed()).toBe(false)
    await say(node, osaka, 'status', { node_id: 'osaka-a', status: 'offline' }, true)
  })

  test('a status that the broker kept says whom to try, not who lives', async () => {
    const node = await come(osaka)
    await eventually(async () => (await statusOf('osaka-a')) === 'online', 'online')
    await say(node, osaka, 'status', { node_id: 'osaka-a', status: 'offline' })
    await eventually(async () => (await statusOf('osaka-a')) === 'offline', 'offline')
    await node[Symbol.asyncDispose]()
    await cp.restart()
    await connected()
    await cp.deploy('hello', { target: 'osaka-1' })
    // "online" is kept at the broker, so the notice is tried; nobody has heard of the node since.
    await Bun.sleep(200)
    expect(await statusOf('osaka-a')).toBe('offline')
  })
})

test('the ACL of the docs keeps nodes to their own channels', async () => {
  await using node = await broker.connect('tokyo-a')
  // mosquitto takes every subscription, and asks for each message whether it may be read.
  await node.mqtt.subscribeAsync(['#', 'edgefn/v1/#', nodeTopic(osaka.node_id, 'notices')])
  await using control = await broker.connect('edgefn-cp', 'another-control-plane')
  const tell = (to: NodeCredentials, text: string) =>
    control.mqtt.publishAsync(nodeTopic(to.node_id, 'notices'), text, { qos: 1 })
  await tell(osaka, 'not for tokyo')
  await control.mqtt.publishAsync(eventTopic('nodes'), 'for watchers', { qos: 1 })
  await tell(tokyo, 'for tokyo')
  await eventually(() => node.received.length > 0, 'its own notice')
  expect(new Set(node.received.map(({ text }) => text))).toEqual(new Set(['for tokyo']))
  // What it publishes in the name of another is dropped by the broker: the other one stays as it was.
  await using other = await come(osaka)
  await eventually(async () => (await statusOf('osaka-a')) === 'online', 'online')
  await say(node, osaka, 'status', { node_id: 'osaka-a', status: 'offline' })
  await say(other, osaka, 'heartbeat', heartbeatOf('osaka-a', { cpu_percent: 7 }))
  const heard = async () => (await cp.must<NodeDetail>('GET', '/nodes/osaka-a')).cpu_percent === 7
  await eventually(heard, 'the later heartbeat')
  expect(await statusOf('osaka-a')).toBe('online')
})

test('a broker that dies is waited for: deployments go on by polling, and by notices once it is back', async () => {
  await using node = await come(tokyo)
  await broker.kill()
  await eventually(async () => (await brokerCheck()).broker !== 'ok', 'the loss is seen')
  // Not being able to hint takes no control plane out of service.
  expect((await brokerCheck()).status).toBe(200)
  expect((await brokerCheck()).broker).toContain(broker.url)
  await cp.deploy('hello', { target: 'tokyo-1' })
  const path = '/nodes/tokyo-a/heartbeat'
  const beat = await cp.must<HeartbeatAnswer>('POST', path, heartbeatOf('tokyo-a'), tokyo.token)
  const plan = await cp.must<Plan>('GET', '/nodes/tokyo-a/sync?revision=0', undefined, tokyo.token)
  expect(plan.revision).toBe(beat.revision)
  expect(plan.actions.map(({ action }) => action)).toEqual(['put_function'])

  await broker.restart()
  await connected()
  await using back = await come(tokyo)
  const notice = await eventually(() => back.received[0], 'the notice')
  expect(JSON.parse(notice.text)).toMatchObject({ type: 'deploy', revision: beat.revision })
  expect(node.closed()).toBe(true)
}, 120_000)

test('a wrong account and an unknown authority are told by /ready', async () => {
  const wrong = { ...broker.account('edgefn-cp'), password: 'wrong' }
  await using refused = await testPlane({
    mqtt_listen: null,
    mqtt_external: { url: broker.url, account: wrong },
  })
  const strange = { ...broker.account('edgefn-cp'), ca_file: null }
  await using unsafe = await testPlane({
    mqtt_listen: null,
    mqtt_external: { url: broker.url, account: strange },
  })
  const says = async (plane: TestPlane) => {
    const answer = await fetch(`${plane.plane().api_url}/ready`)
    return ((await answer.json()) as { checks: { broker: string } }).checks.broker
  }
  await eventually(async () => /[Nn]ot authori[sz]ed/.test(await says(refused)), 'the refusal')
  await eventually(async () => /certificate|self.signed/i.test(await says(unsafe)), 'the distrust')
})

test('a certificate does in place of a password, and is who the account is', async () => {
  await using strict = await Mosquitto.startWithCertificates(['edgefn-cp', 'tokyo-b'])
  const account = strict.certificateOf('edgefn-cp')
  await using plane = await testPlane({
    mqtt_listen: null,
    mqtt_external: { url: strict.url, account },
  })
  const ready = async () => {
    const answer = await fetch(`${plane.plane().api_url}/ready`)
    return ((await answer.json()) as { checks: { broker: string } }).checks.broker
  }
  await eventually(async () => (await ready()) === 'ok', 'the broker is connected')
  const node = await plane.addNode('tokyo-1', 'tokyo-b')
  const { ca, cert, key } = readMqttSecrets(strict.certificateOf('tokyo-b'))
  await using client = await connect(strict.url, {
    clientId: 'tokyo-b',
    ...{ ca: ca ?? '', cert: cert ?? '', key: key ?? '' },
  })
  await client.mqtt.subscribeAsync(nodeTopic(node.node_id, 'notices'), { qos: 1 })
  await say(client, node, 'status', { node_id: 'tokyo-b', status: 'online' }, true)
  await plane.addFunction('hello')
  await plane.deploy('hello')
  await eventually(() => client.received[0], 'the notice')
})

test('a file of the account that is not there is told at start, by the name of its option', async () => {
  const account = { ...NO_MQTT_ACCOUNT, ca_file: '/nowhere/ca.pem' }
  const started = testPlane({ mqtt_listen: null, mqtt_external: { url: broker.url, account } })
  expect(started).rejects.toThrow('mqtt-ca-file /nowhere/ca.pem cannot be read')
})
