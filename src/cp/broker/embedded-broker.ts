/**
 * The embedded MQTT broker, Aedes over TCP. Every hook is set and closed by default (`access.ts`). It carries hints: what
 * is true stands in SQL, so nothing it loses matters (DESIGN section 7).
 */

import type { EventEmitter } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'

import {
  Aedes,
  type AedesPublishPacket,
  type AuthenticateError,
  type Client,
  type ConnectPacket,
  type PublishPacket,
  type Subscription,
} from 'aedes'

import type { Address } from '../../config/modes.ts'
import { EdgefnError, errorMessage } from '../../errors.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { EventMessage, Notice } from '../../protocol/messages.ts'
import { eventTopic, nodeTopic, type NodeChannelDown } from '../../protocol/topics.ts'
import type { Caller } from '../context.ts'
import { acceptsClientId, mayPublish, mayReceive, maySubscribe, type Peer } from './access.ts'
import type { Broker, BrokerEvents } from './broker.ts'
import { identify } from './identify.ts'
import { GuardedConnection } from './connection.ts'
import { readNodeMessage } from './node-messages.ts'
import { PacketGuard } from './packet-guard.ts'
import { createPersistence } from './retained.ts'

/** Connections at a time. */
const connectionsMax = 20_000
/** Milliseconds a connection may take to say CONNECT, and a slow reader to take what is sent. */
const connectMsMax = 10_000
const drainMsMax = 15_000
/** Seconds of keep-alive a client may ask for; 0, which is never, is refused. */
const keepaliveSecondsMax = 600
/** Bytes of the first packet, before anybody is known: CONNECT with a token and a last will. */
const connectPacketBytesMax = 16 * 1024
/** Packets that a client may send before its CONNECT is answered, and QoS 2 handshakes it may leave open. */
const queuePacketsMax = 64
const openHandshakesMax = 100
/** Levels of a topic; ours have five. */
const topicLevelsMax = 8
/** Milliseconds between looks at whether watchers' keys are still good. */
const watcherCheckMs = 5_000

export interface EmbeddedBrokerDeps extends BrokerEvents {
  readonly listen: Address
  readonly authenticate: (bearer: string) => Promise<Caller>
}

interface Session {
  readonly peer: Peer
  readonly bearer: string
}

export class EmbeddedBroker implements Broker {
  readonly #deps: EmbeddedBrokerDeps
  /** Who each connection proved to be; forgotten with it. */
  #sessions = new WeakMap<Client, Session>()
  /** Connected clients by their ids; the id of a node's client is the node's. */
  readonly #clients = new Map<string, Client>()
  readonly #sockets = new Set<Socket>()
  #aedes: Aedes | null = null
  #server: Server | null = null
  #checkTimer: ReturnType<typeof setInterval> | null = null

  constructor(deps: EmbeddedBrokerDeps) {
    this.#deps = deps
  }

  /** Listens. Throws `invalid_config` when the address cannot be had. */
  async open(): Promise<void> {
    const aedes = await Aedes.createBroker({
      concurrency: 1000,
      persistence: createPersistence(),
      connectTimeout: connectMsMax,
      drainTimeout: drainMsMax,
      keepaliveLimit: keepaliveSecondsMax,
      queueLimit: queuePacketsMax,
      maxInflightInbound: openHandshakesMax,
      maxTopicLevels: topicLevelsMax,
      preConnect: (_client, packet, done) => done(...this.#preConnect(packet)),
      authenticate: (client, username, password, done) => {
        this.#authenticate(client, username, password).then(
          () => done(null, true),
          (thrown: unknown) => done(refusal(thrown), false),
        )
      },
      authorizePublish: (client, packet, done) => done(this.#authorizePublish(client, packet)),
      authorizeSubscribe: (client, subscription, done) => {
        const allowed = maySubscribe(this.#peer(client), subscription.topic)
        if (!allowed) this.#deps.countMessage('refused')
        // Null is answered with 0x80 in SUBACK [MQTT-3.9.3]; the connection goes on.
        done(null, allowed ? subscription : null)
      },
      authorizeForward: (client, packet) =>
        mayReceive(this.#peer(client), packet.topic) ? packet : null,
      published: (packet, client, done) => {
        this.#published(packet, client)
        done(null)
      },
    })
    this.#aedes = aedes
    this.#listenToEvents(aedes)
    this.#server = createServer((socket) => this.#accept(aedes, socket))
    await listen(this.#server, this.#deps.listen)
    this.#checkTimer = setInterval(() => void this.#checkWatchers(), watcherCheckMs)
  }

  /** Ends all sessions without their last wills: the nodes are well, it is the control plane that goes. */
  async close(): Promise<void> {
    const { promise: closed, resolve } = Promise.withResolvers<void>()
    const aedes = this.#aedes
    const server = this.#server
    this.#aedes = null
    this.#server = null
    if (this.#checkTimer !== null) clearInterval(this.#checkTimer)
    // Without its session a client may publish nothing, so Aedes drops the wills.
    this.#sessions = new WeakMap()
    this.#clients.clear()
    if (aedes === null) resolve()
    else aedes.close(() => resolve())
    for (const socket of this.#sockets) socket.destroy()
    if (server?.listening === true) server.close()
    await closed
  }

  /** The port it listens on; 0 when closed. */
  get port(): number {
    const address = this.#server?.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  check(): void {
    if (this.#server?.listening !== true) throw new Error('not listening')
  }

  nodeUrl(apiHost: string): string {
    return `mqtt://${apiHost}:${this.port}`
  }

  get connections(): number {
    return this.#sockets.size
  }

  send(nodeId: NodeId, channel: NodeChannelDown, payload: string): Promise<void> {
    if (!this.#clients.has(nodeId)) {
      return Promise.reject(new EdgefnError('conflict', `Node ${nodeId} is not connected.`))
    }
    return this.#publish(nodeTopic(nodeId, channel), payload, 1, false)
  }

  publishNotice(nodeId: NodeId, notice: Notice): Promise<void> {
    return this.send(nodeId, 'notices', JSON.stringify(notice))
  }

  /** At QoS 0, so that nothing is kept for those who are away. */
  publishEvent(event: EventMessage): void {
    const topic = eventTopic('deployment_id' in event ? 'deployments' : 'nodes')
    this.#publish(topic, JSON.stringify(event), 0, false).catch((thrown: unknown) =>
      this.#deps.log.failure('An event could not be sent.', thrown, { context: { topic } }),
    )
  }

  /** Ends the session of a node, if it has one. */
  disconnect(nodeId: NodeId): void {
    this.#clients.get(nodeId)?.close()
  }

  /** The node was deleted: ends its session and drops its retained status. */
  forget(nodeId: NodeId): void {
    this.disconnect(nodeId)
    this.#publish(nodeTopic(nodeId, 'status'), '', 0, true).catch((thrown: unknown) =>
      this.#deps.log.failure('A retained status could not be dropped.', thrown, {
        node_id: nodeId,
      }),
    )
  }

  #publish(topic: string, payload: string, qos: 0 | 1, retain: boolean): Promise<void> {
    const aedes = this.#aedes
    if (aedes === null) return Promise.resolve()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    aedes.publish({ cmd: 'publish', topic, payload, qos, retain, dup: false }, (error) =>
      error ? reject(error) : resolve(),
    )
    return promise
  }

  #accept(aedes: Aedes, socket: Socket): void {
    if (this.#sockets.size >= connectionsMax) {
      socket.destroy()
      return
    }
    socket.setNoDelay(true)
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    aedes.handle(new GuardedConnection(socket, new PacketGuard(connectPacketBytesMax)))
  }

  #preConnect(packet: ConnectPacket): [Error | null, boolean] {
    // An empty id is for the broker to fill in, which [MQTT-3.1.3-7] allows with a clean session only.
    const empty = packet.clientId === ''
    if (!acceptsClientId(packet.clientId) || (empty && packet.clean !== true)) {
      return [new Error('The client id is not acceptable.'), false]
    }
    const { will } = packet
    if (will === undefined) return [null, true]
    // The last will of a node is its status; the id is proved to be the node's before the will counts.
    const topic = nodeTopic(packet.clientId as NodeId, 'status')
    if (will.topic === topic) return [null, true]
    return [new Error('The last will must be the status of the node itself.'), false]
  }

  async #authenticate(
    client: Client,
    username: string | undefined,
    password: Buffer | undefined,
  ): Promise<void> {
    const bearer = password?.toString('utf8') ?? ''
    const peer = await identify(this.#deps.authenticate, {
      client_id: client.id,
      clean: client.clean,
      username: username ?? '',
      password: bearer,
    })
    if (peer.kind === 'watcher') this.#refuseTakeover(client, peer)
    this.#sessions.set(client, { peer, bearer })
    if (client.conn instanceof GuardedConnection) {
      client.conn.guard.setLimit(LIMITS.mqttPacketBytesMax)
    }
  }

  /** A client id belongs to the key that uses it; nodes' ids are theirs by their tokens. */
  #refuseTakeover(client: Client, peer: Peer & { readonly kind: 'watcher' }): void {
    const other = this.#clients.get(client.id)
    const holder = other === undefined ? undefined : this.#peer(other)
    if (holder === undefined) return
    if (holder.kind === 'watcher' && holder.key_id === peer.key_id) return
    throw new EdgefnError('forbidden', `Client id ${client.id} is in use by another key.`)
  }

  #authorizePublish(client: Client | null, packet: PublishPacket): Error | null {
    const bytes = Buffer.byteLength(packet.payload)
    const allowed =
      client !== null &&
      mayPublish(this.#peer(client), { topic: packet.topic, retain: packet.retain, bytes })
    if (allowed) return null
    this.#deps.countMessage('refused')
    return new Error(`Publishing to ${packet.topic} is not allowed.`)
  }

  #published(packet: AedesPublishPacket, client: Client | null): void {
    const peer = client === null ? undefined : this.#peer(client)
    if (peer?.kind !== 'node') return
    try {
      const valid = readNodeMessage(peer.node_id, packet.topic, packet.payload, this.#deps)
      this.#deps.countMessage(valid ? 'accepted' : 'invalid')
    } catch (thrown) {
      this.#deps.log.failure('A message could not be handled.', thrown, { node_id: peer.node_id })
    }
  }

  #listenToEvents(aedes: Aedes): void {
    const isNode = (client: Client) => {
      const peer = this.#peer(client)
      return peer?.kind === 'node' ? peer.node_id : null
    }
    aedes.on('client', (client) => this.#clients.set(client.id, client))
    aedes.on('clientReady', (client) => {
      // A session that goes on has its subscriptions already, and says so by no event.
      const nodeId = isNode(client)
      if (nodeId !== null && !client.clean) this.#deps.onListening(nodeId)
    })
    aedes.on('subscribe', (subscriptions: Subscription[], client) => {
      const nodeId = isNode(client)
      if (nodeId === null) return
      const topic = nodeTopic(nodeId, 'notices')
      if (subscriptions.some((item) => item.topic === topic)) this.#deps.onListening(nodeId)
    })
    aedes.on('clientDisconnect', (client) => {
      if (this.#clients.get(client.id) !== client) return
      this.#clients.delete(client.id)
      const nodeId = isNode(client)
      if (nodeId !== null) this.#deps.onGone(nodeId)
    })
    const complain = (client: Client, error: Error) =>
      this.#deps.log.debug('An MQTT connection ended with an error.', {
        error_message: errorMessage(error),
        context: { client_id: client.id },
      })
    aedes.on('clientError', complain)
    aedes.on('connectionError', complain)
    // Aedes' types leave this event out; unheard it would end the process.
    const emitter: EventEmitter = aedes
    emitter.on('error', (thrown) => this.#deps.log.failure('The broker failed.', thrown))
  }

  /** Ends the sessions of watchers whose key has been revoked. */
  async #checkWatchers(): Promise<void> {
    for (const client of this.#clients.values()) {
      const session = this.#sessions.get(client)
      if (session?.peer.kind !== 'watcher') continue
      await this.#deps.authenticate(session.bearer).catch((thrown: unknown) => {
        if (thrown instanceof EdgefnError && thrown.code === 'unauthenticated') client.close()
      })
    }
  }

  #peer(client: Client): Peer | undefined {
    return this.#sessions.get(client)?.peer
  }
}

/** The CONNACK codes of MQTT 3.1.1: 4 for a wrong credential, 3 when it could not be looked at, 5 for all else. */
function refusal(thrown: unknown): AuthenticateError {
  const code = thrown instanceof EdgefnError ? thrown.code : 'internal'
  const unavailable = thrown instanceof EdgefnError ? thrown.retryable : true
  const returnCode = code === 'unauthenticated' ? 4 : unavailable ? 3 : 5
  return Object.assign(new Error(errorMessage(thrown)), { returnCode }) as AuthenticateError
}

function listen(server: Server, address: Address): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  server.once('error', (cause) =>
    reject(
      new EdgefnError(
        'invalid_config',
        `mqtt-listen ${address.host}:${address.port} cannot be listened on: ${cause.message}.`,
        { cause },
      ),
    ),
  )
  server.listen(address.port, address.host, () => resolve())
  return promise
}
