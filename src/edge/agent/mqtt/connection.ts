/**
 * The node's connection to the broker: notices in, acknowledgements, heartbeats and status out. It is never the source of
 * truth: whatever is lost here, the next heartbeat or poll finds (DESIGN section 7), so every failure is survivable.
 */

import type { IClientOptions, MqttClient } from 'mqtt'
import { connect } from 'mqtt'

import { readMqttSecrets, type MqttAccount } from '../../../config/mqtt-options.ts'
import { EdgefnError, errorMessage } from '../../../errors.ts'
import type { NodeCredentials } from '../../../protocol/api.ts'
import type { NodeStatusMessage } from '../../../protocol/messages.ts'
import { noticeSchema } from '../../../protocol/messages.ts'
import { decodeAnswer } from '../../../protocol/lenient.ts'
import { telemetryAckSchema, type TelemetryAck } from '../../../protocol/telemetry.ts'
import type { NodeChannelUp } from '../../../protocol/topics.ts'
import { NODE_CHANNELS_DOWN, nodeTopic, parseNodeTopic } from '../../../protocol/topics.ts'
import type { Log } from '../../../telemetry/log.ts'

/**
 * Seconds without a message after which the connection pings. The broker takes it for broken after one and a half times this, and the
 * node when nobody acknowledges a heartbeat or answers a ping.
 */
const keepaliveSecondsMin = 15
const keepaliveSecondsMax = 300
const connectMsMax = 10_000
const publishMsMax = 5_000
/** A connection that held this long was a good one: the next loss begins the backoff anew. */
const stableMs = 30_000

interface MqttConnectionDeps {
  credentials(): NodeCredentials
  /** For a broker of the operator's. */
  readonly account: MqttAccount
  /** Something changed at the control plane; the revision is a hint, null when the notice could not be read. */
  onNotice(revision: number | null): void
  /** The control plane has committed telemetry. */
  onTelemetryAck(ack: TelemetryAck): void
  /** There is a command to be fetched. */
  onCommand(): void
  /** Whether the node may talk to nobody at present; without it, never. */
  isolated?(): boolean
  /** Connected and subscribed; what was published before is lost, so the node should ask. */
  onConnected(): void
  /** The connection was there and is lost; the broker is about to tell the control plane that the node is offline. */
  onLost(): void
  readonly log: Log
  retryDelayMs(attempt: number): number
  readonly heartbeat_ms: number
  /** Milliseconds for the connection, and again for the subscriptions; 10 s unless told otherwise. */
  readonly connect_ms?: number
}

export class MqttConnection {
  readonly #deps: MqttConnectionDeps
  #client: MqttClient | null = null
  #connected = false
  #connectedAt = 0
  #failures = 0
  #timer: ReturnType<typeof setTimeout> | null = null
  #closed = false

  constructor(deps: MqttConnectionDeps) {
    this.#deps = deps
  }

  get connected(): boolean {
    return this.#connected
  }

  /** Connected to the control plane's own broker: one of the operator's is believed hints only, and is told nothing that counts. */
  get isOwn(): boolean {
    return this.#connected && this.#deps.credentials().mqtt_auth === 'token'
  }

  /** Null while the control plane names no broker. */
  get state(): boolean | null {
    return this.#deps.credentials().mqtt_url === null ? null : this.#connected
  }

  open(): void {
    const credentials = this.#deps.credentials()
    if (credentials.mqtt_url === null || this.#closed) return
    if (this.#deps.isolated?.() === true) return this.#retryLater(null, false)
    let client: MqttClient
    try {
      client = connect(credentials.mqtt_url, this.#options(credentials))
    } catch (thrown) {
      this.#retryLater(thrown, false)
      return
    }
    this.#client = client
    client.on('connect', () => void this.#established(client))
    client.on('message', (topic, payload) => this.#receive(topic, payload))
    client.on('error', (error) => this.#lost(client, error))
    client.on('close', () => this.#lost(client, null))
  }

  /** Tries to connect now: instead of waiting for the backoff, or for an attempt that may never be answered. */
  reconnectNow(): void {
    if (this.#connected || this.#closed) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#failures = 0
    this.#drop()
    this.open()
  }

  /** The broker is elsewhere now. */
  moved(): void {
    if (this.#closed) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#failures = 0
    this.#drop()
    this.open()
  }

  /** Ends the connection as a broken link would, without a word; it is tried again later. */
  cut(): void {
    if (this.#client !== null) this.#lost(this.#client, null)
  }

  /** Publishes with QoS 1 and resolves when the broker has it. Throws `cp_unreachable` when it has not in time. */
  async publish(channel: NodeChannelUp, payload: string, retain = false): Promise<void> {
    const client = this.#client
    if (client === null || !this.#connected) throw unreachable('the broker is not connected')
    const topic = nodeTopic(this.#deps.credentials().node_id, channel)
    try {
      await answerWithin(publishMsMax, client.publishAsync(topic, payload, { qos: 1, retain }))
    } catch (thrown) {
      // A connection that does not deliver is of no use: a new one may.
      this.#lost(client, thrown)
      throw thrown instanceof EdgefnError ? thrown : unreachable(errorMessage(thrown), thrown)
    }
  }

  /** Says goodbye and disconnects. */
  async close(): Promise<void> {
    this.#closed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    const client = this.#client
    if (client === null) return
    if (this.#connected) {
      await this.publish('status', this.#status('offline'), true).catch(ignoreLoss)
    }
    this.#connected = false
    this.#client = null
    client.end(true)
  }

  #options(credentials: NodeCredentials): IClientOptions {
    const { account } = this.#deps
    const secrets = readMqttSecrets(account)
    // The token opens the control plane's API, so a broker that is not the control plane's own never sees it.
    const isToken = credentials.mqtt_auth === 'token'
    return {
      protocolVersion: 4,
      clientId: credentials.node_id,
      ...secrets,
      username: isToken ? credentials.node_id : (account.username ?? credentials.node_id),
      ...(isToken ? { password: credentials.token } : {}),
      rejectUnauthorized: true,
      clean: true,
      keepalive: keepaliveSeconds(this.#deps.heartbeat_ms),
      connectTimeout: this.#deps.connect_ms ?? connectMsMax,
      // Its own reconnect has no jitter and keeps messages of another time: each attempt here is a new client.
      reconnectPeriod: 0,
      resubscribe: false,
      queueQoSZero: false,
      timerVariant: 'native',
      will: {
        topic: nodeTopic(credentials.node_id, 'status'),
        payload: Buffer.from(this.#status('offline')),
        qos: 1,
        retain: true,
      },
    }
  }

  async #established(client: MqttClient): Promise<void> {
    if (client !== this.#client) return
    const { node_id } = this.#deps.credentials()
    try {
      const topics = NODE_CHANNELS_DOWN.map((channel) => nodeTopic(node_id, channel))
      // A broker that takes the connection and answers nothing more would be waited for without end.
      const ms = this.#deps.connect_ms ?? connectMsMax
      await answerWithin(ms, client.subscribeAsync(topics, { qos: 1 }))
      if (client !== this.#client) return
      this.#connected = true
      this.#connectedAt = performance.now()
      await this.publish('status', this.#status('online'), true)
      this.#deps.log.info('Connected to the broker.')
      this.#deps.onConnected()
    } catch (thrown) {
      this.#lost(client, thrown)
    }
  }

  #receive(topic: string, payload: Uint8Array): void {
    const { log, onNotice, onTelemetryAck } = this.#deps
    const channel = parseNodeTopic(topic)?.channel
    if (channel === 'telemetry-acks') {
      const ack = decodeAnswer(telemetryAckSchema, payload)
      // Without it the upload is sent again, over HTTP.
      if (ack !== null && this.isOwn) onTelemetryAck(ack)
      return
    }
    if (channel === 'commands') return this.#deps.onCommand()
    if (channel !== 'notices') {
      log.warn('A message on a channel this version does not serve was ignored.', {
        context: { topic },
      })
      return
    }
    const notice = decodeAnswer(noticeSchema, payload)
    if (notice === null) {
      log.warn('A notice could not be read; the node asks for its plan instead.')
      onNotice(null)
      return
    }
    const ack = JSON.stringify({ notice_id: notice.notice_id })
    // Without it the control plane pushes the notice again, which is harmless.
    this.publish('acks', ack).catch(ignoreLoss)
    onNotice(notice.revision)
  }

  /** The connection is of no use any more: drop it, once, and come back later. */
  #lost(client: MqttClient, thrown: unknown): void {
    if (client !== this.#client) return
    const wasConnected = this.#connected
    this.#drop()
    if (this.#closed) return
    this.#retryLater(thrown, wasConnected)
    if (wasConnected) this.#deps.onLost()
  }

  #drop(): void {
    const client = this.#client
    this.#client = null
    this.#connected = false
    client?.on('error', ignoreLoss)
    client?.end(true)
  }

  #retryLater(thrown: unknown, wasConnected: boolean): void {
    const stable = wasConnected && performance.now() - this.#connectedAt > stableMs
    this.#failures = stable ? 1 : this.#failures + 1
    if (wasConnected || this.#failures === 1) {
      this.#deps.log.warn('The broker is not connected; the node polls instead.', {
        error_message: thrown === null ? 'connection closed' : errorMessage(thrown),
      })
    }
    // A broker that ends loses all its nodes in one instant; they come back over the length of a first delay.
    const spread = 0.5 + Math.random()
    this.#timer = setTimeout(
      () => {
        this.#timer = null
        this.open()
      },
      this.#deps.retryDelayMs(this.#failures) * spread,
    )
  }

  #status(status: NodeStatusMessage['status']): string {
    const message: NodeStatusMessage = { node_id: this.#deps.credentials().node_id, status }
    return JSON.stringify(message)
  }
}

/** A little more than between heartbeats, which take the place of pings: in a large fleet these cost as much as those. */
function keepaliveSeconds(heartbeatMs: number): number {
  const seconds = Math.ceil(heartbeatMs / 1000) + 1
  return Math.min(keepaliveSecondsMax, Math.max(keepaliveSecondsMin, seconds))
}

async function answerWithin(ms: number, answer: Promise<unknown>): Promise<void> {
  const expired = Promise.withResolvers<never>()
  const handle = setTimeout(() => expired.reject(unreachable(`no answer within ${ms} ms`)), ms)
  try {
    await Promise.race([answer, expired.promise])
  } finally {
    clearTimeout(handle)
  }
}

/** What MQTT loses, HTTP finds. */
function ignoreLoss(): void {}

function unreachable(why: string, cause?: unknown): EdgefnError {
  return new EdgefnError(
    'cp_unreachable',
    `A message could not be published: ${why}.`,
    cause === undefined ? {} : { cause },
  )
}
