/** MQTT clients for tests: mqtt.js, and Debian's mosquitto programs as foreign ones. */

import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt'

import type { NodeCredentials } from '../../../src/protocol/api.ts'

export interface Received {
  readonly topic: string
  readonly text: string
}

export interface TestClient extends AsyncDisposable {
  readonly mqtt: MqttClient
  readonly received: Received[]
  /** True once the broker ended the connection. */
  closed(): boolean
}

/** Connects once, without reconnecting; rejects when it is refused. */
export async function connect(url: string, options: IClientOptions): Promise<TestClient> {
  const mqtt = await connectAsync(
    url,
    {
      protocolVersion: 4,
      reconnectPeriod: 0,
      timerVariant: 'native',
      connectTimeout: 5000,
      ...options,
    },
    false,
  )
  const received: Received[] = []
  let closed = false
  mqtt.on('message', (topic, payload) => received.push({ topic, text: payload.toString() }))
  mqtt.on('close', () => {
    closed = true
  })
  mqtt.on('error', () => undefined)
  return {
    mqtt,
    received,
    closed: () => closed,
    [Symbol.asyncDispose]: () => mqtt.endAsync(true),
  }
}

export function asNode(node: NodeCredentials, options: IClientOptions = {}): Promise<TestClient> {
  return connect(node.mqtt_url ?? '', {
    clientId: node.node_id,
    username: node.node_id,
    password: node.token,
    ...options,
  })
}

export function asWatcher(
  url: string,
  key: string,
  options: IClientOptions = {},
): Promise<TestClient> {
  return connect(url, { clientId: 'watch:test', username: 'api', password: key, ...options })
}

/** Why a connection was refused: the broker's words, or `accepted`. */
export async function verdict(client: Promise<TestClient>): Promise<string> {
  try {
    await using accepted = await client
    return accepted.mqtt.connected ? 'accepted' : 'closed'
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** Runs mosquitto_pub or mosquitto_sub against a broker URL. */
export async function mosquitto(
  program: 'mosquitto_pub' | 'mosquitto_sub',
  url: string,
  flags: readonly string[],
): Promise<{ exit: number; output: string }> {
  const { hostname, port } = new URL(url)
  const child = Bun.spawn([program, '-h', hostname, '-p', port, ...flags], {
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const output = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ])
  return { exit: await child.exited, output: output.join('') }
}
