/** Secrets over HTTP: values go in, names and numbers come out. */

import { z } from 'zod'

import { pageQuerySchema, pageSchema } from '../../protocol/api.ts'
import { uuidSchema } from '../../protocol/ids.ts'
import {
  secretNameSchema,
  secretPutSchema,
  secretQuerySchema,
  secretViewSchema,
} from '../../protocol/secrets.ts'
import { endpoint, type Endpoint } from '../endpoint.ts'
import type { SecretService } from './service.ts'

export function secretEndpoints(secrets: SecretService): Endpoint[] {
  return [
    endpoint({
      method: 'POST',
      path: '/secrets',
      tag: 'secrets',
      summary: 'Stores a value, sealed, under the next number of a secret',
      access: 'developer',
      body: secretPutSchema,
      status: 201,
      response: secretViewSchema,
      handle: ({ body, context }) => secrets.put(context, body),
    }),
    endpoint({
      method: 'GET',
      path: '/secrets',
      tag: 'secrets',
      summary: 'Lists secrets with their numbers and users, never their values',
      access: 'viewer',
      query: pageQuerySchema.extend({ cursor: uuidSchema.optional() }),
      status: 200,
      response: pageSchema(secretViewSchema),
      handle: ({ query }) => secrets.list(query),
    }),
    endpoint({
      method: 'DELETE',
      path: '/secrets/:name',
      tag: 'secrets',
      summary: 'Erases a secret that no version uses',
      access: 'developer',
      params: z.strictObject({ name: secretNameSchema }),
      query: secretQuerySchema,
      status: 204,
      async handle({ params, query, context }) {
        const { function: owner, force } = query
        await secrets.remove(context, params.name, owner ?? null, force === 'true')
        return undefined
      },
    }),
  ]
}
