/** Queries of the routes API, and the rows behind it. */

import { z } from 'zod'

import { pageQuerySchema } from '../../protocol/api.ts'
import { routeIdSchema } from '../../protocol/ids.ts'
import type { RouteRow } from '../route-row.ts'

export const routeParams = z.strictObject({ id: routeIdSchema })

export const routeQuery = pageQuerySchema.extend({
  cursor: routeIdSchema.optional(),
  /** A function's id or name. */
  function: z.string().min(1).max(63).optional(),
  host: z
    .string()
    .max(253)
    .transform((host) => host.toLowerCase())
    .optional(),
})
export type RouteQuery = z.infer<typeof routeQuery>

export interface StoredRouteRow extends RouteRow {
  readonly function_name: string
  readonly revision: number
  readonly created_at: string
  readonly updated_at: string
}
