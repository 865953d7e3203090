/** HTTP of the sync: the plan and its acknowledgement [C7.3]. */

import { z } from 'zod'

import { nodeIdSchema } from '../../protocol/ids.ts'
import { planSchema, syncAckSchema } from '../../protocol/plan.ts'
import { endpoint, type Endpoint } from '../endpoint.ts'
import type { SyncService } from './service.ts'

const nodeParams = z.strictObject({ id: nodeIdSchema })
const planQuery = z.strictObject({
  revision: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
})

export function syncEndpoints(sync: SyncService): Endpoint[] {
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
      handle: ({ params, query }) => sync.plan(params.id, query.revision),
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
  ]
}
