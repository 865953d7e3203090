/** HTTP of routes [R9 C19]. */

import {
  pageSchema,
  routeCreationSchema,
  routeUpdateSchema,
  routeViewSchema,
} from '../../protocol/api.ts'
import { routeDetailSchema } from '../../protocol/syncs.ts'
import { endpoint, type Endpoint } from '../endpoint.ts'
import { routeParams, routeQuery } from './schema.ts'
import type { RouteService } from './service.ts'

export function routeEndpoints(routes: RouteService): Endpoint[] {
  return [
    endpoint({
      method: 'POST',
      path: '/routes',
      tag: 'routes',
      summary: 'Send a host and path to a function',
      access: 'developer',
      body: routeCreationSchema,
      status: 201,
      response: routeViewSchema,
      handle: ({ body, context }) => routes.create(context, body),
    }),
    endpoint({
      method: 'POST',
      path: '/routes/check',
      tag: 'routes',
      summary: 'Say whether a route would be created, and create none',
      access: 'developer',
      body: routeCreationSchema,
      status: 204,
      handle: async ({ body }) => {
        await routes.check(body)
        return undefined
      },
    }),
    endpoint({
      method: 'GET',
      path: '/routes',
      tag: 'routes',
      summary: 'List routes, oldest first',
      access: 'viewer',
      query: routeQuery,
      status: 200,
      response: pageSchema(routeViewSchema),
      handle: ({ query }) => routes.list(query),
    }),
    endpoint({
      method: 'GET',
      path: '/routes/:id',
      tag: 'routes',
      summary: 'Show a route, and the nodes that should have it',
      access: 'viewer',
      params: routeParams,
      status: 200,
      response: routeDetailSchema,
      handle: ({ params }) => routes.get(params.id),
    }),
    endpoint({
      method: 'PUT',
      path: '/routes/:id',
      tag: 'routes',
      summary: 'Change fields of a route',
      access: 'developer',
      params: routeParams,
      body: routeUpdateSchema,
      status: 200,
      response: routeViewSchema,
      handle: ({ params, body, context }) => routes.update(context, params.id, body),
    }),
    endpoint({
      method: 'DELETE',
      path: '/routes/:id',
      tag: 'routes',
      summary: 'Delete a route',
      access: 'developer',
      params: routeParams,
      status: 204,
      handle: async ({ params, context }) => {
        await routes.remove(context, params.id)
        return undefined
      },
    }),
  ]
}
