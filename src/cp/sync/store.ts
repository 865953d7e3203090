/** What a plan is made of, and the record of what became of it: statements on nodes, assignments, routes, sync_records. */

import type { FunctionId, NodeId } from '../../protocol/ids.ts'
import type { SyncAck } from '../../protocol/plan.ts'
import type { Row, Sql, Transaction } from '../db/database.ts'
import { syncFailuresShownMax, syncRecordsPerNodeMax } from '../../protocol/syncs.ts'
import { ROUTE_ROW_COLUMNS } from '../route-row.ts'
import { readSplit } from '../split-column.ts'
import type { SchemaResult } from '../../protocol/schemas.ts'
import type { AssignmentRow, PlanRouteRow, PlanSchemaRow } from './plan.ts'

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

const ASSIGNMENT = 'a.function_id, a.version, a.split, a.deployment_id, a.revision, a.removed'

/** Every live assignment of the node. */
export async function assignmentsOf(sql: Sql, nodeId: NodeId): Promise<AssignmentRow[]> {
  const rows = await sql.all(
    `SELECT ${ASSIGNMENT} FROM assignments a WHERE a.node_id = ? AND a.removed = 0
     ORDER BY a.revision, a.function_id`,
    [nodeId],
  )
  return rows.map(toAssignment)
}

/** Assignments of the node changed since, and the live ones of the functions named: not all, of which there may be thousands. */
export async function assignmentsSince(
  sql: Sql,
  nodeId: NodeId,
  since: number,
  functionIds: Iterable<FunctionId>,
): Promise<AssignmentRow[]> {
  // From the functions to their assignments: the other way round it looks at all of the node.
  const rows = await sql.all(
    `SELECT ${ASSIGNMENT} FROM assignments a WHERE a.node_id = ?1 AND a.revision > ?2
     UNION
     SELECT ${ASSIGNMENT} FROM json_each(?3) AS f
       CROSS JOIN assignments a ON a.node_id = ?1 AND a.function_id = f.value WHERE a.removed = 0
     ORDER BY a.revision, a.function_id`,
    [nodeId, since, JSON.stringify([...functionIds])],
  )
  return rows.map(toAssignment)
}

function toAssignment(row: Row): AssignmentRow {
  const split = readSplit(row['split'])
  return { ...row, split, removed: row['removed'] === 1 } as unknown as AssignmentRow
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

function toPlanRoute(row: Row): PlanRouteRow {
  return { ...row, deleted: row['deleted'] === 1 } as unknown as PlanRouteRow
}

const SCHEMA_COLUMNS = 's.function_id, s.number, s.sha256, s.sql, s.pop_selector, s.revision'
const SCHEMAS = `SELECT ${SCHEMA_COLUMNS} FROM schemas s
  JOIN assignments a ON a.node_id = ?1 AND a.function_id = s.function_id AND a.removed = 0`

/** Schemas made since, and all of functions whose assignment changed since, without those that the node has applied. */
export async function schemasSince(
  sql: Sql,
  nodeId: NodeId,
  since: number,
): Promise<PlanSchemaRow[]> {
  const rows = await sql.all(
    `${SCHEMAS} WHERE (s.revision > ?2 OR a.revision > ?2) AND NOT EXISTS (
       SELECT 1 FROM schema_results r WHERE r.node_id = ?1 AND r.function_id = s.function_id
         AND r.number = s.number AND r.state = 'applied')
     ORDER BY s.function_id, s.number`,
    [nodeId, since],
  )
  return rows as unknown as PlanSchemaRow[]
}

/** Every schema of the functions assigned to the node. */
export async function schemasOf(sql: Sql, nodeId: NodeId): Promise<PlanSchemaRow[]> {
  const rows = await sql.all(`${SCHEMAS} ORDER BY s.function_id, s.number`, [nodeId])
  return rows as unknown as PlanSchemaRow[]
}

/** Keeps the newest word of a node on each schema; what it says of others is nothing. */
export async function recordSchemaResults(
  tx: Transaction,
  nodeId: NodeId,
  results: readonly SchemaResult[],
  now: string,
): Promise<void> {
  for (const { function_id, number, state, error } of results) {
    await tx.run(
      `INSERT INTO schema_results (node_id, function_id, number, state, error_code, error_message, updated_at)
       SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
       WHERE EXISTS (SELECT 1 FROM schemas WHERE function_id = ?2 AND number = ?3)
       ON CONFLICT (node_id, function_id, number) DO UPDATE SET state = excluded.state,
         error_code = excluded.error_code, error_message = excluded.error_message,
         updated_at = excluded.updated_at`,
      [nodeId, function_id, number, state, error?.code ?? null, error?.message ?? null, now],
    )
  }
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

/** Whether all that was asked of the node was done. */
export function hasSucceeded({ results, schemas = [], skipped = [] }: SyncAck): boolean {
  return (
    skipped.length === 0 &&
    results.every(({ state }) => state === 'deployed') &&
    schemas.every(({ state }) => state === 'applied')
  )
}

export async function insertSyncRecord(
  tx: Transaction,
  nodeId: NodeId,
  ack: SyncAck,
  now: string,
): Promise<void> {
  const { skipped, schemas = [] } = ack
  const failedSchemas = schemas.filter(({ state }) => state === 'failed')
  await tx.run(
    `INSERT INTO sync_records (id, node_id, base_revision, revision, succeeded, results, schema_failures, skipped,
       duration_ms, created_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    [
      Bun.randomUUIDv7(),
      nodeId,
      ack.base_revision,
      ack.revision,
      hasSucceeded(ack) ? 1 : 0,
      JSON.stringify(ack.results),
      failedSchemas.length === 0
        ? null
        : JSON.stringify(failedSchemas.slice(0, syncFailuresShownMax)),
      skipped === undefined ? null : JSON.stringify(skipped),
      ack.duration_ms,
      now,
    ],
  )
  await tx.run(
    `DELETE FROM sync_records WHERE node_id = ?1 AND id IN (
       SELECT id FROM sync_records WHERE node_id = ?1 ORDER BY rowid DESC LIMIT -1 OFFSET ?2)`,
    [nodeId, syncRecordsPerNodeMax],
  )
}
