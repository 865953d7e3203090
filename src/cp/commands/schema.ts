/** Parameters of the commands API, and the rows behind it. */

import { z } from 'zod'

import { pageQuerySchema } from '../../protocol/api.ts'
import {
  commandIdSchema,
  commandResultSchema,
  commandStateSchema,
  commandViewSchema,
  type CommandId,
  type CommandState,
  type CommandType,
  type CommandView,
} from '../../protocol/commands.ts'
import { nodeIdSchema, type NodeId } from '../../protocol/ids.ts'

export const commandParams = z.strictObject({ id: commandIdSchema })
export const nodeCommandsParams = z.strictObject({ id: nodeIdSchema })
export const nodeCommandParams = z.strictObject({ id: nodeIdSchema, command_id: commandIdSchema })

export const commandQuery = pageQuerySchema.extend({
  cursor: commandIdSchema.optional(),
  state: commandStateSchema.optional(),
})
export type CommandQuery = z.infer<typeof commandQuery>

export interface CommandRow {
  readonly id: CommandId
  readonly node_id: NodeId
  readonly type: CommandType
  /** JSON. */
  readonly params: string
  readonly state: CommandState
  readonly created_by: string
  readonly created_at: string
  readonly deadline_at: string
  readonly give_up_at: string
  readonly delivered_at: string | null
  readonly finished_at: string | null
  /** JSON; null while there is none. */
  readonly result: string | null
  readonly error_code: string | null
  readonly error_message: string | null
}

const paramsSchema = commandViewSchema.shape.params
const detailSchema = commandResultSchema.shape.detail

export function viewOf(row: CommandRow): CommandView {
  const { params, result, error_code, error_message, give_up_at: _giveUp, ...rest } = row
  return {
    ...rest,
    params: paramsSchema.parse(JSON.parse(params)),
    detail: detailSchema.parse(JSON.parse(result ?? '{}')),
    error: error_code === null ? null : { code: error_code, message: error_message ?? '' },
  }
}
