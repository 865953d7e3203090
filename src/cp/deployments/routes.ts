/** HTTP of deployments [R2 C18]. */

import { deploymentCreationSchema, deploymentViewSchema, pageSchema } from '../../protocol/api.ts'
import {
  deploymentPlanViewSchema,
  rollbackSchema,
  ROLLOUT_ORDERS,
  rolloutOrderSchema,
  type RolloutOrder,
} from '../../protocol/rollout.ts'
import { endpoint, type Endpoint } from '../endpoint.ts'
import { deploymentParams, deploymentQuery, functionParams } from './schema.ts'
import type { DeploymentService } from './service.ts'

const ORDER_SUMMARIES: Readonly<Record<RolloutOrder, string>> = {
  pause: 'Hold a rollout where it is',
  resume: 'Let a paused rollout go on',
  promote: 'Let a rollout go on at once, without the rest of its present step',
  abort: 'Stop a rollout and give its nodes back what they ran',
}

export function deploymentEndpoints(deployments: DeploymentService): Endpoint[] {
  return [
    ...ROLLOUT_ORDERS.map((order) => orderEndpoint(deployments, order)),
    endpoint({
      method: 'POST',
      path: '/functions/:id/plan',
      tag: 'deployments',
      summary: 'Show what a deployment would change, node by node, without changing anything',
      access: 'viewer',
      params: functionParams,
      body: deploymentCreationSchema,
      status: 200,
      response: deploymentPlanViewSchema,
      handle: ({ params, body }) => deployments.plan(params.id, body),
    }),
    endpoint({
      method: 'POST',
      path: '/functions/:id/rollback',
      tag: 'deployments',
      summary: 'Put an earlier version in service again, everywhere at once',
      access: 'developer',
      params: functionParams,
      body: rollbackSchema,
      status: 202,
      response: deploymentViewSchema,
      handle: ({ params, body, context }) => deployments.rollback(context, params.id, body),
    }),
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

function orderEndpoint(deployments: DeploymentService, order: RolloutOrder): Endpoint {
  return endpoint({
    method: 'POST',
    path: `/deployments/:id/${order}`,
    tag: 'deployments',
    summary: ORDER_SUMMARIES[order],
    access: 'developer',
    params: deploymentParams,
    body: rolloutOrderSchema,
    status: 202,
    response: deploymentViewSchema,
    handle: ({ params, body, context }) =>
      deployments.order(context, params.id, order, body.message),
  })
}
