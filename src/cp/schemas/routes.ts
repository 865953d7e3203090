/** HTTP of schemas [C7.4]. */

import { pageSchema } from '../../protocol/api.ts'
import {
  schemaCreationSchema,
  schemaSummarySchema,
  schemaViewSchema,
} from '../../protocol/schemas.ts'
import { endpoint, type Endpoint } from '../endpoint.ts'
import { schemaParams, schemaQuery } from './schema.ts'
import type { SchemaService } from './service.ts'

export function schemaEndpoints(schemas: SchemaService): Endpoint[] {
  return [
    endpoint({
      method: 'POST',
      path: '/schemas',
      tag: 'schemas',
      summary: "Add SQL that nodes apply to the function's database, after those before it",
      access: 'developer',
      body: schemaCreationSchema,
      status: 201,
      response: schemaSummarySchema,
      handle: ({ body, context }) => schemas.create(context, body),
    }),
    endpoint({
      method: 'GET',
      path: '/schemas',
      tag: 'schemas',
      summary: 'List schemas, oldest first',
      access: 'viewer',
      query: schemaQuery,
      status: 200,
      response: pageSchema(schemaSummarySchema),
      handle: ({ query }) => schemas.list(query),
    }),
    endpoint({
      method: 'GET',
      path: '/schemas/:id',
      tag: 'schemas',
      summary: 'Show a schema, and what became of it on each node',
      access: 'viewer',
      params: schemaParams,
      status: 200,
      response: schemaViewSchema,
      handle: ({ params }) => schemas.get(params.id),
    }),
  ]
}
