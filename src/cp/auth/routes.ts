/** API keys over HTTP. */

import { z } from 'zod'

import { pageSchema } from '../../protocol/api.ts'
import type { Endpoint } from '../endpoint.ts'
import { endpoint } from '../endpoint.ts'
import type { ApiKeys } from './api-keys.ts'
import {
  apiKeyCreatedSchema,
  apiKeyCreationSchema,
  apiKeyQuerySchema,
  apiKeyViewSchema,
} from './schema.ts'

export function apiKeyEndpoints(keys: ApiKeys): readonly Endpoint[] {
  return [
    endpoint({
      method: 'POST',
      path: '/api-keys',
      tag: 'api-keys',
      summary: 'Makes an API key; the key is shown this once',
      access: 'owner',
      body: apiKeyCreationSchema,
      status: 201,
      response: apiKeyCreatedSchema,
      handle: ({ body, context }) => keys.create(body, context),
    }),
    endpoint({
      method: 'GET',
      path: '/api-keys',
      tag: 'api-keys',
      summary: 'Lists API keys, revoked ones too',
      access: 'owner',
      query: apiKeyQuerySchema,
      status: 200,
      response: pageSchema(apiKeyViewSchema),
      handle: ({ query }) => keys.list(query),
    }),
    endpoint({
      method: 'DELETE',
      path: '/api-keys/:id',
      tag: 'api-keys',
      summary: 'Revokes an API key at once',
      access: 'owner',
      params: z.strictObject({ id: z.string().max(40) }),
      status: 204,
      async handle({ params, context }) {
        await keys.revoke(params.id, context)
        return undefined
      },
    }),
  ]
}
