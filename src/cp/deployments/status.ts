/** The status of a deployment as a function of its targets; pure [C18.3]. */

import type { DeploymentStatus, TargetState } from '../../protocol/api.ts'

/** States of targets that have been asked of their nodes. */
export type AskedState = Exclude<TargetState, 'waiting' | 'rolled_back' | 'skipped'>
export type TargetCounts = Readonly<Record<AskedState, number>>

/**
 * Of a deployment that gave all its nodes the version at once: pending until a node has heard of it, in_progress until every
 * node has answered, then completed, or failed when one could not. Targets that a newer deployment took over do not count; when
 * it took all of them, the deployment is superseded, until a roll-back of the newer one gives it nodes back. Completed is final
 * (a node that joins later and fails shows it in its own target); failed becomes completed when the nodes that failed have
 * caught up, and no less before.
 */
export function deploymentStatus(
  current: DeploymentStatus,
  counts: TargetCounts,
): DeploymentStatus {
  if (current === 'completed' || current === 'rolled_back') return current
  const answered = counts.deployed + counts.failed
  if (counts.pending + counts.notified > 0) {
    if (current === 'failed') return 'failed'
    return answered + counts.notified > 0 || current === 'in_progress' ? 'in_progress' : 'pending'
  }
  if (answered === 0 && counts.superseded > 0) return 'superseded'
  return counts.failed > 0 ? 'failed' : 'completed'
}

/** Of one that the driver takes from step to step, which says how it ends: here it only begins. */
export function drivenStatus(current: DeploymentStatus, counts: TargetCounts): DeploymentStatus {
  if (current !== 'pending') return current
  return counts.notified + counts.deployed + counts.failed > 0 ? 'in_progress' : 'pending'
}
