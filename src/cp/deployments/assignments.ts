/** Statements on assignments: which node should serve which version of a function. */

import type { DeploymentId, FunctionId, NodeId } from '../../protocol/ids.ts'
import type { Route } from '../../protocol/manifest.ts'
import { selectsPop } from '../../protocol/selector.ts'
import type { SplitView } from '../../protocol/split.ts'
import type { Sql, Transaction } from '../db/database.ts'
import type { Served } from '../manifest-source.ts'
import { ROUTE_ROW_COLUMNS, toRoute, type RouteRow } from '../route-row.ts'
import { readSplit, writeSplit } from '../split-column.ts'

export interface Assignment {
  readonly function_id: FunctionId
  readonly version: number
  readonly split: SplitView | null
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
    `INSERT INTO assignments (node_id, function_id, version, split, deployment_id, revision, removed)
     SELECT value, ?, ?, ?, ?, ?, 0 FROM json_each(?) WHERE true
     ON CONFLICT (node_id, function_id) DO UPDATE SET version = excluded.version, split = excluded.split,
       deployment_id = excluded.deployment_id, revision = excluded.revision, removed = 0`,
    [
      assignment.function_id,
      assignment.version,
      writeSplit(assignment.split),
      assignment.deployment_id,
      assignment.revision,
      JSON.stringify(nodeIds),
    ],
  )
}

/** The deployments that the node has functions of. */
export async function deploymentsHeld(sql: Sql, nodeId: NodeId): Promise<Set<DeploymentId>> {
  const rows = await sql.all(
    'SELECT deployment_id FROM assignments WHERE node_id = ? AND removed = 0',
    [nodeId],
  )
  return new Set(rows.map((row) => row['deployment_id'] as DeploymentId))
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

/** What the node should serve of the function; null when it should not. */
export async function ownerOf(
  sql: Sql,
  nodeId: NodeId,
  functionId: FunctionId,
): Promise<Served | null> {
  const row = await sql.get(
    `SELECT function_id, version, split, deployment_id FROM assignments
     WHERE node_id = ? AND function_id = ? AND removed = 0`,
    [nodeId, functionId],
  )
  return row === null ? null : ({ ...row, split: readSplit(row['split']) } as unknown as Served)
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

/** Gives every node that has the function from the deployment what it had before it, or a tombstone. */
export async function giveBack(
  tx: Transaction,
  deploymentId: DeploymentId,
  functionId: FunctionId,
  revision: number,
): Promise<void> {
  await tx.run(
    `UPDATE assignments SET
       version = coalesce(before.previous_version, version),
       split = CASE WHEN before.previous_deployment_id IS NULL THEN split ELSE before.previous_split END,
       deployment_id = coalesce(before.previous_deployment_id, assignments.deployment_id),
       removed = before.previous_deployment_id IS NULL,
       revision = ?1
     FROM rollout_targets AS before
     WHERE before.deployment_id = ?2 AND before.node_id = assignments.node_id
       AND assignments.deployment_id = ?2 AND assignments.function_id = ?3 AND assignments.removed = 0`,
    [revision, deploymentId, functionId],
  )
}
