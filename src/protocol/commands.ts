/** Commands to nodes [C8]: what an operator asks for, what a node is handed, what it answers, and what is kept of it. */

import { z } from 'zod'

import { functionIdSchema, nodeIdSchema, timestampSchema, uuidSchema } from './ids.ts'
import { LIMITS } from './limits.ts'

export const commandIdSchema = uuidSchema.brand<'CommandId'>()
export type CommandId = z.infer<typeof commandIdSchema>

const NONE = z.strictObject({})
const seconds = (max: number) => z.number().min(1).max(max)

/** What a node does; `params` say how. */
const nodeCommandShapes = [
  /** Refuse new calls with 503 and let those that run end; lasts until `undrain`. */
  z.strictObject({ type: z.literal('drain'), params: NONE }),
  z.strictObject({ type: z.literal('undrain'), params: NONE }),
  /** Ask for the plan and apply it. */
  z.strictObject({ type: z.literal('sync'), params: NONE }),
  /** Remove cached modules: what is not in service, those of a function, or all. Those in service are fetched again. */
  z.strictObject({
    type: z.literal('purge_cache'),
    params: z.strictObject({
      scope: z.enum(['unused', 'function', 'all']),
      function_id: functionIdSchema.nullable(),
    }),
  }),
  /** Replace the worker processes, one after the other. */
  z.strictObject({ type: z.literal('restart_workers'), params: NONE }),
  /** With `for_seconds` the configured level returns after that time. */
  z.strictObject({
    type: z.literal('set_log_level'),
    params: z.strictObject({
      level: z.enum(['debug', 'info', 'warn', 'error']),
      for_seconds: seconds(LIMITS.commandLogLevelSecondsMax).nullable(),
    }),
  }),
  /** Act as if the control plane were gone. */
  z.strictObject({
    type: z.literal('isolate'),
    params: z.strictObject({ for_seconds: seconds(LIMITS.isolateSecondsMax) }),
  }),
  /** Drain, forget the credentials, end. */
  z.strictObject({ type: z.literal('remove'), params: NONE }),
] as const
export const nodeCommandSchema = z.discriminatedUnion('type', [...nodeCommandShapes])
export type NodeCommand = z.infer<typeof nodeCommandSchema>

export const commandTypeSchema = z.enum([
  'drain',
  'undrain',
  'cordon',
  'uncordon',
  'sync',
  'purge_cache',
  'restart_workers',
  'set_log_level',
  'isolate',
  'remove',
])
export type CommandType = z.infer<typeof commandTypeSchema>

const ttl = {
  /** Seconds in which a node may begin it; a node that is away until then never does. */
  ttl_seconds: seconds(LIMITS.commandSecondsMax).optional(),
  /** The same as a time of day of the control plane; at most one of the two. */
  deadline: timestampSchema.optional(),
}
const without = <T extends string>(type: T) =>
  z.strictObject({ type: z.literal(type), params: NONE.default({}), ...ttl })

/** Body of `POST /api/v1/nodes/:id/commands`. */
export const commandCreationSchema = z.discriminatedUnion(
  'type',
  [
    without('drain'),
    without('undrain'),
    without('cordon'),
    without('uncordon'),
    without('sync'),
    without('restart_workers'),
    without('remove'),
    z.strictObject({
      type: z.literal('purge_cache'),
      params: z.strictObject({
        scope: z.enum(['unused', 'function', 'all']).default('unused'),
        /** Name or id; with the scope `function`. */
        function: z.string().min(1).max(100).optional(),
      }),
      ...ttl,
    }),
    z.strictObject({
      type: z.literal('set_log_level'),
      params: z.strictObject({
        level: z.enum(['debug', 'info', 'warn', 'error']),
        for_seconds: seconds(LIMITS.commandLogLevelSecondsMax).optional(),
      }),
      ...ttl,
    }),
    z.strictObject({
      type: z.literal('isolate'),
      params: z.strictObject({ for_seconds: seconds(LIMITS.isolateSecondsMax) }),
      ...ttl,
    }),
  ],
  {
    error: ({ code }) =>
      code === 'invalid_union'
        ? `must be one of ${commandTypeSchema.options.join(', ')}`
        : undefined,
  },
)
export type CommandCreation = z.infer<typeof commandCreationSchema>

export const commandStateSchema = z.enum(['pending', 'delivered', 'succeeded', 'failed', 'expired'])
export type CommandState = z.infer<typeof commandStateSchema>

const commandErrorSchema = z.strictObject({
  code: z.string().min(1).max(100),
  message: z.string().max(2000),
})
const detailSchema = z.record(z.string().max(50), z.union([z.string().max(500), z.number()]))

/** Body of `POST /api/v1/nodes/:id/commands/:command_id/result`: what became of a command on the node. */
export const commandResultSchema = z.strictObject({
  state: z.enum(['succeeded', 'failed', 'expired']),
  /** Figures of what was done. */
  detail: detailSchema,
  error: commandErrorSchema.nullable(),
})
export type CommandResult = z.infer<typeof commandResultSchema>

export const commandViewSchema = z.strictObject({
  id: commandIdSchema,
  node_id: nodeIdSchema,
  type: commandTypeSchema,
  params: z.record(z.string(), z.union([z.string(), z.number(), z.null()])),
  state: commandStateSchema,
  created_by: z.string(),
  created_at: timestampSchema,
  deadline_at: timestampSchema,
  delivered_at: timestampSchema.nullable(),
  finished_at: timestampSchema.nullable(),
  detail: detailSchema,
  error: commandErrorSchema.nullable(),
})
export type CommandView = z.infer<typeof commandViewSchema>

/**
 * Answer to `GET /api/v1/nodes/:id/commands/pending`: what the node has not answered yet, in the order in which it was asked for.
 * `ttl_ms` counts from the answer, because the node's clock may be wrong; one that has none left may not be begun.
 */
export const pendingCommandsSchema = z.strictObject({
  commands: z.array(
    z.strictObject({ command_id: commandIdSchema, ttl_ms: z.number(), command: nodeCommandSchema }),
  ),
})
export type PendingCommands = z.infer<typeof pendingCommandsSchema>
export type PendingCommand = PendingCommands['commands'][number]

/** Control plane → node, `commands`: there is one to be fetched. A hint, which may be lost. */
export const commandHintSchema = z.strictObject({ command_id: commandIdSchema })

/** What commands have left on a node, a part of every view of it. */
export const nodeModesShape = {
  /** Deployments pass it by. */
  cordoned: z.boolean(),
  /** It answers new calls with 503. */
  drained: z.boolean(),
  /** It acts as if there were no control plane; null when it does not. */
  isolated_until: timestampSchema.nullable(),
  last_command: z
    .strictObject({ id: commandIdSchema, type: commandTypeSchema, state: commandStateSchema })
    .nullable(),
}
