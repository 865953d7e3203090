/** Queries of the deployments API, and the rows behind it. */

import { z } from 'zod'

import {
  deploymentStatusSchema,
  pageQuerySchema,
  type DeploymentStatus,
  type TargetState,
} from '../../protocol/api.ts'
import {
  deploymentIdSchema,
  type DeploymentId,
  type FunctionId,
  type NodeId,
  type PopId,
} from '../../protocol/ids.ts'
import type { Previous, Strategy } from '../../protocol/rollout.ts'
import type { SplitView } from '../../protocol/split.ts'

export const deploymentParams = z.strictObject({ id: deploymentIdSchema })
/** A function's id or name. */
export const functionParams = z.strictObject({ id: z.string().min(1).max(63) })

export const deploymentQuery = pageQuerySchema.extend({
  cursor: deploymentIdSchema.optional(),
  /** A function's id or name. */
  function: z.string().min(1).max(63).optional(),
  status: deploymentStatusSchema.optional(),
})
export type DeploymentQuery = z.infer<typeof deploymentQuery>

export interface DeploymentRow {
  readonly id: DeploymentId
  readonly function_id: FunctionId
  readonly function_name: string
  readonly version: number
  readonly split: SplitView | null
  readonly target: string
  readonly strategy: Strategy
  readonly status: DeploymentStatus
  readonly message: string
  readonly revision: number
  readonly created_by: string
  readonly created_at: string
  readonly updated_at: string
  /** Whether the driver says how it ends; whether it has not ended; and whether its last step has begun. */
  readonly driven: boolean
  readonly active: boolean
  readonly whole: boolean
}

export interface TargetRow {
  readonly deployment_id: DeploymentId
  readonly node_id: NodeId
  readonly pop_id: PopId
  readonly state: TargetState
  readonly step: number
  readonly previous: Previous
  readonly error_code: string | null
  readonly error_message: string | null
  readonly updated_at: string
}
