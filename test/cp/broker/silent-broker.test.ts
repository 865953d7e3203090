/** A broker that takes connections and never answers a subscription: both sides leave it and come back. */

import { expect, test } from 'bun:test'
import { createServer } from 'node:net'

import { Aedes } from 'aedes'

import { NO_MQTT_ACCOUNT } from '../../../src/config/mqtt-options.ts'
import { ExternalBroker } from '../../../src/cp/broker/external-broker.ts'
import { MqttConnection } from '../../../src/edge/agent/mqtt/connection.ts'
import type { NodeCredentials } from '../../../src/protocol/api.ts'
import { createLog } from '../../../src/telemetry/log.ts'
import { eventually } from '../api/test-plane.ts'

const log = createLog({ component: 'test', level: 'error', write: () => undefined })
const ignore = (): void => undefined

/** Where it listens, how many connections it took, and the seconds of keep-alive that each asked for. */
async function silentBroker() {
  const keepalives: (number | undefined)[] = []
  const aedes = await Aedes.createBroker({
    authorizeSubscribe: ignore,
    preConnect: (_client, packet, done) => {
      keepalives.push(packet.keepalive)
      done(null, true)
    },
  })
  let connections = 0
  aedes.on('clientReady', () => {
    connections += 1
  })
  const server = createServer((socket) => void aedes.handle(socket))
  const listening = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', listening.resolve)
  await listening.promise
  const { port } = server.address() as { port: number }
  return {
    url: `mqtt://127.0.0.1:${port}`,
    connections: () => connections,
    keepalives,
    async [Symbol.asyncDispose]() {
      server.close()
      const closed = Promise.withResolvers<void>()
      aedes.close(() => closed.resolve())
      await closed.promise
    },
  }
}

test('the control plane connects anew, and says what is wrong', async () => {
  await using silent = await silentBroker()
  const broker = new ExternalBroker({
    ...{ url: silent.url, account: NO_MQTT_ACCOUNT, log, connect_ms: 100 },
    ...{ onListening: ignore, onGone: ignore, countMessage: ignore, onHeartbeat: ignore },
    ...{ onNoticeAck: ignore, onStatus: ignore, onTelemetry: ignore },
    retryDelayMs: () => 1,
    isKnown: () => true,
    learn: async () => true,
  })
  await broker.open()
  await eventually(() => silent.connections() > 2, 'it has come back')
  expect(() => broker.check()).toThrow('gave no answer within 100 ms')
  await broker.close()
})

function connectionTo(mqttUrl: string, heartbeatMs: number): MqttConnection {
  const credentials = { node_id: 'n', token: 't', mqtt_url: mqttUrl, mqtt_auth: 'account' }
  return new MqttConnection({
    credentials: () => credentials as NodeCredentials,
    ...{ account: NO_MQTT_ACCOUNT, log, connect_ms: 100, retryDelayMs: () => 1 },
    ...{ onNotice: ignore, onTelemetryAck: ignore, onCommand: ignore },
    ...{ onConnected: ignore, onLost: ignore, heartbeat_ms: heartbeatMs },
  })
}

test('a node connects anew', async () => {
  await using silent = await silentBroker()
  const connection = connectionTo(silent.url, 30_000)
  connection.open()
  await eventually(() => silent.connections() > 2, 'it has come back')
  expect(connection.connected).toBe(false)
  await connection.close()
})

test.each([
  [1_000, 15],
  [30_000, 31],
  [3_600_000, 300],
])('a node that beats every %i ms pings after %i s without a message', async (beatMs, seconds) => {
  await using silent = await silentBroker()
  const connection = connectionTo(silent.url, beatMs)
  connection.open()
  await eventually(() => silent.keepalives.length > 0, 'it has connected')
  expect(silent.keepalives[0]).toBe(seconds)
  await connection.close()
})
