/** The status of a deployment as a function of its targets; pure [C18.3]. */

import type { DeploymentStatus, TargetState } from '../../protocol/api.ts'

export type TargetCounts = Readonly<Record<TargetState, number>>

/**
 * pending until a node has heard of it, in_progress until every node has answered, then completed, or failed when one
 * could not. Targets that a newer deployment took over do not count; when it took all of them, nothing is left to do and
 * nothing failed: completed. Completed is final (a node that joins later and fails shows it in its own target); failed
 * becomes completed when the nodes that failed have caught up, and no less before.
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
  return counts.failed > 0 ? 'failed' : 'completed'
}
