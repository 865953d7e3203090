/** Every MQTT payload, and the heartbeat bodies that HTTP shares. JSON, strict, decoded once at the border. */

import { z } from 'zod'

import { auditHeadSchema } from './audit-chain.ts'
import {
  deploymentIdSchema,
  functionIdSchema,
  nodeIdSchema,
  popIdSchema,
  revisionSchema,
  timestampSchema,
  uuidSchema,
  versionSchema,
} from './ids.ts'
import { manifestSchema, routeSchema } from './manifest.ts'
import { rolloutEventSchema } from './rollout.ts'

export const nodeStatusSchema = z.enum(['online', 'degraded', 'offline'])
export type NodeStatus = z.infer<typeof nodeStatusSchema>

/**
 * Control plane → node, `notices`, QoS 1. A notice says that something changed; the node then pulls its plan.
 * The deploy notice carries the whole manifest [R2.2 P3], for anyone who watches and for nodes that want to prefetch.
 */
export const noticeSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('deploy'),
    notice_id: uuidSchema,
    revision: revisionSchema,
    ...manifestSchema.shape,
    routes: z.array(routeSchema),
  }),
  z.strictObject({ type: z.literal('routes'), notice_id: uuidSchema, revision: revisionSchema }),
  z.strictObject({
    type: z.literal('undeploy'),
    notice_id: uuidSchema,
    revision: revisionSchema,
    function_id: functionIdSchema,
  }),
])
export type Notice = z.infer<typeof noticeSchema>

/** Node → control plane, `acks`, QoS 1: the notice arrived and need not be pushed again. Its result comes by sync/ack. */
export const noticeAckSchema = z.strictObject({ notice_id: uuidSchema })

/** A function as a node holds it [R7.2]. */
export const functionStatusSchema = z.strictObject({
  function_id: functionIdSchema,
  version: versionSchema,
  /** `quarantined`: it ended workers of the node, which does not run it for now. */
  state: z.enum(['serving', 'cached', 'failed', 'quarantined']),
  /** The function's circuit breaker; `open`: its calls are refused for some seconds because too many failed. */
  breaker: z.enum(['closed', 'open', 'half_open']).default('closed'),
  /** Why the function is not well on this node, in a sentence; null when it is. */
  reason: z.string().max(500).nullable().default(null),
  invocation_count: z.int().min(0),
  error_count: z.int().min(0),
  avg_latency_ms: z.number().min(0),
})
export type FunctionStatus = z.infer<typeof functionStatusSchema>

/** Node → control plane every 30 s, by MQTT `heartbeat` or `POST /api/v1/nodes/:id/heartbeat` [R7.2 P13]. */
export const heartbeatSchema = z.strictObject({
  node_id: nodeIdSchema,
  status: nodeStatusSchema,
  cpu_percent: z.number().min(0).max(100),
  mem_bytes: z.int().min(0),
  functions: z.array(functionStatusSchema).max(20_000),
  /** The newest revision the node serves. */
  revision: revisionSchema,
  version: z.string().max(100),
  uptime_seconds: z.number().min(0),
  cache_bytes: z.int().min(0),
  workers: z.int().min(0),
  /** The newest row of the audit log that the node has been told of: a witness of what the log was. */
  audit_head: auditHeadSchema.optional(),
  sent_at: timestampSchema,
})
export type Heartbeat = z.infer<typeof heartbeatSchema>

/** Where nodes find the broker, and by what it knows them. */
export const mqttPlaceSchema = z.strictObject({
  /** `mqtt://host:port`; null when there is no broker. */
  mqtt_url: z.string().nullable(),
  /** `token`: the node's JWT. `account`: one that the operator made at a broker of theirs, which no token is shown to. */
  mqtt_auth: z.enum(['token', 'account']).default('token'),
})
export type MqttPlace = z.infer<typeof mqttPlaceSchema>

/**
 * Answer to a heartbeat (HTTP body; over MQTT the control plane publishes notices instead). A revision above the
 * node's own, or a notice, makes the node sync [R7.3 P14].
 */
export const heartbeatAnswerSchema = z.strictObject({
  revision: revisionSchema,
  notices: z.array(noticeSchema),
  /** Commands that the node has not answered; it fetches them. */
  commands: z.int().min(0).default(0),
  server_time: timestampSchema,
  /** The newest row of the audit log, for the node to keep. `replaces`: also in place of a newer one that it has. */
  audit_head: auditHeadSchema.extend({ replaces: z.boolean().default(false) }).optional(),
  /** Where the broker is now; a node that knows another place goes there. */
  mqtt: mqttPlaceSchema.optional(),
})
export type HeartbeatAnswer = z.infer<typeof heartbeatAnswerSchema>

/** Node → control plane, `status`, retained; the last will says offline. */
export const nodeStatusMessageSchema = z.strictObject({
  node_id: nodeIdSchema,
  status: nodeStatusSchema,
})
export type NodeStatusMessage = z.infer<typeof nodeStatusMessageSchema>

/** Control plane → watchers, under `events/`. */
export const eventSchema = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('deployment'),
    deployment_id: deploymentIdSchema,
    function_id: functionIdSchema,
    version: versionSchema,
    status: z.enum(['pending', 'in_progress', 'completed', 'failed', 'rolled_back', 'superseded']),
    at: timestampSchema,
  }),
  rolloutEventSchema,
  z.strictObject({
    type: z.literal('audit'),
    node_id: nodeIdSchema,
    /** The head that the node has seen, and that the audit log does not have. */
    seq: z.int(),
    hash: z.string(),
    status: z.enum(['missing', 'differs']),
    at: timestampSchema,
  }),
  z.strictObject({
    type: z.literal('node'),
    node_id: nodeIdSchema,
    pop_id: popIdSchema,
    /** `removed`: there is no node of the id any more. */
    status: z.enum([...nodeStatusSchema.options, 'removed']),
    at: timestampSchema,
  }),
])
export type EventMessage = z.infer<typeof eventSchema>

/** Decodes a payload; null when it is not JSON or does not match (the caller counts and drops it). */
export function decodeMessage<T>(schema: z.ZodType<T>, payload: Uint8Array | string): T | null {
  try {
    const text =
      typeof payload === 'string'
        ? payload
        : new TextDecoder('utf-8', { fatal: true }).decode(payload)
    const parsed = schema.safeParse(JSON.parse(text))
    return parsed.success ? parsed.data : null
  } catch {
    return null
  }
}
