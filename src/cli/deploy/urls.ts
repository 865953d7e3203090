/** Where a function can be called: its routes on a node that serves it. */

import {
  nodeViewSchema,
  type DeploymentView,
  type NodeView,
  type RouteView,
} from '../../protocol/api.ts'
import { selectsPop } from '../../protocol/selector.ts'
import type { ApiClient } from '../api-client.ts'

export interface CallableUrl {
  readonly url: string
  /** The Host header the route asks for; null when any will do. */
  readonly host: string | null
  /** The complete command to try it. */
  readonly curl: string
}

/** One URL per route, on the first node of the deployment that has the route and is there. Regex routes have no one URL. */
export async function callableUrls(
  client: ApiClient,
  deployment: DeploymentView,
  routes: readonly RouteView[],
): Promise<readonly CallableUrl[]> {
  const serving = new Set(
    deployment.targets.filter(({ state }) => state === 'deployed').map(({ node_id: id }) => id),
  )
  if (serving.size === 0 || routes.length === 0) return []
  const nodes = await client.list('/nodes', nodeViewSchema)
  // A degraded node serves, too. One that was told to take any free port does not know it when it registers.
  const usable = nodes.filter(
    ({ id, status, http_port: port }) => serving.has(id) && status !== 'offline' && port !== 0,
  )
  return routes.flatMap((route) => {
    const node = usable.find(({ pop_id: pop }) => selectsPop(route.pop_selector, pop))
    return node === undefined || route.path_type === 'regex' ? [] : [callableUrl(node, route)]
  })
}

function callableUrl(node: NodeView, route: RouteView): CallableUrl {
  const ip = node.ip.replace(/^::ffff:(?=\d+\.)/, '')
  const url = `http://${ip.includes(':') ? `[${ip}]` : ip}:${node.http_port}${route.path}`
  const host = route.host === '*' ? null : route.host.replace(/^\*/, 'any')
  const method =
    route.methods.length === 0 || route.methods.includes('GET') ? null : route.methods[0]
  const words = [
    'curl',
    ...(method === undefined || method === null ? [] : [`-X ${method}`]),
    ...(host === null ? [] : [`-H 'Host: ${host}'`]),
    url,
  ]
  return { url, host, curl: words.join(' ') }
}
