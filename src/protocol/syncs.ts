/** Bodies of the history of a node's syncs, and of where a route is live. */

import { z } from 'zod'

import { routeViewSchema } from './api.ts'
import { nodeIdSchema, popIdSchema, revisionSchema, timestampSchema, uuidSchema } from './ids.ts'
import { functionResultSchema } from './plan.ts'
import { schemaResultSchema } from './schemas.ts'

/** Records kept per node; older ones go when a new one is written. */
export const syncRecordsPerNodeMax = 100
/** Failures that a list shows of one record. */
export const syncFailuresShownMax = 20

export const syncRecordViewSchema = z.strictObject({
  id: uuidSchema,
  /** Where the node was; 0: it took a full plan. */
  base_revision: revisionSchema,
  revision: revisionSchema,
  /** Whether all of it worked. */
  succeeded: z.boolean(),
  /** Functions brought into service, and those that were not; the first of these in `failures`. */
  deployed: z.int(),
  failed: z.int(),
  failures: z.array(functionResultSchema),
  /** The first schemas that failed on the node, which were rolled back there. */
  schema_failures: z.array(schemaResultSchema),
  /** Kinds of actions that the node could not read and left out. */
  skipped: z.array(z.string()),
  duration_ms: z.number(),
  created_at: timestampSchema,
})
export type SyncRecordView = z.infer<typeof syncRecordViewSchema>

/** Over all records that are kept; null where there are none. */
export const syncStatisticsSchema = z.strictObject({
  syncs: z.int(),
  succeeded: z.int(),
  success_rate: z.number().nullable(),
  duration_ms: z
    .strictObject({ min: z.number(), median: z.number(), p95: z.number(), max: z.number() })
    .nullable(),
})
export type SyncStatistics = z.infer<typeof syncStatisticsSchema>

/** `GET /nodes/:id/syncs`, newest first. */
export const syncHistorySchema = z.strictObject({
  items: z.array(syncRecordViewSchema),
  next_cursor: z.string().nullable(),
  statistics: syncStatisticsSchema,
})
export type SyncHistory = z.infer<typeof syncHistorySchema>

/** A node that should have a route. */
export const routeNodeViewSchema = z.strictObject({
  node_id: nodeIdSchema,
  pop_id: popIdSchema,
  /** Whether requests there find the route. */
  live: z.boolean(),
  applied_revision: revisionSchema,
})
export type RouteNodeView = z.infer<typeof routeNodeViewSchema>

/** `GET /routes/:id` */
export const routeDetailSchema = routeViewSchema.extend({ nodes: z.array(routeNodeViewSchema) })
export type RouteDetail = z.infer<typeof routeDetailSchema>
