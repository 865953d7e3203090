/** How a deployment moves on: nodes hear of it, answer, leave, or are taken over by a newer one. */

import type { DeploymentId, FunctionId, NodeId } from '../../protocol/ids.ts'
import type { EventMessage } from '../../protocol/messages.ts'
import type { FunctionResult } from '../../protocol/plan.ts'
import type { Transaction } from '../db/database.ts'
import type { RecordEvent } from '../events.ts'
import { ownerOf } from './assignments.ts'
import { deploymentStatus, drivenStatus } from './status.ts'
import { getDeployment, setStatus, setTargetState, targetStates } from './store.ts'

/** Recomputes statuses and returns the events of those that changed, to be recorded in the same transaction. */
export async function settle(
  tx: Transaction,
  deploymentIds: Iterable<DeploymentId>,
): Promise<EventMessage[]> {
  const events: EventMessage[] = []
  for (const id of new Set(deploymentIds)) {
    const deployment = await getDeployment(tx, id)
    if (deployment === null) continue
    const rule = deployment.driven ? drivenStatus : deploymentStatus
    const status = rule(deployment.status, await targetStates(tx, id))
    if (status === deployment.status) continue
    const at = new Date().toISOString()
    await setStatus(tx, id, status, at)
    const { function_id, version } = deployment
    events.push({ type: 'deployment', deployment_id: id, function_id, version, status, at })
  }
  return events
}

/** Records events; run the result after the commit. */
export async function recordEvents(
  record: RecordEvent,
  tx: Transaction,
  events: readonly EventMessage[],
): Promise<() => void> {
  const tells: (() => void)[] = []
  for (const event of events) tells.push(await record(tx, event))
  return () => {
    for (const tell of tells) tell()
  }
}

/** The node has the deploy notice. */
export async function markNotified(
  tx: Transaction,
  nodeId: NodeId,
  deploymentId: DeploymentId,
): Promise<EventMessage[]> {
  const target = { deployment_id: deploymentId, node_id: nodeId }
  const now = new Date().toISOString()
  const changed = await setTargetState(tx, target, ['pending'], 'notified', null, now)
  return changed ? settle(tx, [deploymentId]) : []
}

/**
 * Records what a node reports of functions. A result counts only while its deployment still owns the function on that
 * node: what came of an overtaken one is of no matter any more.
 */
export async function recordResults(
  tx: Transaction,
  nodeId: NodeId,
  results: readonly FunctionResult[],
): Promise<EventMessage[]> {
  const touched = new Map<DeploymentId, FunctionId>()
  for (const result of results) {
    const owner = await ownerOf(tx, nodeId, result.function_id)
    if (owner?.deployment_id !== result.deployment_id || owner.version !== result.version) continue
    const failed = result.state === 'failed'
    const error = failed
      ? (result.error ?? { code: 'internal', message: 'The node gave no reason.' })
      : null
    const changed = await setTargetState(
      tx,
      { deployment_id: result.deployment_id, node_id: nodeId },
      ['pending', 'notified', 'deployed', 'failed'],
      result.state,
      error,
      new Date().toISOString(),
    )
    if (changed) touched.set(result.deployment_id, result.function_id)
  }
  return settle(tx, touched.keys())
}
