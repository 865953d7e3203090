/** What a deployment would do that the control plane has no plan of yet, and what it would do beside the plan. */

import { z } from 'zod'

import { EdgefnError } from '../../errors.ts'
import { nodeViewSchema, routeViewSchema, type NodeView } from '../../protocol/api.ts'
import type { Method } from '../../protocol/manifest.ts'
import { deploymentPlanViewSchema, type DeploymentPlanView } from '../../protocol/rollout.ts'
import { selectsPop } from '../../protocol/selector.ts'
import { ControlPlaneError, type ApiClient } from '../api-client.ts'
import type { RouteText } from '../route-text.ts'
import { isSameRoute } from './routes.ts'

/** The function is not there, or no version of it is ready. */
const NOTHING_YET: ReadonlySet<string> = new Set([
  ...['function_not_found', 'version_not_found', 'module_missing'],
])

/** The plan with the newest version that is ready; null when there is none. Throws as the API does, `conflict` for `check_index`. */
export async function planOrNull(
  client: ApiClient,
  name: string,
  body: Readonly<Record<string, unknown>>,
): Promise<DeploymentPlanView | null> {
  const plan = client.post(`/functions/${name}/plan`, deploymentPlanViewSchema, body)
  return plan.catch((error: unknown) => nothingYet(error, null))
}

/** `none` for the error of what is yet to be made; throws all others. */
function nothingYet<T>(error: unknown, none: T): T {
  if (error instanceof ControlPlaneError && NOTHING_YET.has(error.code)) return none
  throw error
}

/** Nodes that a deployment to `target` would take. Throws `no_edge_nodes` when there are none. */
export async function nodesOf(client: ApiClient, target: string): Promise<NodeView[]> {
  const nodes = await client.list('/nodes', nodeViewSchema)
  const selector = target === 'all' ? null : target
  const taken = nodes.filter((node) => !node.cordoned && selectsPop(selector, node.pop_id))
  if (taken.length > 0) return taken
  throw new EdgefnError('no_edge_nodes', 'No edge nodes available in target POP')
}

/** Those of the routes that the function `name` does not have. Throws as creating them would, and creates none. */
export async function newRoutes(
  client: ApiClient,
  name: string,
  wanted: readonly RouteText[],
  methods: readonly Method[],
): Promise<RouteText[]> {
  if (wanted.length === 0) return []
  const own = await client
    .list('/routes', routeViewSchema, { function: name })
    .catch((error: unknown) => nothingYet(error, []))
  const missing = wanted.filter(
    (route) => !own.some((present) => isSameRoute(present, route, methods)),
  )
  for (const route of missing) {
    await client.post('/routes/check', z.undefined(), { ...route, methods, function: name })
  }
  return missing
}
