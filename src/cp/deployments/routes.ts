/** HTTP of deployments [R2 C18]. */

import { deploymentCreationSchema, deploymentViewSchema, pageSchema } from '../../protocol/api.ts'
import { endpoint, type Endpoint } from '../endpoint.ts'
import { deploymentParams, deploymentQuery, functionParams } from './schema.ts'
import type { DeploymentService } from './service.ts'

export function deploymentEndpoints(deployments: DeploymentService): Endpoint[] {
  return [
    endpoint({
      method: 'POST',
      path: '/functions/:id/deploy',
      tag: 'deployments',
      summary: 'Put a version in service on the nodes that the target selects',
      access: 'developer',
      params: functionParams,
      body: deploymentCreationSchema,
      status: 202,
      response: deploymentViewSchema,
      handle: ({ params, body, context }) => deployments.deploy(context, params.id, body),
    }),
    endpoint({
      method: 'GET',
      path: '/deployments',
      tag: 'deployments',
      summary: 'List deployments, newest first',
      access: 'viewer',
      query: deploymentQuery,
      status: 200,
      response: pageSchema(deploymentViewSchema),
      handle: ({ query }) => deployments.list(query),
    }),
    endpoint({
      method: 'GET',
      path: '/deployments/:id',
      tag: 'deployments',
      summary: 'Show a deployment with the state of every node',
      access: 'viewer',
      params: deploymentParams,
      status: 200,
      response: deploymentViewSchema,
      handle: ({ params }) => deployments.get(params.id),
    }),
  ]
}
