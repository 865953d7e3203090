/** HTTP of nodes and join tokens [C4 C7.1 R7 R12]. */

import {
  joinTokenCreationSchema,
  joinTokenViewSchema,
  nodeCredentialsSchema,
  nodeDetailSchema,
  nodeRegistrationSchema,
  nodeViewSchema,
  pageSchema,
} from '../../protocol/api.ts'
import { heartbeatAnswerSchema, heartbeatSchema } from '../../protocol/messages.ts'
import { endpoint, type Endpoint } from '../endpoint.ts'
import { nodeParams, nodeQuery } from './schema.ts'
import type { NodeService } from './service.ts'

export function nodeEndpoints(nodes: NodeService): Endpoint[] {
  return [...joiningEndpoints(nodes), ...lifeEndpoints(nodes)]
}

function joiningEndpoints(nodes: NodeService): Endpoint[] {
  return [
    endpoint({
      method: 'POST',
      path: '/join-tokens',
      tag: 'nodes',
      summary: 'Make a single-use token with which a node may join a POP',
      access: 'owner',
      body: joinTokenCreationSchema,
      status: 201,
      response: joinTokenViewSchema,
      handle: ({ body, context }) => nodes.createJoinToken(context, body),
    }),
    endpoint({
      method: 'POST',
      path: '/nodes/register',
      tag: 'nodes',
      summary: 'Join with a join token; answers the credentials of the node',
      access: 'join_token',
      body: nodeRegistrationSchema,
      status: 201,
      response: nodeCredentialsSchema,
      handle: ({ body, context }) => nodes.register(context, body),
    }),
    endpoint({
      method: 'POST',
      path: '/nodes/:id/token',
      tag: 'nodes',
      summary: 'Renew the token of a node',
      access: 'node',
      params: nodeParams,
      status: 201,
      response: nodeCredentialsSchema,
      handle: ({ params, context }) => nodes.renew(context, params.id),
    }),
  ]
}

function lifeEndpoints(nodes: NodeService): Endpoint[] {
  return [
    endpoint({
      method: 'POST',
      path: '/nodes/:id/heartbeat',
      tag: 'nodes',
      summary: 'A sign of life; answers what the node does not have yet',
      access: 'node',
      params: nodeParams,
      body: heartbeatSchema,
      status: 200,
      response: heartbeatAnswerSchema,
      handle: ({ params, body }) => nodes.heartbeat(params.id, body),
    }),
    endpoint({
      method: 'GET',
      path: '/nodes',
      tag: 'nodes',
      summary: 'List nodes in order of their ids',
      access: 'viewer',
      query: nodeQuery,
      status: 200,
      response: pageSchema(nodeViewSchema),
      handle: ({ query }) => nodes.list(query),
    }),
    endpoint({
      method: 'GET',
      path: '/nodes/:id',
      tag: 'nodes',
      summary: 'Show a node with its functions',
      access: 'viewer',
      params: nodeParams,
      status: 200,
      response: nodeDetailSchema,
      handle: ({ params }) => nodes.get(params.id),
    }),
    endpoint({
      method: 'DELETE',
      path: '/nodes/:id',
      tag: 'nodes',
      summary: 'Delete a node; its token and its session end at once',
      access: 'owner',
      params: nodeParams,
      status: 204,
      handle: async ({ params, context }) => {
        await nodes.remove(context, params.id)
        return undefined
      },
    }),
  ]
}
