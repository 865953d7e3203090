/** Queries of the nodes API, and the rows behind it. */

import { z } from 'zod'

import { nodeViewSchema, pageQuerySchema } from '../../protocol/api.ts'
import { nodeIdSchema, popIdSchema, type NodeId, type PopId } from '../../protocol/ids.ts'
import { nodeStatusSchema, type NodeStatus } from '../../protocol/messages.ts'

export const nodeParams = z.strictObject({ id: nodeIdSchema })

export const nodeQuery = pageQuerySchema.extend({
  cursor: nodeIdSchema.optional(),
  pop: popIdSchema.optional(),
  status: nodeStatusSchema.optional(),
  cordoned: z.enum(['true', 'false']).optional(),
})
export type NodeQuery = z.infer<typeof nodeQuery>

export interface NodeRow {
  readonly id: NodeId
  readonly pop_id: PopId
  readonly ip: string
  readonly status: NodeStatus
  readonly last_heartbeat: string | null
  readonly desired_revision: number
  readonly applied_revision: number
  readonly version: string
  readonly os: string
  readonly arch: string
  readonly http_port: number
  readonly cpu_percent: number | null
  readonly mem_bytes: number | null
  /** Deployments pass it by; 0 or 1. */
  readonly cordoned: number
  /** It refuses new calls; 0 or 1. */
  readonly drained: number
  readonly isolated_until: string | null
  readonly created_at: string
  readonly updated_at: string
}

export interface ShownNodeRow extends NodeRow {
  /** JSON; null when it never had a command. */
  readonly last_command: string | null
}

export const lastCommandSchema = nodeViewSchema.shape.last_command
