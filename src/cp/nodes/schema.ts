/** Queries of the nodes API, and the rows behind it. */

import { z } from 'zod'

import { pageQuerySchema } from '../../protocol/api.ts'
import { nodeIdSchema, popIdSchema, type NodeId, type PopId } from '../../protocol/ids.ts'
import { nodeStatusSchema, type NodeStatus } from '../../protocol/messages.ts'

export const nodeParams = z.strictObject({ id: nodeIdSchema })

export const nodeQuery = pageQuerySchema.extend({
  cursor: nodeIdSchema.optional(),
  pop: popIdSchema.optional(),
  status: nodeStatusSchema.optional(),
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
  readonly created_at: string
  readonly updated_at: string
}
