/** MQTT topics, all under `edgefn/v1/` (DESIGN section 7). One function per topic; nobody else spells them. */

import type { NodeId } from './ids.ts'

const ROOT = 'edgefn/v1'

/** What a node publishes. */
export const NODE_CHANNELS_UP = [
  'acks',
  'heartbeat',
  'results',
  'logs',
  'status',
  'telemetry',
] as const
/** What a node subscribes to. */
export const NODE_CHANNELS_DOWN = ['notices', 'commands', 'telemetry-acks'] as const

export type NodeChannelUp = (typeof NODE_CHANNELS_UP)[number]
export type NodeChannelDown = (typeof NODE_CHANNELS_DOWN)[number]

/** `+` stands for every node, in a subscription. */
export function nodeTopic(nodeId: NodeId | '+', channel: NodeChannelUp | NodeChannelDown): string {
  return `${ROOT}/nodes/${nodeId}/${channel}`
}

/** Splits a node topic; null when `topic` is none. */
export function parseNodeTopic(topic: string): { nodeId: string; channel: string } | null {
  const parts = topic.split('/')
  if (parts.length !== 5 || `${parts[0]}/${parts[1]}` !== ROOT || parts[2] !== 'nodes') return null
  return { nodeId: parts[3] ?? '', channel: parts[4] ?? '' }
}

export const EVENTS_TOPIC_PREFIX = `${ROOT}/events/`

/** Events for anyone allowed to watch: `edgefn/v1/events/deployments`. */
export function eventTopic(subject: 'deployments' | 'nodes'): string {
  return `${EVENTS_TOPIC_PREFIX}${subject}`
}
