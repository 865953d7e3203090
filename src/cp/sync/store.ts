/** What a plan is made of, and the record of what became of it: statements on nodes, assignments, routes, sync_records. */

import type { NodeId } from '../../protocol/ids.ts'
import type { SyncAck } from '../../protocol/plan.ts'
import type { Sql, Transaction } from '../db/database.ts'
import { ROUTE_ROW_COLUMNS } from '../route-row.ts'
import type { AssignmentRow, PlanRouteRow } from './plan.ts'

/** Records kept per node; older ones go when a new one is written. */
const syncRecordsPerNodeMax = 100

export interface SyncNodeRow {
  readonly id: NodeId
  readonly pop_id: string
  readonly desired_revision: number
  readonly applied_revision: number
}

export async function syncNode(sql: Sql, nodeId: NodeId): Promise<SyncNodeRow | null> {
  const row = await sql.get(
    'SELECT id, pop_id, desired_revision, applied_revision FROM nodes WHERE id = ?',
    [nodeId],
  )
  return row as unknown as SyncNodeRow | null
}

/** Every live assignment of the node, and its tombstones newer than `since`. */
export async function assignmentsOf(
  sql: Sql,
  nodeId: NodeId,
  since: number,
): Promise<AssignmentRow[]> {
  const rows = await sql.all(
    `SELECT function_id, version, deployment_id, revision, removed FROM assignments
     WHERE node_id = ? AND (removed = 0 OR revision > ?) ORDER BY revision, function_id`,
    [nodeId, since],
  )
  return rows.map((row) => ({ ...row, removed: row['removed'] === 1 }) as unknown as AssignmentRow)
}

/** Routes changed since, and all routes of the functions whose assignment to the node changed since. */
export async function routesSince(
  sql: Sql,
  nodeId: NodeId,
  since: number,
): Promise<PlanRouteRow[]> {
  const columns = `${ROUTE_ROW_COLUMNS}, revision, deleted_at IS NOT NULL AS deleted`
  // A union, because each half has its index and an OR of both has none.
  const rows = await sql.all(
    `SELECT ${columns} FROM routes WHERE revision > ?2
     UNION
     SELECT ${columns} FROM routes WHERE deleted_at IS NULL AND function_id IN
       (SELECT function_id FROM assignments WHERE node_id = ?1 AND revision > ?2)
     ORDER BY revision, id`,
    [nodeId, since],
  )
  return rows.map(toPlanRoute)
}

/** Every live route of the functions assigned to the node. */
export async function routesOf(sql: Sql, nodeId: NodeId): Promise<PlanRouteRow[]> {
  const rows = await sql.all(
    `SELECT ${ROUTE_ROW_COLUMNS}, revision, 0 AS deleted FROM routes
     WHERE deleted_at IS NULL AND function_id IN
       (SELECT function_id FROM assignments WHERE node_id = ? AND removed = 0)
     ORDER BY revision, id`,
    [nodeId],
  )
  return rows.map(toPlanRoute)
}

function toPlanRoute(row: Readonly<Record<string, unknown>>): PlanRouteRow {
  return { ...row, deleted: row['deleted'] === 1 } as unknown as PlanRouteRow
}

/** A revision never goes back, unless the node has taken a full plan. */
export async function setApplied(
  tx: Transaction,
  nodeId: NodeId,
  revision: number,
  full: boolean,
): Promise<void> {
  const value = full ? '?' : 'max(applied_revision, ?)'
  await tx.run(`UPDATE nodes SET applied_revision = ${value} WHERE id = ?`, [revision, nodeId])
}

export async function insertSyncRecord(
  tx: Transaction,
  nodeId: NodeId,
  ack: SyncAck,
  now: string,
): Promise<void> {
  const succeeded = ack.results.every((result) => result.state === 'deployed')
  await tx.run(
    `INSERT INTO sync_records (id, node_id, base_revision, revision, succeeded, results, duration_ms, created_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    [
      Bun.randomUUIDv7(),
      nodeId,
      ack.base_revision,
      ack.revision,
      succeeded ? 1 : 0,
      JSON.stringify(ack.results),
      ack.duration_ms,
      now,
    ],
  )
  await tx.run(
    `DELETE FROM sync_records WHERE node_id = ?1 AND id IN (
       SELECT id FROM sync_records WHERE node_id = ?1 ORDER BY created_at DESC, id DESC LIMIT -1 OFFSET ?2)`,
    [nodeId, syncRecordsPerNodeMax],
  )
}
