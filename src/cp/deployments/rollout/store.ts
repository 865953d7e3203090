/** Statements on rollouts and their targets. */

import type { TargetState } from '../../../protocol/api.ts'
import type { DeploymentId, FunctionId, NodeId } from '../../../protocol/ids.ts'
import {
  evidenceSchema,
  type Evidence,
  type PauseReason,
  type Previous,
} from '../../../protocol/rollout.ts'
import type { Row, Sql, SqlValue, Transaction } from '../../db/database.ts'
import { readSplit, writeSplit } from '../../split-column.ts'
import type { RolloutState, RolloutStep, RolloutTarget } from './decide.ts'

export interface RolloutRow extends RolloutState {
  readonly deployment_id: DeploymentId
  readonly function_id: FunctionId
  readonly kind: 'deploy' | 'rollback'
  readonly driven: boolean
  readonly pause_reason: PauseReason | null
  /** Time of day at which the window began. */
  readonly window_since: string | null
  readonly on_failure: 'roll_back' | 'stop'
  readonly revision: number
  readonly moves: number
  readonly superseded: boolean
  readonly superseded_by: DeploymentId | null
  readonly evidence: Evidence | null
}

const COLUMNS = `r.deployment_id, r.function_id, r.kind, r.driven, r.phase, r.pause_reason, r.step, r.steps, r.step_ms, r.window_ms,
  r.window_since, r.promoted, r.max_failed, r.pause_ms, r.step_timeout_ms, r.on_failure, r.revision, r.moves, r.superseded,
  r.superseded_by, r.evidence`

export async function getRollout(sql: Sql, id: DeploymentId): Promise<RolloutRow | null> {
  const row = await sql.get(`SELECT ${COLUMNS} FROM rollouts r WHERE r.deployment_id = ?`, [id])
  return row === null ? null : toRollout(row)
}

export async function rolloutsOf(sql: Sql, ids: readonly DeploymentId[]): Promise<RolloutRow[]> {
  const rows = await sql.all(
    `SELECT ${COLUMNS} FROM rollouts r WHERE r.deployment_id IN (SELECT value FROM json_each(?))`,
    [JSON.stringify(ids)],
  )
  return rows.map(toRollout)
}

/** The one of the function that has not ended; there is one at most. */
export async function activeRollout(sql: Sql, functionId: FunctionId): Promise<RolloutRow | null> {
  const row = await sql.get(
    `SELECT ${COLUMNS} FROM rollouts r WHERE r.function_id = ? AND r.phase <> 'ended'`,
    [functionId],
  )
  return row === null ? null : toRollout(row)
}

export async function runningRollouts(sql: Sql): Promise<RolloutRow[]> {
  const rows = await sql.all(
    `SELECT ${COLUMNS} FROM rollouts r WHERE r.phase <> 'ended' AND r.phase = 'running'`,
  )
  return rows.map(toRollout)
}

function toRollout(row: Row): RolloutRow {
  const evidence = row['evidence']
  return {
    ...row,
    driven: row['driven'] === 1,
    promoted: row['promoted'] === 1,
    superseded: row['superseded'] === 1,
    steps: JSON.parse(String(row['steps'])) as RolloutStep[],
    evidence: typeof evidence === 'string' ? evidenceSchema.parse(JSON.parse(evidence)) : null,
  } as unknown as RolloutRow
}

export type NewRollout = Pick<
  RolloutRow,
  | 'deployment_id'
  | 'function_id'
  | 'kind'
  | 'driven'
  | 'phase'
  | 'steps'
  | 'max_failed'
  | 'pause_ms'
  | 'step_timeout_ms'
  | 'on_failure'
  | 'revision'
>

/** Before its first step. */
export async function insertRollout(tx: Transaction, row: NewRollout): Promise<void> {
  await tx.run(
    `INSERT INTO rollouts (deployment_id, function_id, kind, driven, phase, step, steps, max_failed, pause_ms,
       step_timeout_ms, on_failure, revision) VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?)`,
    [
      row.deployment_id,
      row.function_id,
      row.kind,
      row.driven ? 1 : 0,
      row.phase,
      JSON.stringify(row.steps),
      row.max_failed,
      row.pause_ms,
      row.step_timeout_ms,
      row.on_failure,
      row.revision,
    ],
  )
}

/** What a move changes; `moves` is counted up with it. */
export type RolloutChange = Partial<
  Pick<
    RolloutRow,
    | 'phase'
    | 'pause_reason'
    | 'step'
    | 'step_ms'
    | 'window_ms'
    | 'window_since'
    | 'promoted'
    | 'revision'
    | 'superseded'
    | 'superseded_by'
    | 'evidence'
  >
>

export async function changeRollout(
  tx: Transaction,
  id: DeploymentId,
  change: RolloutChange,
): Promise<void> {
  const columns = Object.entries(change)
  const set = columns.map(([name]) => `${name} = ?, `).join('')
  await tx.run(`UPDATE rollouts SET ${set}moves = moves + 1 WHERE deployment_id = ?`, [
    ...columns.map(([, value]) => toColumn(value)),
    id,
  ])
}

function toColumn(value: SqlValue | boolean | Evidence): SqlValue {
  if (typeof value === 'boolean') return value ? 1 : 0
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : value
}

/**
 * Adds time in which rollouts were driven. When the time of day was set meanwhile (`nowMs`: what it is now), windows begin anew:
 * samples are told apart by it.
 */
export async function addTime(tx: Transaction, ms: number, nowMs: number | null): Promise<void> {
  await tx.run(
    `UPDATE rollouts SET step_ms = step_ms + ?1, window_ms = CASE WHEN ?2 IS NULL OR window_ms IS NULL THEN window_ms + ?1 ELSE 0 END,
       window_since = CASE WHEN window_since IS NULL THEN NULL ELSE coalesce(?2, window_since) END
     WHERE phase <> 'ended' AND phase = 'running'`,
    [Math.round(ms), nowMs === null ? null : new Date(nowMs).toISOString()],
  )
}

export interface NewRolloutTarget {
  readonly node_id: NodeId
  readonly step: number
  readonly previous: Previous
}

/** A node that was passed by because it was cordoned is given its turn again, in the step that is named now. */
export async function insertRolloutTargets(
  tx: Transaction,
  id: DeploymentId,
  targets: readonly NewRolloutTarget[],
): Promise<void> {
  const rows = targets.map(({ node_id, step, previous }) => [
    ...[node_id, step, previous?.version ?? null],
    ...[writeSplit(previous?.split ?? null), previous?.deployment_id ?? null],
  ])
  await tx.run(
    `INSERT INTO rollout_targets (deployment_id, node_id, step, previous_version, previous_split, previous_deployment_id)
     SELECT ?, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?) WHERE true
     ON CONFLICT DO UPDATE SET step = excluded.step, outcome = NULL, outcome_at = NULL
       WHERE outcome = 'skipped'`,
    [id, JSON.stringify(rows)],
  )
}

/** Nodes whose turn it is; those that have been cordoned since keep what they have, and are passed by. */
export async function takeTurn(tx: Transaction, id: DeploymentId, step: number): Promise<NodeId[]> {
  await tx.run(
    `UPDATE rollout_targets SET outcome = 'skipped', outcome_at = ? WHERE deployment_id = ? AND step = ?
       AND node_id IN (SELECT id FROM nodes WHERE cordoned = 1)`,
    [new Date().toISOString(), id, step],
  )
  const rows = await tx.all(
    `SELECT node_id FROM rollout_targets
     WHERE deployment_id = ? AND step = ? AND outcome IS NULL ORDER BY node_id`,
    [id, step],
  )
  return rows.map((row) => row['node_id'] as NodeId)
}

/** What `decide` looks at: the targets of steps that have begun. */
export async function begunTargets(sql: Sql, id: DeploymentId): Promise<RolloutTarget[]> {
  const rows = await sql.all(
    `SELECT rt.node_id, rt.step, t.state, n.status <> 'offline' AS online, t.error_message AS error
     FROM rollout_targets rt JOIN nodes n ON n.id = rt.node_id
     JOIN deployment_targets t ON t.deployment_id = rt.deployment_id AND t.node_id = rt.node_id
     WHERE rt.deployment_id = ? ORDER BY rt.step, rt.node_id`,
    [id],
  )
  return rows.map((row) => ({
    node_id: row['node_id'] as NodeId,
    step: Number(row['step']),
    state: row['state'] as TargetState,
    online: row['online'] === 1,
    error: row['error'] as string | null,
  }))
}

/** A node that the rollout changed and that still has what it gave. */
export interface ChangedNode {
  readonly node_id: NodeId
  readonly previous: Previous
}

export async function changedNodes(sql: Sql, id: DeploymentId): Promise<ChangedNode[]> {
  const rows = await sql.all(
    `SELECT rt.node_id, rt.previous_version, rt.previous_split, rt.previous_deployment_id
     FROM rollout_targets rt JOIN rollouts r ON r.deployment_id = rt.deployment_id
     JOIN assignments a ON a.node_id = rt.node_id AND a.function_id = r.function_id
     WHERE rt.deployment_id = ? AND a.deployment_id = rt.deployment_id AND a.removed = 0 ORDER BY rt.node_id`,
    [id],
  )
  return rows.map((row) => ({ node_id: row['node_id'] as NodeId, previous: toPrevious(row) }))
}

export function toPrevious(row: Row): Previous {
  const id = row['previous_deployment_id']
  if (typeof id !== 'string') return null
  const split = readSplit(row['previous_split'])
  return { version: Number(row['previous_version']), split, deployment_id: id as DeploymentId }
}

/** Says what became of the targets: of those whose step began, and of the rest. */
export async function setOutcomes(
  tx: Transaction,
  id: DeploymentId,
  begun: 'superseded' | 'rolled_back' | null,
  rest: 'superseded' | 'skipped',
): Promise<void> {
  await tx.run(
    `UPDATE rollout_targets SET outcome = CASE WHEN EXISTS (SELECT 1 FROM deployment_targets t
       WHERE t.deployment_id = rollout_targets.deployment_id AND t.node_id = rollout_targets.node_id)
     THEN ? ELSE ? END, outcome_at = NULL WHERE deployment_id = ?`,
    [begun, rest, id],
  )
  await tx.run(
    'UPDATE rollout_targets SET outcome_at = ? WHERE deployment_id = ? AND outcome IS NOT NULL',
    [new Date().toISOString(), id],
  )
}
