/**
 * What happens to a rollout: a step begins, it ends, it is taken back. The only place that gives nodes a version or takes it back,
 * each inside the transaction of whoever decides.
 */

import type { DeploymentId, FunctionId } from '../../../protocol/ids.ts'
import type { EventMessage } from '../../../protocol/messages.ts'
import type { Evidence, PauseReason, RolloutEvent } from '../../../protocol/rollout.ts'
import type { Transaction } from '../../db/database.ts'
import type { RecordEvent } from '../../events.ts'
import type { EnqueueNotices, NextRevision } from '../../outbox/notices.ts'
import { assign, giveBack } from '../assignments.ts'
import { settle } from '../progress.ts'
import type { DeploymentRow } from '../schema.ts'
import { getDeployment, insertTargets, setStatus, supersedeTargets } from '../store.ts'
import {
  activeRollout,
  changedNodes,
  changeRollout,
  setOutcomes,
  takeTurn,
  type RolloutRow,
} from './store.ts'

export interface MoveDeps {
  readonly nextRevision: NextRevision
  readonly enqueueNotices: EnqueueNotices
  readonly recordEvent: RecordEvent
}

/** Gives the nodes of a step their version under a revision and announces it; returns the events. */
export async function beginStep(
  deps: MoveDeps,
  tx: Transaction,
  deployment: DeploymentRow,
  step: number,
  revision: number,
): Promise<EventMessage[]> {
  const { id, function_id, version, split } = deployment
  const now = new Date().toISOString()
  const nodeIds = await takeTurn(tx, id, step)
  await insertTargets(tx, id, nodeIds, now)
  await assign(tx, nodeIds, { function_id, version, split, deployment_id: id, revision })
  const overtaken = await supersedeTargets(tx, function_id, nodeIds, id, now)
  const request = { node_ids: nodeIds, revision, type: 'deploy', function_id } as const
  await deps.enqueueNotices(tx, { ...request, deployment_id: id })
  await changeRollout(tx, id, {
    ...{ step, step_ms: 0, window_ms: null, window_since: null },
    ...{ promoted: false, revision },
  })
  const begun = deployment.driven ? [eventOf(deployment, 'step_begun', step)] : []
  return [...begun, ...(await settle(tx, overtaken))]
}

/** All nodes of the step have answered. */
export async function openWindow(
  tx: Transaction,
  deployment: DeploymentRow,
  rollout: RolloutRow,
): Promise<EventMessage[]> {
  await changeRollout(tx, rollout.deployment_id, {
    window_ms: 0,
    window_since: new Date().toISOString(),
  })
  return [eventOf(deployment, 'window_begun', rollout.step)]
}

export async function complete(
  tx: Transaction,
  deployment: DeploymentRow,
  rollout: RolloutRow,
): Promise<EventMessage[]> {
  await changeRollout(tx, rollout.deployment_id, { phase: 'ended' })
  const status = await end(tx, deployment, 'completed')
  return [eventOf(deployment, 'completed', rollout.step), status]
}

export async function pause(
  tx: Transaction,
  deployment: DeploymentRow,
  rollout: RolloutRow,
  reason: PauseReason,
  evidence: Evidence | null,
): Promise<EventMessage[]> {
  await changeRollout(tx, rollout.deployment_id, {
    ...{ phase: 'paused', pause_reason: reason },
    ...(evidence === null ? {} : { evidence }),
  })
  return [{ ...eventOf(deployment, 'paused', rollout.step), pause_reason: reason, evidence }]
}

/**
 * Stops a rollout for good. Its nodes are given back what they ran, unless it is to leave them as they are (`stop`) or there is
 * none that it has changed: then it has failed, else it is rolled back.
 */
export async function fail(
  deps: MoveDeps,
  tx: Transaction,
  deployment: DeploymentRow,
  rollout: RolloutRow,
  evidence: Evidence,
  policy: RolloutRow['on_failure'],
): Promise<EventMessage[]> {
  const { deployment_id: id, step } = rollout
  const change = evidence.gate === 'aborted' ? 'aborted' : 'gate_failed'
  const told: RolloutEvent = { ...eventOf(deployment, change, step), evidence }
  await changeRollout(tx, id, { phase: 'ended', pause_reason: null, evidence })
  const taken = policy === 'roll_back' ? await takeBack(deps, tx, rollout) : NOTHING
  const isRolledBack = taken.nodes > 0
  await setOutcomes(tx, id, isRolledBack ? 'rolled_back' : null, 'skipped')
  if (!isRolledBack) return [told, await end(tx, deployment, 'failed')]
  const status = await end(tx, deployment, 'rolled_back')
  return [told, eventOf(deployment, 'rolled_back', step), status, ...taken.events]
}

/**
 * A newer deployment takes the place of one that has not ended: its nodes are as they were before it. When its function goes
 * (null), there is nothing to give back.
 */
async function supersede(
  deps: MoveDeps,
  tx: Transaction,
  deployment: DeploymentRow,
  rollout: RolloutRow,
  by: DeploymentId | null,
): Promise<EventMessage[]> {
  const { deployment_id: id, step } = rollout
  await changeRollout(tx, id, {
    ...{ phase: 'ended', pause_reason: null },
    ...{ superseded: true, superseded_by: by },
  })
  const { events } = by === null ? NOTHING : await takeBack(deps, tx, rollout)
  await setOutcomes(tx, id, 'superseded', 'superseded')
  return [
    eventOf(deployment, 'superseded', step),
    await end(tx, deployment, 'superseded'),
    ...events,
  ]
}

/** Supersedes the function's rollout that has not ended, if there is one. */
export async function endActive(
  deps: MoveDeps,
  tx: Transaction,
  functionId: FunctionId,
  by: DeploymentId | null,
): Promise<EventMessage[]> {
  const rollout = await activeRollout(tx, functionId)
  if (rollout === null) return []
  const deployment = await getDeployment(tx, rollout.deployment_id)
  if (deployment === null) throw new Error('A rollout has no deployment.')
  return supersede(deps, tx, deployment, rollout, by)
}

interface Taken {
  readonly nodes: number
  readonly events: readonly EventMessage[]
}

const NOTHING: Taken = { nodes: 0, events: [] }

/**
 * Gives each node that still has what the rollout gave it what it ran before, nothing included, and says so to the deployments
 * that this came from: their targets wait for the node again.
 */
async function takeBack(deps: MoveDeps, tx: Transaction, rollout: RolloutRow): Promise<Taken> {
  const { deployment_id: id, function_id } = rollout
  const changed = await changedNodes(tx, id)
  if (changed.length === 0) return NOTHING
  const revision = await deps.nextRevision(tx)
  await giveBack(tx, id, function_id, revision)
  await changeRollout(tx, id, { revision })
  const now = new Date().toISOString()
  const groups = Map.groupBy(changed, ({ previous }) => previous?.deployment_id ?? null)
  for (const [previousId, nodes] of groups) {
    const nodeIds = nodes.map((node) => node.node_id)
    if (previousId !== null) await insertTargets(tx, previousId, nodeIds, now)
    await deps.enqueueNotices(tx, {
      ...{ node_ids: nodeIds, revision, function_id, deployment_id: previousId },
      type: previousId === null ? 'undeploy' : 'deploy',
    })
  }
  const events = await settle(
    tx,
    [...groups.keys()].filter((key) => key !== null),
  )
  return { nodes: changed.length, events }
}

async function end(
  tx: Transaction,
  { id, function_id, version }: DeploymentRow,
  status: 'completed' | 'failed' | 'rolled_back' | 'superseded',
): Promise<EventMessage> {
  const at = new Date().toISOString()
  await setStatus(tx, id, status, at)
  return { type: 'deployment', deployment_id: id, function_id, version, status, at }
}

export function eventOf(
  { id, function_id, version }: DeploymentRow,
  change: RolloutEvent['change'],
  step: number,
): RolloutEvent {
  const at = new Date().toISOString()
  const about = { type: 'rollout', deployment_id: id, function_id, version } as const
  return { ...about, change, step, pause_reason: null, evidence: null, at }
}
