/** A row of the routes table as slices other than `routes` read it, and the route that nodes get of it. */

import type { FunctionId, RouteId } from '../protocol/ids.ts'
import type { Method, PathType, Route } from '../protocol/manifest.ts'

/** The columns of a route that nodes learn. `methods` is JSON. */
export interface RouteRow {
  readonly id: RouteId
  readonly host: string
  readonly path: string
  readonly path_type: PathType
  readonly methods: string
  readonly priority: number
  readonly function_id: FunctionId
  readonly pop_selector: string | null
}

export const ROUTE_ROW_COLUMNS =
  'id, host, path, path_type, methods, priority, function_id, pop_selector'

/** The route as plans and notices carry it; whom it is for stays behind. */
export function toRoute(row: RouteRow): Route {
  return {
    route_id: row.id,
    host: row.host,
    path: row.path,
    path_type: row.path_type,
    methods: JSON.parse(row.methods) as Method[],
    priority: row.priority,
    function_id: row.function_id,
  }
}
