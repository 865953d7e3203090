/** HTTP of the sync: the plan and its acknowledgement [C7.3]. */

import { z } from 'zod'

import { nodeIdSchema, uuidSchema } from '../../protocol/ids.ts'
import { syncHistorySchema, syncRecordsPerNodeMax } from '../../protocol/syncs.ts'
import { planSchema, syncAckSchema, type Plan } from '../../protocol/plan.ts'
import { endpoint, type Endpoint } from '../endpoint.ts'
import type { SyncService } from './service.ts'

const nodeParams = z.strictObject({ id: nodeIdSchema })
const planQuery = z.strictObject({
  revision: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
})

const historyQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(syncRecordsPerNodeMax).default(syncRecordsPerNodeMax),
  cursor: uuidSchema.optional(),
})

/** Puts the values of secrets into a plan; `secrets/reveal.ts`. */
type RevealPlan = (plan: Plan) => Promise<Plan>

export function syncEndpoints(sync: SyncService, reveal: RevealPlan): Endpoint[] {
  return [
    endpoint({
      method: 'GET',
      path: '/nodes/:id/sync',
      tag: 'sync',
      summary: 'The plan that brings a node from a revision to what it should serve',
      access: 'node_or_viewer',
      params: nodeParams,
      query: planQuery,
      status: 200,
      response: planSchema,
      async handle({ params, query, context }) {
        const plan = await sync.plan(params.id, query.revision)
        // Users may look at plans, not at secrets.
        return context.caller.kind === 'node' ? reveal(plan) : plan
      },
    }),
    endpoint({
      method: 'POST',
      path: '/nodes/:id/sync/ack',
      tag: 'sync',
      summary: 'The node reports what became of a plan',
      access: 'node',
      params: nodeParams,
      body: syncAckSchema,
      status: 204,
      handle: async ({ params, body }) => {
        await sync.acknowledge(params.id, body)
        return undefined
      },
    }),
    endpoint({
      method: 'GET',
      path: '/nodes/:id/syncs',
      tag: 'sync',
      summary: "What became of a node's syncs, newest first, with figures over all that are kept",
      access: 'viewer',
      params: nodeParams,
      query: historyQuery,
      status: 200,
      response: syncHistorySchema,
      handle: ({ params, query }) =>
        sync.history(params.id, { limit: query.limit, before: query.cursor ?? null }),
    }),
  ]
}
