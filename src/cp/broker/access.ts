/** Who may say and hear what over MQTT; pure, and closed: what is not named here is refused. */

import type { NodeId } from '../../protocol/ids.ts'
import { LIMITS } from '../../protocol/limits.ts'
import {
  EVENTS_TOPIC_PREFIX,
  NODE_CHANNELS_DOWN,
  NODE_CHANNELS_UP,
  nodeTopic,
} from '../../protocol/topics.ts'

/** Who a connection has proved to be. */
export type Peer =
  | { readonly kind: 'node'; readonly node_id: NodeId }
  | { readonly kind: 'watcher'; readonly key_id: string }

/** Client ids of watchers start so; a colon is in no node id, so a watcher can never take a node's place. */
export const WATCHER_PREFIX = 'watch:'
/** The user name of watchers; their password is an API key. */
export const WATCHER_USERNAME = 'api'
/** What the broker names clients that gave no id; `_` is in no node id either. */
const UNNAMED_PREFIX = 'aedes_'

const clientIdCharsMax = 200
/** Printable ASCII: no NUL, no control characters, nothing that looks like something else. */
const CLIENT_ID = /^[\x21-\x7e]*$/

export function acceptsClientId(clientId: string): boolean {
  return clientId.length <= clientIdCharsMax && CLIENT_ID.test(clientId)
}

export function isWatcherId(clientId: string): boolean {
  return clientId.startsWith(WATCHER_PREFIX) || clientId.startsWith(UNNAMED_PREFIX)
}

/** Retained messages may only be a node's status, which its last will replaces. */
export function mayPublish(
  peer: Peer | undefined,
  packet: { readonly topic: string; readonly retain: boolean; readonly bytes: number },
): boolean {
  if (peer?.kind !== 'node') return false
  if (packet.bytes > LIMITS.mqttPacketBytesMax) return false
  const channel = NODE_CHANNELS_UP.find((name) => nodeTopic(peer.node_id, name) === packet.topic)
  if (channel === undefined) return false
  return !packet.retain || channel === 'status'
}

/** A node its own channels down, by their exact names; a watcher the events, by any filter below their prefix. */
export function maySubscribe(peer: Peer | undefined, filter: string): boolean {
  if (peer === undefined) return false
  if (peer.kind === 'watcher') return filter.startsWith(EVENTS_TOPIC_PREFIX)
  return NODE_CHANNELS_DOWN.some((name) => nodeTopic(peer.node_id, name) === filter)
}

/** Asked again for every message, so that a subscription that should not be there hears nothing. */
export function mayReceive(peer: Peer | undefined, topic: string): boolean {
  return maySubscribe(peer, topic)
}
