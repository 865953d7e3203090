/** The sync plan: ordered actions that bring a node from a revision to a newer one (DESIGN section 7) [C5 C7.3]. */

import { z } from 'zod'

import {
  deploymentIdSchema,
  functionIdSchema,
  nodeIdSchema,
  revisionSchema,
  routeIdSchema,
  versionSchema,
} from './ids.ts'
import { LIMITS } from './limits.ts'
import { manifestSchema, routeSchema } from './manifest.ts'
import { planSchemaSchema, schemaResultSchema } from './schemas.ts'

/** Each action says what must hold, so doing it twice changes nothing. `put` replaces whatever was there. */
export const actionSchema = z.discriminatedUnion('action', [
  z.strictObject({ action: z.literal('put_schema'), schema: planSchemaSchema }),
  z.strictObject({ action: z.literal('put_function'), function: manifestSchema }),
  z.strictObject({ action: z.literal('put_route'), route: routeSchema }),
  z.strictObject({ action: z.literal('remove_route'), route_id: routeIdSchema }),
  z.strictObject({ action: z.literal('remove_function'), function_id: functionIdSchema }),
])
export type Action = z.infer<typeof actionSchema>

/**
 * Answer to `GET /api/v1/nodes/:id/sync?revision=N`. Actions come in the order above: schemas, by their
 * numbers, before the functions that use them, functions before the routes that need them, and removed after. A `full` plan is the whole desired state: what it does not name is to go.
 */
export const planSchema = z.strictObject({
  node_id: nodeIdSchema,
  base_revision: revisionSchema,
  revision: revisionSchema,
  full: z.boolean(),
  /** Domain below which versions are previewed by host name (`preview.ts`); absent: none. */
  preview_domain: z.string().optional(),
  actions: z.array(actionSchema),
})
export type Plan = z.infer<typeof planSchema>

/** What became of one function of a plan on the node. */
export const functionResultSchema = z.strictObject({
  function_id: functionIdSchema,
  version: versionSchema,
  deployment_id: deploymentIdSchema,
  state: z.enum(['deployed', 'failed']),
  error: z
    .strictObject({ code: z.string().min(1).max(100), message: z.string().max(2000) })
    .nullable(),
})
export type FunctionResult = z.infer<typeof functionResultSchema>

/** Body of `POST /api/v1/nodes/:id/sync/ack`: the node serves `revision`, but for the functions that failed. */
export const syncAckSchema = z.strictObject({
  base_revision: revisionSchema,
  revision: revisionSchema,
  results: z.array(functionResultSchema).max(20_000),
  /** Kinds of actions that the node could not read and left out: it is older than the control plane. */
  skipped: z.array(z.string().min(1).max(100)).max(100).optional(),
  /** What became of schemas; absent from nodes that know none. */
  schemas: z.array(schemaResultSchema).max(20_000).optional(),
  duration_ms: z.number().min(0).max(LIMITS.syncMsMax),
})
export type SyncAck = z.infer<typeof syncAckSchema>
