/** Webhooks over HTTP. URLs of receivers often are secrets, so that owners alone see them. */

import { z } from 'zod'

import { pageQuerySchema, pageSchema } from '../../protocol/api.ts'
import { uuidSchema } from '../../protocol/ids.ts'
import {
  webhookCreatedSchema,
  webhookCreationSchema,
  webhookDeliveryQuerySchema,
  webhookDeliverySchema,
  webhookViewSchema,
} from '../../protocol/webhooks.ts'
import { endpoint, type Endpoint } from '../endpoint.ts'
import type { WebhookService } from './service.ts'

const params = z.strictObject({ id: uuidSchema })

export function webhookEndpoints(webhooks: WebhookService): Endpoint[] {
  return [
    endpoint({
      method: 'POST',
      path: '/webhooks',
      tag: 'webhooks',
      summary: 'Have events sent to a URL; the secret that signs them is shown this once',
      access: 'owner',
      body: webhookCreationSchema,
      status: 201,
      response: webhookCreatedSchema,
      handle: ({ body, context }) => webhooks.create(context, body),
    }),
    endpoint({
      method: 'GET',
      path: '/webhooks',
      tag: 'webhooks',
      summary: 'List the webhooks, oldest first',
      access: 'owner',
      query: pageQuerySchema,
      status: 200,
      response: pageSchema(webhookViewSchema),
      handle: ({ query }) => webhooks.list(query.limit, query.cursor ?? null),
    }),
    endpoint({
      method: 'DELETE',
      path: '/webhooks/:id',
      tag: 'webhooks',
      summary: 'Delete a webhook, and what was not delivered to it yet',
      access: 'owner',
      params,
      status: 204,
      async handle({ params, context }) {
        await webhooks.delete(context, params.id)
        return undefined
      },
    }),
    endpoint({
      method: 'GET',
      path: '/webhooks/:id/deliveries',
      tag: 'webhooks',
      summary: 'What was sent to a webhook, what waits, and what came of it; newest first',
      access: 'owner',
      params,
      query: webhookDeliveryQuerySchema,
      status: 200,
      response: pageSchema(webhookDeliverySchema),
      handle: ({ params, query }) =>
        webhooks.deliveries(params.id, {
          state: query.state ?? null,
          limit: query.limit,
          cursor: query.cursor ?? null,
        }),
    }),
  ]
}
