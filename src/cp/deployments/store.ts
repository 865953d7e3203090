/** Statements on deployments and their targets. */

import type { DeploymentStatus, TargetState } from '../../protocol/api.ts'
import type { DeploymentId, FunctionId, NodeId } from '../../protocol/ids.ts'
import type { Row, Sql, SqlValue, Transaction } from '../db/database.ts'
import type { DeploymentRow, TargetRow } from './schema.ts'
import { readSplit, writeSplit } from '../split-column.ts'
import { toPrevious } from './rollout/store.ts'
import type { AskedState, TargetCounts } from './status.ts'

const STATUS = `CASE WHEN r.superseded = 1 THEN 'superseded' ELSE d.status END`

const ASKED_STATES: readonly AskedState[] = [
  'pending',
  'notified',
  'deployed',
  'failed',
  'superseded',
]
const TARGET_STATES = `SELECT ${ASKED_STATES.map(
  (state) =>
    `EXISTS (SELECT 1 FROM deployment_targets WHERE deployment_id = ?1 AND state = '${state}') AS ${state}`,
).join(', ')}`

const SELECT_DEPLOYMENT = `SELECT d.id, d.function_id, f.name AS function_name, d.version, d.split, d.target, d.strategy,
  ${STATUS} AS status, d.message, r.revision, d.created_by, d.created_at, d.updated_at,
  r.driven = 1 AND r.phase <> 'ended' AS active, r.driven, r.step >= json_array_length(r.steps) AS whole
  FROM deployments d JOIN functions f ON f.id = d.function_id JOIN rollouts r ON r.deployment_id = d.id`

export async function getDeployment(sql: Sql, id: DeploymentId): Promise<DeploymentRow | null> {
  const row = await sql.get(`${SELECT_DEPLOYMENT} WHERE d.id = ?`, [id])
  return row === null ? null : toDeployment(row)
}

function toDeployment(row: Row): DeploymentRow {
  return {
    ...row,
    split: readSplit(row['split']),
    driven: row['driven'] === 1,
    active: row['active'] === 1,
    whole: row['whole'] === 1,
  } as unknown as DeploymentRow
}

/**
 * Newest first, as they were written: ids follow the clock, which may be set back. The id of the last row of a page is its cursor.
 */
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
    where.push(`${STATUS} = ?`)
    parameters.push(filter.status)
  }
  if (filter.before !== null) {
    where.push('d.rowid < (SELECT rowid FROM deployments WHERE id = ?)')
    parameters.push(filter.before)
  }
  const condition = where.length === 0 ? '' : `WHERE ${where.join(' AND ')}`
  const rows = await sql.all(`${SELECT_DEPLOYMENT} ${condition} ORDER BY d.rowid DESC LIMIT ?`, [
    ...parameters,
    filter.rows_max,
  ])
  return rows.map(toDeployment)
}

export async function targetsOf(sql: Sql, ids: readonly DeploymentId[]): Promise<TargetRow[]> {
  const rows = await sql.all(
    `SELECT rt.deployment_id, rt.node_id, n.pop_id, coalesce(rt.outcome, t.state, 'waiting') AS state, rt.step,
       rt.previous_version, rt.previous_split, rt.previous_deployment_id, t.error_code, t.error_message,
       coalesce(rt.outcome_at, t.updated_at, d.created_at) AS updated_at
     FROM rollout_targets rt JOIN nodes n ON n.id = rt.node_id JOIN deployments d ON d.id = rt.deployment_id
     LEFT JOIN deployment_targets t ON t.deployment_id = rt.deployment_id AND t.node_id = rt.node_id
     WHERE rt.deployment_id IN (SELECT value FROM json_each(?)) ORDER BY n.pop_id, rt.node_id`,
    [JSON.stringify(ids)],
  )
  return rows.map((row) => ({ ...row, previous: toPrevious(row) }) as unknown as TargetRow)
}

export async function insertDeployment(
  tx: Transaction,
  row: Omit<DeploymentRow, 'function_name' | 'driven' | 'active' | 'whole'>,
): Promise<void> {
  await tx.run(
    `INSERT INTO deployments (id, function_id, version, split, target, strategy, status, message, revision,
       created_by, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    [
      row.id,
      row.function_id,
      row.version,
      writeSplit(row.split),
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

/** The nodes are to serve the deployment's version, again perhaps: their answers are waited for. */
export async function insertTargets(
  tx: Transaction,
  deploymentId: DeploymentId,
  nodeIds: readonly NodeId[],
  now: string,
): Promise<void> {
  await tx.run(
    `INSERT INTO deployment_targets (deployment_id, node_id, state, updated_at)
     SELECT ?, value, 'pending', ? FROM json_each(?) WHERE true
     ON CONFLICT DO UPDATE SET state = 'pending', error_code = NULL, error_message = NULL, updated_at = excluded.updated_at`,
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

/** Which states the deployment's targets are in: 1 for each that one of them is in, else 0. */
export async function targetStates(sql: Sql, id: DeploymentId): Promise<TargetCounts> {
  // Each is found by the index; counting them would read every target for every acknowledgement.
  const row = await sql.get(TARGET_STATES, [id])
  return row as unknown as TargetCounts
}

export async function setStatus(
  tx: Transaction,
  id: DeploymentId,
  status: DeploymentStatus,
  now: string,
): Promise<void> {
  const superseded = status === 'superseded'
  // The column has no word for it.
  const stored = superseded ? 'completed' : status
  await tx.run('UPDATE deployments SET status = ?, updated_at = ? WHERE id = ?', [stored, now, id])
  await tx.run('UPDATE rollouts SET superseded = ? WHERE deployment_id = ?', [
    superseded ? 1 : 0,
    id,
  ])
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
 * deployments of functions that exist, but for those that were taken back and those that no node could run. Of each function and target
 * only the two newest, of which a node is given one and may have been given the other: a history is long, and a join reads it.
 */
export async function deploymentsInForce(sql: Sql): Promise<DeploymentRow[]> {
  const rows = await sql.all(
    `${SELECT_DEPLOYMENT} WHERE d.id IN (SELECT id FROM (
       SELECT d.id, row_number() OVER (PARTITION BY d.function_id, d.target ORDER BY d.revision DESC) AS place
       FROM deployments d JOIN functions f ON f.id = d.function_id JOIN rollouts r ON r.deployment_id = d.id
       WHERE f.deleted_at IS NULL AND d.status <> 'rolled_back' AND NOT (r.driven = 1 AND r.superseded = 1)
         AND (d.status <> 'failed' OR (r.driven = 0 AND EXISTS
           (SELECT 1 FROM deployment_targets t WHERE t.deployment_id = d.id AND t.state = 'deployed')))
     ) WHERE place <= 2) ORDER BY d.revision DESC`,
  )
  return rows.map(toDeployment)
}
