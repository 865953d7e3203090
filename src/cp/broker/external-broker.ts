/**
 * A broker of the operator's, of which the control plane is one client among others: `--mqtt-url`. It is trusted with hints
 * only. What comes from it is held against its topic, decoded strictly, and can change no desired state; what it loses or
 * repeats, polling and the revisions make good. While it is away everything works by polling.
 */

import type { IClientOptions, IPublishPacket, MqttClient } from 'mqtt'
import { connect } from 'mqtt'

import { readMqttSecrets, type MqttAccount } from '../../config/mqtt-options.ts'
import { EdgefnError, errorMessage } from '../../errors.ts'
import { nodeIdSchema, type NodeId } from '../../protocol/ids.ts'
import { LIMITS } from '../../protocol/limits.ts'
import {
  decodeMessage,
  nodeStatusMessageSchema,
  type EventMessage,
  type Notice,
} from '../../protocol/messages.ts'
import {
  eventTopic,
  NODE_CHANNELS_UP,
  nodeTopic,
  parseNodeTopic,
  type NodeChannelDown,
} from '../../protocol/topics.ts'
import type { Broker, BrokerEvents } from './broker.ts'
import { readNodeMessage } from './node-messages.ts'

/** The account's name unless told otherwise; client ids start with it too. */
const USERNAME_DEFAULT = 'edgefn-cp'
/** Rollouts are judged by telemetry, so nodes send it over HTTP, where they prove who they are. */
const CHANNELS = NODE_CHANNELS_UP.filter((channel) => channel !== 'telemetry')
/** Seconds between pings; a dead link is noticed after one and a half times this. */
const keepaliveSeconds = 15
/** Names of nodes that are looked up at once. */
const learningMax = 1_000
const connectMsMax = 10_000
const publishMsMax = 5_000
/** A connection that held this long was a good one: the next loss begins the backoff anew. */
const stableMs = 30_000

export interface ExternalBrokerDeps extends BrokerEvents {
  /** `mqtts://host:port`. */
  readonly url: string
  readonly account: MqttAccount
  /** Delay in milliseconds before retry number `attempt`, with jitter. */
  readonly retryDelayMs: (attempt: number) => number
  /** Whether there is such a node: whoever may publish can name others without end. */
  readonly isKnown: (nodeId: NodeId) => boolean
  /** Whether another control plane has taken the node in; it is known from then on. */
  readonly learn: (nodeId: NodeId) => Promise<boolean>
  /** Milliseconds for the connection, and again for the subscriptions; 10 s unless told otherwise. */
  readonly connect_ms?: number
}

export class ExternalBroker implements Broker {
  readonly #deps: ExternalBrokerDeps
  /** Nodes that said they are there, by their status or by a heartbeat. */
  readonly #nodes = new Set<NodeId>()
  #client: MqttClient | null = null
  #connected = false
  #connectedAt = 0
  readonly #learning = new Set<NodeId>()
  #failures = 0
  #trouble = 'not connected yet'
  #timer: ReturnType<typeof setTimeout> | null = null
  #closed = false

  constructor(deps: ExternalBrokerDeps) {
    this.#deps = deps
  }

  /** Begins to connect and does not wait for it. Throws `invalid_config` when a file of the account cannot be read. */
  async open(): Promise<void> {
    readMqttSecrets(this.#deps.account)
    this.#connect()
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    const client = this.#client
    this.#client = null
    this.#connected = false
    if (client === null) return
    client.on('error', ignore)
    await client.endAsync(true).catch(ignore)
  }

  check(): void {
    if (!this.#connected) throw new Error(`${this.#deps.url}: ${this.#trouble}`)
  }

  nodeUrl(): string {
    return this.#deps.url
  }

  get connections(): number {
    return this.#nodes.size
  }

  async send(nodeId: NodeId, channel: NodeChannelDown, payload: string): Promise<void> {
    if (!this.#nodes.has(nodeId)) {
      throw new EdgefnError('conflict', `Node ${nodeId} is not connected.`)
    }
    await this.#publish(nodeTopic(nodeId, channel), payload, { qos: 1, retain: false })
  }

  publishNotice(nodeId: NodeId, notice: Notice): Promise<void> {
    return this.send(nodeId, 'notices', JSON.stringify(notice))
  }

  publishEvent(event: EventMessage): void {
    if (!this.#connected) return
    const topic = eventTopic('deployment_id' in event ? 'deployments' : 'nodes')
    this.#publish(topic, JSON.stringify(event), { qos: 0, retain: false }).catch(
      (thrown: unknown) =>
        this.#deps.log.failure('An event could not be sent.', thrown, { context: { topic } }),
    )
  }

  /** Its session is the broker's; the control plane sends it nothing more until it says that it is there. */
  disconnect(nodeId: NodeId): void {
    this.#gone(nodeId)
  }

  forget(nodeId: NodeId): void {
    this.disconnect(nodeId)
    if (!this.#connected) return
    this.#publish(nodeTopic(nodeId, 'status'), '', { qos: 1, retain: true }).catch(
      (thrown: unknown) =>
        this.#deps.log.failure('A retained status could not be dropped.', thrown, {
          node_id: nodeId,
        }),
    )
  }

  #connect(): void {
    if (this.#closed) return
    let client: MqttClient
    try {
      client = connect(this.#deps.url, this.#options())
    } catch (thrown) {
      this.#retryLater(thrown, false)
      return
    }
    this.#client = client
    client.on('connect', () => void this.#established(client))
    client.on('message', (topic, payload, packet) => this.#receive(topic, payload, packet))
    client.on('error', (error) => this.#lost(client, error))
    client.on('close', () => this.#lost(client, null))
  }

  #options(): IClientOptions {
    const { account } = this.#deps
    return {
      protocolVersion: 4,
      // Several control planes may share the broker, and a broker ends the session of an id that comes twice.
      clientId: `${USERNAME_DEFAULT}:${crypto.randomUUID()}`,
      username: account.username ?? USERNAME_DEFAULT,
      ...readMqttSecrets(account),
      rejectUnauthorized: true,
      clean: true,
      keepalive: keepaliveSeconds,
      connectTimeout: this.#deps.connect_ms ?? connectMsMax,
      reconnectPeriod: 0,
      resubscribe: false,
      queueQoSZero: false,
      timerVariant: 'native',
    }
  }

  async #established(client: MqttClient): Promise<void> {
    if (client !== this.#client) return
    try {
      // A broker that takes the connection and answers nothing more would be waited for without end.
      const topics = CHANNELS.map((channel) => nodeTopic('+', channel))
      const ms = this.#deps.connect_ms ?? connectMsMax
      await answerWithin(ms, client.subscribeAsync(topics, { qos: 1 }))
      if (client !== this.#client) return
      this.#connected = true
      this.#connectedAt = performance.now()
      this.#deps.log.info('Connected to the broker.', { context: { mqtt_url: this.#deps.url } })
    } catch (thrown) {
      this.#lost(client, new Error(`there are no subscriptions: ${errorMessage(thrown)}`))
    }
  }

  #receive(topic: string, payload: Buffer, packet: IPublishPacket): void {
    const { countMessage, log } = this.#deps
    const parsed = parseNodeTopic(topic)
    const nodeId = nodeIdSchema.safeParse(parsed?.nodeId)
    // The empty status of a node that was deleted, which we sent ourselves.
    if (payload.length === 0) return
    const tooLarge = payload.length > LIMITS.mqttPacketBytesMax
    const isKnown = CHANNELS.some((channel) => channel === parsed?.channel)
    const isOld = packet.retain && parsed?.channel !== 'status'
    if (!nodeId.success || !isKnown || tooLarge || isOld) {
      countMessage('refused')
      return
    }
    try {
      countMessage(this.#read(nodeId.data, topic, payload, packet.retain) ? 'accepted' : 'invalid')
    } catch (thrown) {
      log.failure('A message could not be handled.', thrown, { node_id: nodeId.data })
    }
  }

  #read(nodeId: NodeId, topic: string, payload: Buffer, retained: boolean): boolean {
    const channel = parseNodeTopic(topic)?.channel
    if (channel === 'status') {
      const message = decodeMessage(nodeStatusMessageSchema, payload)
      if (message?.node_id !== nodeId) return false
      if (message.status === 'offline') this.#gone(nodeId)
      else this.#came(nodeId)
      // What was kept may be of last week: it says whom to try, and nothing about who lives.
      if (retained) return true
    } else if (!this.#nodes.has(nodeId)) this.#came(nodeId)
    return readNodeMessage(nodeId, topic, payload, this.#deps)
  }

  /** Told each time a node says so: it has come back, and what was sent before may be lost. */
  #came(nodeId: NodeId): void {
    if (!this.#deps.isKnown(nodeId)) return void this.#learn(nodeId)
    this.#nodes.add(nodeId)
    this.#deps.onListening(nodeId)
  }

  /** Another control plane has taken it in perhaps. Whoever may speak for nodes may say many names: a few are asked about at once. */
  async #learn(nodeId: NodeId): Promise<void> {
    if (this.#learning.has(nodeId) || this.#learning.size >= learningMax) return
    this.#learning.add(nodeId)
    try {
      if (await this.#deps.learn(nodeId)) this.#came(nodeId)
    } catch (thrown) {
      // With its next message it is tried again.
      this.#deps.log.failure('A node could not be looked up.', thrown, { node_id: nodeId })
    } finally {
      this.#learning.delete(nodeId)
    }
  }

  #gone(nodeId: NodeId): void {
    if (this.#nodes.delete(nodeId)) this.#deps.onGone(nodeId)
  }

  async #publish(
    topic: string,
    payload: string,
    options: { readonly qos: 0 | 1; readonly retain: boolean },
  ): Promise<void> {
    const client = this.#client
    if (client === null || !this.#connected) throw new Error('The broker is not connected.')
    try {
      await answerWithin(publishMsMax, client.publishAsync(topic, payload, options))
    } catch (thrown) {
      // A connection that does not deliver is of no use: a new one may.
      this.#lost(client, thrown)
      throw thrown
    }
  }

  /** The connection is of no use any more: drop it, once, and come back later. */
  #lost(client: MqttClient, thrown: unknown): void {
    if (client !== this.#client) return
    const wasConnected = this.#connected
    this.#client = null
    this.#connected = false
    client.on('error', ignore)
    client.end(true)
    for (const nodeId of [...this.#nodes]) this.#gone(nodeId)
    if (!this.#closed) this.#retryLater(thrown, wasConnected)
  }

  #retryLater(thrown: unknown, wasConnected: boolean): void {
    const stable = wasConnected && performance.now() - this.#connectedAt > stableMs
    this.#failures = stable ? 1 : this.#failures + 1
    // "connection closed" follows the error that says why; the reason is worth keeping.
    this.#trouble = thrown === null ? 'connection closed' : errorMessage(thrown)
    if (wasConnected || this.#failures === 1) {
      this.#deps.log.warn('The broker is not connected; nodes poll instead.', {
        error_message: this.#trouble,
        context: { mqtt_url: this.#deps.url },
      })
    }
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#connect()
    }, this.#deps.retryDelayMs(this.#failures))
  }
}

async function answerWithin(ms: number, answer: Promise<unknown>): Promise<void> {
  const expired = Promise.withResolvers<never>()
  const error = new Error(`The broker gave no answer within ${ms} ms.`)
  const handle = setTimeout(() => expired.reject(error), ms)
  try {
    await Promise.race([answer, expired.promise])
  } finally {
    clearTimeout(handle)
  }
}

function ignore(): void {}
