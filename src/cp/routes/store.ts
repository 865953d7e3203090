/** Statements on routes. */

import type { RouteView } from '../../protocol/api.ts'
import type { FunctionId, RouteId } from '../../protocol/ids.ts'
import type { Method } from '../../protocol/manifest.ts'
import type { Sql, SqlValue, Transaction } from '../db/database.ts'
import type { StoredRouteRow } from './schema.ts'

const SELECT = `SELECT r.id, r.host, r.path, r.path_type, r.methods, r.function_id, f.name AS function_name,
  r.pop_selector, r.priority, r.revision, r.created_at, r.updated_at
  FROM routes r JOIN functions f ON f.id = r.function_id WHERE r.deleted_at IS NULL`

export async function getRoute(sql: Sql, id: RouteId): Promise<StoredRouteRow | null> {
  return (await sql.get(`${SELECT} AND r.id = ?`, [id])) as unknown as StoredRouteRow | null
}

/** Oldest first; ids are UUIDv7, so the id of the last row of a page is its cursor. */
export async function listRoutes(
  sql: Sql,
  filter: {
    readonly function_id: FunctionId | null
    readonly host: string | null
    readonly after: string | null
    readonly rows_max: number
  },
): Promise<StoredRouteRow[]> {
  const where: string[] = []
  const parameters: SqlValue[] = []
  const add = (condition: string, value: string | null) => {
    if (value === null) return
    where.push(` AND ${condition}`)
    parameters.push(value)
  }
  add('r.function_id = ?', filter.function_id)
  add('r.host = ?', filter.host)
  add('r.id > ?', filter.after)
  const rows = await sql.all(`${SELECT}${where.join('')} ORDER BY r.id LIMIT ?`, [
    ...parameters,
    filter.rows_max,
  ])
  return rows as unknown as StoredRouteRow[]
}

/** Routes that take the same place in the order of matching as `route` for some request, of any function. */
export async function sameSpot(
  sql: Sql,
  route: Pick<StoredRouteRow, 'id' | 'host' | 'path' | 'path_type' | 'priority'>,
): Promise<StoredRouteRow[]> {
  const rows = await sql.all(
    `${SELECT} AND r.host = ? AND r.path = ? AND r.path_type = ? AND r.priority = ? AND r.id <> ?
     ORDER BY r.id`,
    [route.host, route.path, route.path_type, route.priority, route.id],
  )
  return rows as unknown as StoredRouteRow[]
}

export async function liveRoutesOf(sql: Sql, functionId: FunctionId): Promise<StoredRouteRow[]> {
  return (await sql.all(`${SELECT} AND r.function_id = ? ORDER BY r.id`, [
    functionId,
  ])) as unknown as StoredRouteRow[]
}

/** Those that are not deleted, as triggers keep count of them. */
export async function countRoutes(sql: Sql): Promise<number> {
  const row = await sql.get('SELECT routes FROM route_counter WHERE id = 1')
  return Number(row?.['routes'])
}

/** Inserts or replaces a route. */
export async function putRoute(tx: Transaction, row: StoredRouteRow): Promise<void> {
  await tx.run(
    `INSERT INTO routes (id, host, path, path_type, methods, function_id, pop_selector, priority,
       revision, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET host = excluded.host, path = excluded.path,
       path_type = excluded.path_type, methods = excluded.methods, function_id = excluded.function_id,
       pop_selector = excluded.pop_selector, priority = excluded.priority,
       revision = excluded.revision, updated_at = excluded.updated_at`,
    [
      row.id,
      row.host,
      row.path,
      row.path_type,
      row.methods,
      row.function_id,
      row.pop_selector,
      row.priority,
      row.revision,
      row.created_at,
      row.updated_at,
    ],
  )
}

/** Leaves a tombstone, so that deltas tell nodes to drop the route. */
export async function buryRoute(
  tx: Transaction,
  id: RouteId,
  revision: number,
  now: string,
): Promise<void> {
  await tx.run('UPDATE routes SET deleted_at = ?, updated_at = ?, revision = ? WHERE id = ?', [
    now,
    now,
    revision,
    id,
  ])
}

/** What a route is by itself, without where it is live. */
export function toFields(row: StoredRouteRow): Omit<RouteView, 'delivery'> {
  return { ...row, methods: JSON.parse(row.methods) as Method[] }
}
