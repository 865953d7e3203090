/** The routes a deployment asks for: those that are missing are created, those that are there already are left alone. */

import { routeViewSchema, type RouteView } from '../../protocol/api.ts'
import type { Method } from '../../protocol/manifest.ts'
import type { ApiClient } from '../api-client.ts'
import type { Progress } from '../progress.ts'
import { showRoute, type RouteText } from '../route-text.ts'

/** All routes of the function, after `wanted` ones were made sure of. A route of another function is a conflict (409). */
export async function ensureRoutes(
  client: ApiClient,
  functionId: string,
  wanted: readonly RouteText[],
  methods: readonly Method[],
  progress: Progress,
): Promise<readonly RouteView[]> {
  const routes = await client.list('/routes', routeViewSchema, { function: functionId })
  for (const route of wanted) {
    if (routes.some((present) => isSameRoute(present, route, methods))) continue
    const body = { ...route, methods, function: functionId }
    const created = await client.post('/routes', routeViewSchema, body)
    progress.line(`route ${showRoute(created)} created`)
    routes.push(created)
  }
  return routes
}

/** The route is there already, with these methods. */
export function isSameRoute(
  present: RouteView,
  wanted: RouteText,
  methods: readonly Method[],
): boolean {
  return (
    present.host === wanted.host &&
    present.path === wanted.path &&
    present.path_type === wanted.path_type &&
    new Set(present.methods).symmetricDifference(new Set(methods)).size === 0
  )
}
