/** Deployments as the API shows them. */

import type { DeploymentView } from '../../protocol/api.ts'
import type { DeploymentId } from '../../protocol/ids.ts'
import type { RolloutView } from '../../protocol/rollout.ts'
import type { Sql } from '../db/database.ts'
import { rolloutsOf, type RolloutRow } from './rollout/store.ts'
import type { DeploymentRow, TargetRow } from './schema.ts'
import { targetsOf } from './store.ts'

/** In the order of the rows. */
export async function viewsOf(sql: Sql, rows: readonly DeploymentRow[]): Promise<DeploymentView[]> {
  const ids = rows.map((row) => row.id)
  const targets = Map.groupBy(await targetsOf(sql, ids), (target) => target.deployment_id)
  const rollouts = new Map<DeploymentId, RolloutRow>()
  for (const rollout of await rolloutsOf(sql, ids)) rollouts.set(rollout.deployment_id, rollout)
  return rows.flatMap((row) => {
    const rollout = rollouts.get(row.id)
    return rollout === undefined ? [] : [toView(row, rollout, targets.get(row.id) ?? [])]
  })
}

export async function viewOf(sql: Sql, row: DeploymentRow): Promise<DeploymentView> {
  const [view] = await viewsOf(sql, [row])
  if (view === undefined) throw new Error(`Deployment ${row.id} has no rollout.`)
  return view
}

function toView(
  { driven: _driven, active: _active, whole: _whole, ...row }: DeploymentRow,
  rollout: RolloutRow,
  targets: readonly TargetRow[],
): DeploymentView {
  return {
    ...row,
    rollout: rolloutView(rollout, targets, row.status === 'completed'),
    targets: targets.map((target) => ({
      node_id: target.node_id,
      pop_id: target.pop_id,
      state: target.state,
      step: target.step,
      previous: target.previous,
      error:
        target.error_code === null
          ? null
          : { code: target.error_code, message: target.error_message ?? '' },
      updated_at: target.updated_at,
    })),
  }
}

function rolloutView(
  rollout: RolloutRow,
  targets: readonly TargetRow[],
  isDone: boolean,
): RolloutView {
  const nodes = Map.groupBy(targets, (target) => target.step)
  return {
    kind: rollout.kind,
    phase: rollout.phase,
    pause_reason: rollout.pause_reason,
    step: rollout.step,
    steps: rollout.steps.map(({ gates }, index) => {
      const step = index + 1
      const begun = step === rollout.step && !isDone ? 'begun' : 'done'
      const state = step > rollout.step ? 'waiting' : begun
      return { step, nodes: nodes.get(step)?.length ?? 0, state, gates }
    }),
    step_ms: rollout.step_ms,
    window_ms: rollout.window_ms,
    max_failed: rollout.max_failed,
    pause_seconds: rollout.pause_ms / 1000,
    step_timeout_seconds: rollout.step_timeout_ms / 1000,
    on_failure: rollout.on_failure,
    evidence: rollout.evidence,
    superseded_by: rollout.superseded_by,
  }
}
