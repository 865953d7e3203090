/** The node on a real broker: notices, acknowledgements, status, heartbeats, and a broker that dies. */

import { afterEach, beforeEach, expect, test } from 'bun:test'
import { createServer, type Server, type Socket } from 'node:net'

import { Aedes, type AedesPublishPacket } from 'aedes'

import type { Agent } from '../../../../src/edge/agent/main.ts'
import { startAgent } from '../../../../src/edge/agent/main.ts'
import { NO_MQTT_ACCOUNT } from '../../../../src/config/mqtt-options.ts'
import { nodeIdSchema } from '../../../../src/protocol/ids.ts'
import { nodeTopic } from '../../../../src/protocol/topics.ts'
import { FixtureCp } from '../fixtures/cp.ts'
import { uuid } from '../fixtures/manifests.ts'
import {
  fixtureCommands,
  makeConfig,
  makeDir,
  quietLog,
  removeDir,
  until,
} from '../fixtures/node.ts'

const NODE = nodeIdSchema.parse('tokyo-1-a')

class Broker {
  readonly messages: { topic: string; body: Record<string, unknown>; retain: boolean }[] = []
  readonly credentials: { username: string | undefined; password: string }[] = []
  readonly #sockets = new Set<Socket>()
  #aedes: Aedes | null = null
  #server: Server | null = null
  port = 0

  async start(): Promise<void> {
    const aedes = await Aedes.createBroker({
      authenticate: (_client, username, password, done) => {
        this.credentials.push({ username, password: String(password) })
        done(null, true)
      },
    })
    aedes.on('publish', (packet: AedesPublishPacket) => {
      if (packet.topic.startsWith('$SYS') || packet.topic.endsWith('/notices')) return
      const body = JSON.parse(packet.payload.toString()) as Record<string, unknown>
      this.messages.push({ topic: packet.topic, body, retain: packet.retain })
    })
    this.#aedes = aedes
    this.#server = createServer((socket) => {
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
      aedes.handle(socket)
    })
    const listening = Promise.withResolvers<void>()
    this.#server.listen(this.port, '127.0.0.1', listening.resolve)
    await listening.promise
    this.port = (this.#server.address() as { port: number }).port
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server?.close()
    const aedes = this.#aedes
    this.#aedes = null
    if (aedes === null) return
    const closed = Promise.withResolvers<void>()
    aedes.close(() => closed.resolve())
    await closed.promise
  }

  publish(topic: string, payload: string): void {
    this.#aedes?.publish(
      { cmd: 'publish', topic, payload: Buffer.from(payload), qos: 1, retain: false, dup: false },
      () => {},
    )
  }

  on(channel: 'acks' | 'heartbeat' | 'status') {
    return this.messages.filter(({ topic }) => topic === nodeTopic(NODE, channel))
  }
}

let dir: string
let cp: FixtureCp
let broker: Broker
let agent: Agent | null

beforeEach(async () => {
  dir = makeDir()
  cp = new FixtureCp()
  cp.start()
  broker = new Broker()
  await broker.start()
  cp.mqttUrl = `mqtt://127.0.0.1:${broker.port}`
  agent = null
})

afterEach(async () => {
  await agent?.close()
  await broker.stop()
  await cp.stop()
  removeDir(dir)
})

test('when the broker is lost the node beats over HTTP at once, so that a last will does not stand', async () => {
  const config = makeConfig(dir, cp.url, { mqtt: true, sync_ms: 60_000, heartbeat_ms: 60_000 })
  agent = await startAgent(config, quietLog, fixtureCommands)
  await until('it is online', () => broker.on('status')[0])
  await until(
    'it has said its first beats',
    () => broker.on('heartbeat').length + cp.beats.length > 0,
  )
  const before = cp.beats.length
  await broker.stop()
  await until('it beats over HTTP', () => cp.beats.length > before)
})

test('a broker of the operator gets the account that the node was given for it, and never its token', async () => {
  cp.mqttAuth = 'account'
  const mqtt_account = { ...NO_MQTT_ACCOUNT, password: 'of the account' }
  const config = makeConfig(dir, cp.url, { mqtt: true, mqtt_account })
  agent = await startAgent(config, quietLog, fixtureCommands)
  await until('it is online', () => broker.on('status')[0])
  expect(broker.credentials).toEqual([{ username: NODE, password: 'of the account' }])
  // What rollouts are judged by goes where the node proves who it is.
  await until('telemetry arrives over HTTP', () => cp.uploads.length > 1)
  expect(broker.messages.some(({ topic }) => topic.endsWith('/telemetry'))).toBe(false)
})

test('a broker that moves is found by the next heartbeat that is answered, also after a start without one', async () => {
  const url = cp.mqttUrl
  cp.mqttUrl = null
  const config = makeConfig(dir, cp.url, { mqtt: true, heartbeat_ms: 50 })
  agent = await startAgent(config, quietLog, fixtureCommands)
  await until('it beats', () => cp.beats.length > 2)
  expect(broker.messages).toEqual([])
  cp.mqttUrl = url
  await until('it is online', () => broker.on('status')[0])
  cp.mqttUrl = null
  const before = cp.beats.length
  await until('it polls again', () => cp.beats.length > before + 10)
  expect(broker.on('status').at(-1)?.body).toMatchObject({ status: 'offline' })
})

test('it says who it is, is told of changes, and says goodbye', async () => {
  const config = makeConfig(dir, cp.url, { mqtt: true, sync_ms: 60_000, heartbeat_ms: 60_000 })
  agent = await startAgent(config, quietLog, fixtureCommands)
  const online = await until('it is online', () => broker.on('status')[0])
  expect(online).toMatchObject({ body: { node_id: NODE, status: 'online' }, retain: true })
  expect(broker.credentials[0]).toEqual({ username: NODE, password: 'token-1' })
  await until('it is synced', () => cp.beats.length > 0)

  cp.put({ text: 'pushed' })
  const notice = { type: 'routes', notice_id: uuid(77), revision: cp.revision }
  broker.publish(nodeTopic(NODE, 'notices'), JSON.stringify(notice))
  await until('the notice is acknowledged', () => broker.on('acks')[0])
  expect(broker.on('acks')[0]?.body).toEqual({ notice_id: uuid(77) })
  await until('the plan is applied', () => cp.acks.find((ack) => ack.revision === 1))

  cp.put({ version: 2, text: 'unreadable notice' })
  broker.publish(nodeTopic(NODE, 'notices'), 'not JSON')
  await until('it asks all the same', () => cp.acks.find((ack) => ack.revision === 2))

  await agent.close()
  await until('it is offline', () => broker.on('status').at(-1)?.body['status'] === 'offline')
})

test('heartbeats go over MQTT, some over HTTP, and all over HTTP while the broker is gone', async () => {
  const config = makeConfig(dir, cp.url, { mqtt: true, heartbeat_ms: 30, sync_ms: 60_000 })
  agent = await startAgent(config, quietLog, fixtureCommands)
  await until('beats arrive over MQTT', () => broker.on('heartbeat').length > 6)
  expect(broker.on('heartbeat')[0]?.body).toMatchObject({
    node_id: NODE,
    workers: expect.any(Number),
  })
  expect(cp.beats.length).toBeGreaterThan(1)
  expect(cp.beats.length).toBeLessThan(broker.on('heartbeat').length)

  await broker.stop()
  const before = cp.beats.length
  await until('beats arrive over HTTP', () => cp.beats.length > before + 8)
  await broker.start()
  broker.messages.length = 0
  await until('it is online again', () => broker.on('status').length > 0)
  await until('beats arrive over MQTT again', () => broker.on('heartbeat').length > 0)
})
