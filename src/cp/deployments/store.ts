/** Statements on deployments and their targets. */

import type { DeploymentStatus, DeploymentView, TargetState } from '../../protocol/api.ts'
import type { DeploymentId, FunctionId, NodeId } from '../../protocol/ids.ts'
import type { Sql, SqlValue, Transaction } from '../db/database.ts'
import type { DeploymentRow, NodePopRow, TargetRow } from './schema.ts'
import type { TargetCounts } from './status.ts'

const SELECT_DEPLOYMENT = `SELECT d.id, d.function_id, f.name AS function_name, d.version, d.target, d.strategy,
  d.status, d.message, d.revision, d.created_by, d.created_at, d.updated_at
  FROM deployments d JOIN functions f ON f.id = d.function_id`

export async function getDeployment(sql: Sql, id: DeploymentId): Promise<DeploymentRow | null> {
  return (await sql.get(`${SELECT_DEPLOYMENT} WHERE d.id = ?`, [
    id,
  ])) as unknown as DeploymentRow | null
}

/** Newest first; ids are UUIDv7, so the id of the last row of a page is its cursor. */
export async function listDeployments(
  sql: Sql,
  filter: {
    readonly function_id: FunctionId | null
    readonly status: DeploymentStatus | null
    readonly before: string | null
    readonly rows_max: number
  },
): Promise<DeploymentRow[]> {
  const where: string[] = []
  const parameters: SqlValue[] = []
  if (filter.function_id !== null) {
    where.push('d.function_id = ?')
    parameters.push(filter.function_id)
  }
  if (filter.status !== null) {
    where.push('d.status = ?')
    parameters.push(filter.status)
  }
  if (filter.before !== null) {
    where.push('d.id < ?')
    parameters.push(filter.before)
  }
  const condition = where.length === 0 ? '' : `WHERE ${where.join(' AND ')}`
  const rows = await sql.all(`${SELECT_DEPLOYMENT} ${condition} ORDER BY d.id DESC LIMIT ?`, [
    ...parameters,
    filter.rows_max,
  ])
  return rows as unknown as DeploymentRow[]
}

export async function targetsOf(sql: Sql, ids: readonly DeploymentId[]): Promise<TargetRow[]> {
  const rows = await sql.all(
    `SELECT t.deployment_id, t.node_id, n.pop_id, t.state, t.error_code, t.error_message, t.updated_at
     FROM deployment_targets t JOIN nodes n ON n.id = t.node_id
     WHERE t.deployment_id IN (SELECT value FROM json_each(?)) ORDER BY n.pop_id, t.node_id`,
    [JSON.stringify(ids)],
  )
  return rows as unknown as TargetRow[]
}

export async function allNodePops(sql: Sql): Promise<NodePopRow[]> {
  return (await sql.all('SELECT id, pop_id FROM nodes ORDER BY id')) as unknown as NodePopRow[]
}

export async function insertDeployment(
  tx: Transaction,
  row: Omit<DeploymentRow, 'function_name'>,
): Promise<void> {
  await tx.run(
    `INSERT INTO deployments (id, function_id, version, target, strategy, status, message, revision,
       created_by, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    [
      row.id,
      row.function_id,
      row.version,
      row.target,
      row.strategy,
      row.status,
      row.message,
      row.revision,
      row.created_by,
      row.created_at,
      row.updated_at,
    ],
  )
}

export async function insertTargets(
  tx: Transaction,
  deploymentId: DeploymentId,
  nodeIds: readonly NodeId[],
  now: string,
): Promise<void> {
  await tx.run(
    `INSERT INTO deployment_targets (deployment_id, node_id, state, updated_at)
     SELECT ?, value, 'pending', ? FROM json_each(?)`,
    [deploymentId, now, JSON.stringify(nodeIds)],
  )
}

/**
 * Marks targets that have not answered as overtaken; `except` is the deployment that overtakes them. Null nodes means
 * all. Returns the deployments that lost targets.
 */
export async function supersedeTargets(
  tx: Transaction,
  functionId: FunctionId,
  nodeIds: readonly NodeId[] | null,
  except: DeploymentId | null,
  now: string,
): Promise<DeploymentId[]> {
  const rows = await tx.all(
    `UPDATE deployment_targets SET state = 'superseded', updated_at = ?
     WHERE state IN ('pending', 'notified')
       AND deployment_id IN (SELECT id FROM deployments WHERE function_id = ? AND id IS NOT ?)
       AND (? IS NULL OR node_id IN (SELECT value FROM json_each(?)))
     RETURNING deployment_id`,
    [
      now,
      functionId,
      except,
      nodeIds === null ? null : 1,
      nodeIds === null ? '[]' : JSON.stringify(nodeIds),
    ],
  )
  return [...new Set(rows.map((row) => row['deployment_id'] as DeploymentId))]
}

/** Sets the state of a target; `from` are the states it may leave. Returns whether it changed. */
export async function setTargetState(
  tx: Transaction,
  target: { readonly deployment_id: DeploymentId; readonly node_id: NodeId },
  from: readonly TargetState[],
  state: TargetState,
  error: { readonly code: string; readonly message: string } | null,
  now: string,
): Promise<boolean> {
  const changed = await tx.run(
    `UPDATE deployment_targets SET state = ?, error_code = ?, error_message = ?, updated_at = ?
     WHERE deployment_id = ? AND node_id = ? AND state IN (SELECT value FROM json_each(?))`,
    [
      state,
      error?.code ?? null,
      error?.message ?? null,
      now,
      target.deployment_id,
      target.node_id,
      JSON.stringify(from),
    ],
  )
  return changed > 0
}

export async function targetCounts(sql: Sql, id: DeploymentId): Promise<TargetCounts> {
  const counts = { pending: 0, notified: 0, deployed: 0, failed: 0, superseded: 0 }
  const rows = await sql.all(
    'SELECT state, count(*) AS targets FROM deployment_targets WHERE deployment_id = ? GROUP BY state',
    [id],
  )
  for (const row of rows) counts[row['state'] as TargetState] = Number(row['targets'])
  return counts
}

export async function setStatus(
  tx: Transaction,
  id: DeploymentId,
  status: DeploymentStatus,
  now: string,
): Promise<void> {
  await tx.run('UPDATE deployments SET status = ?, updated_at = ? WHERE id = ?', [status, now, id])
}

/** Deployments that have a target on the node. */
export async function deploymentsOn(sql: Sql, nodeId: NodeId): Promise<DeploymentId[]> {
  const rows = await sql.all('SELECT deployment_id FROM deployment_targets WHERE node_id = ?', [
    nodeId,
  ])
  return rows.map((row) => row['deployment_id'] as DeploymentId)
}

/**
 * What a node that joins may be given, newest first (by revision, because ids follow the clock, which may be set back):
 * deployments of functions that exist, but for those that were taken back or that no node could run.
 */
export async function deploymentsInForce(sql: Sql): Promise<DeploymentRow[]> {
  const rows = await sql.all(
    `${SELECT_DEPLOYMENT} WHERE f.deleted_at IS NULL AND d.status <> 'rolled_back'
       AND (d.status <> 'failed' OR EXISTS
         (SELECT 1 FROM deployment_targets t WHERE t.deployment_id = d.id AND t.state = 'deployed'))
     ORDER BY d.revision DESC`,
  )
  return rows as unknown as DeploymentRow[]
}

export function toView(row: DeploymentRow, targets: readonly TargetRow[]): DeploymentView {
  return {
    ...row,
    targets: targets.map((target) => ({
      node_id: target.node_id,
      pop_id: target.pop_id,
      state: target.state,
      error:
        target.error_code === null
          ? null
          : { code: target.error_code, message: target.error_message ?? '' },
      updated_at: target.updated_at,
    })),
  }
}
