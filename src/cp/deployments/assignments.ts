/** Statements on assignments: which node should serve which version of a function. */

import type { DeploymentId, FunctionId, NodeId } from '../../protocol/ids.ts'
import type { Route } from '../../protocol/manifest.ts'
import { selectsPop } from '../../protocol/selector.ts'
import type { Sql, Transaction } from '../db/database.ts'
import { ROUTE_ROW_COLUMNS, toRoute, type RouteRow } from '../route-row.ts'

export interface Assignment {
  readonly function_id: FunctionId
  readonly version: number
  readonly deployment_id: DeploymentId
  readonly revision: number
}

/** Gives every node the version; what was assigned before, or removed, is replaced. */
export async function assign(
  tx: Transaction,
  nodeIds: readonly NodeId[],
  assignment: Assignment,
): Promise<void> {
  await tx.run(
    `INSERT INTO assignments (node_id, function_id, version, deployment_id, revision, removed)
     SELECT value, ?, ?, ?, ?, 0 FROM json_each(?) WHERE true
     ON CONFLICT (node_id, function_id) DO UPDATE SET version = excluded.version,
       deployment_id = excluded.deployment_id, revision = excluded.revision, removed = 0`,
    [
      assignment.function_id,
      assignment.version,
      assignment.deployment_id,
      assignment.revision,
      JSON.stringify(nodeIds),
    ],
  )
}

/** Nodes that should serve the function now. */
export async function nodesServing(sql: Sql, functionId: FunctionId): Promise<NodeId[]> {
  const rows = await sql.all(
    'SELECT node_id FROM assignments WHERE function_id = ? AND removed = 0 ORDER BY node_id',
    [functionId],
  )
  return rows.map((row) => row['node_id'] as NodeId)
}

/** Turns the live assignments of a function into tombstones. */
export async function unassign(
  tx: Transaction,
  functionId: FunctionId,
  revision: number,
): Promise<void> {
  await tx.run(
    'UPDATE assignments SET removed = 1, revision = ? WHERE function_id = ? AND removed = 0',
    [revision, functionId],
  )
}

/** Says that the manifests of a function changed though its versions did not. */
export async function touchAssignments(
  tx: Transaction,
  functionId: FunctionId,
  revision: number,
): Promise<void> {
  await tx.run('UPDATE assignments SET revision = ? WHERE function_id = ? AND removed = 0', [
    revision,
    functionId,
  ])
}

/** The version and deployment that own the function on the node; null when it should not serve it. */
export async function ownerOf(
  sql: Sql,
  nodeId: NodeId,
  functionId: FunctionId,
): Promise<{ readonly version: number; readonly deployment_id: DeploymentId } | null> {
  const row = await sql.get(
    `SELECT version, deployment_id FROM assignments
     WHERE node_id = ? AND function_id = ? AND removed = 0`,
    [nodeId, functionId],
  )
  return row as unknown as { version: number; deployment_id: DeploymentId } | null
}

/** The function's routes that the node's POP is selected by. */
export async function routesOn(sql: Sql, nodeId: NodeId, functionId: FunctionId): Promise<Route[]> {
  const node = await sql.get('SELECT pop_id FROM nodes WHERE id = ?', [nodeId])
  const rows = (await sql.all(
    `SELECT ${ROUTE_ROW_COLUMNS} FROM routes
     WHERE function_id = ? AND deleted_at IS NULL ORDER BY id`,
    [functionId],
  )) as unknown as RouteRow[]
  if (node === null) return []
  return rows
    .filter((row) => selectsPop(row.pop_selector, String(node['pop_id'])))
    .map((row) => toRoute(row))
}
