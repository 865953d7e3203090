/**
 * The node's connection to the broker: notices in, acknowledgements, heartbeats and status out. It is never the source of
 * truth: whatever is lost here, the next heartbeat or poll finds (DESIGN section 7), so every failure is survivable.
 */

import type { IClientOptions, MqttClient } from 'mqtt'
import { connect } from 'mqtt'

import { EdgefnError, errorMessage } from '../../../errors.ts'
import type { NodeCredentials } from '../../../protocol/api.ts'
import type { NodeStatusMessage } from '../../../protocol/messages.ts'
import { decodeMessage, noticeSchema } from '../../../protocol/messages.ts'
import type { NodeChannelUp } from '../../../protocol/topics.ts'
import { nodeTopic, parseNodeTopic } from '../../../protocol/topics.ts'
import type { Log } from '../../../telemetry/log.ts'

/** Seconds between pings; a dead link is noticed after one and a half times this. */
const keepaliveSeconds = 15
const connectMsMax = 10_000
const publishMsMax = 5_000
/** A connection that held this long was a good one: the next loss begins the backoff anew. */
const stableMs = 30_000

interface MqttConnectionDeps {
  credentials(): NodeCredentials
  /** Something changed at the control plane; the revision is a hint, null when the notice could not be read. */
  onNotice(revision: number | null): void
  /** Connected and subscribed; what was published before is lost, so the node should ask. */
  onConnected(): void
  /** The connection was there and is lost; the broker is about to tell the control plane that the node is offline. */
  onLost(): void
  readonly log: Log
  retryDelayMs(attempt: number): number
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

  open(): void {
    const credentials = this.#deps.credentials()
    if (credentials.mqtt_url === null || this.#closed) return
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

  /** Publishes with QoS 1 and resolves when the broker has it. Throws `cp_unreachable` when it has not in time. */
  async publish(channel: NodeChannelUp, payload: string, retain = false): Promise<void> {
    const client = this.#client
    if (client === null || !this.#connected) throw unreachable('the broker is not connected')
    const topic = nodeTopic(this.#deps.credentials().node_id, channel)
    const expired = Promise.withResolvers<never>()
    const handle = setTimeout(
      () => expired.reject(unreachable(`no answer within ${publishMsMax} ms`)),
      publishMsMax,
    )
    try {
      const published = client.publishAsync(topic, payload, { qos: 1, retain })
      await Promise.race([published, expired.promise])
    } catch (thrown) {
      // A connection that does not deliver is of no use: a new one may.
      this.#lost(client, thrown)
      throw thrown instanceof EdgefnError ? thrown : unreachable(errorMessage(thrown), thrown)
    } finally {
      clearTimeout(handle)
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
    return {
      protocolVersion: 4,
      clientId: credentials.node_id,
      username: credentials.node_id,
      password: credentials.token,
      clean: true,
      keepalive: keepaliveSeconds,
      connectTimeout: connectMsMax,
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
      await client.subscribeAsync([nodeTopic(node_id, 'notices'), nodeTopic(node_id, 'commands')], {
        qos: 1,
      })
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
    const { log, onNotice } = this.#deps
    const channel = parseNodeTopic(topic)?.channel
    if (channel !== 'notices') {
      log.warn('A message on a channel this version does not serve was ignored.', {
        context: { topic },
      })
      return
    }
    const notice = decodeMessage(noticeSchema, payload)
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
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.open()
    }, this.#deps.retryDelayMs(this.#failures))
  }

  #status(status: NodeStatusMessage['status']): string {
    const message: NodeStatusMessage = { node_id: this.#deps.credentials().node_id, status }
    return JSON.stringify(message)
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
