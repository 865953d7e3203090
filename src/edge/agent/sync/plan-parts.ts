/** Small things that the sync asks of plans, and the plans and acknowledgements it makes itself. */

import type { EdgefnError } from '../../../errors.ts'
import type { PlanAsRead, UnreadAction } from '../../../protocol/lenient.ts'
import type { Manifest } from '../../../protocol/manifest.ts'
import type { FunctionResult, SyncAck } from '../../../protocol/plan.ts'
import type { NodeState } from '../node-state.ts'

/** A function and the version of it to bring into service. */
export type Due = readonly [string, Manifest]

export function kindsOf(unread: readonly UnreadAction[]): string[] {
  return [...new Set(unread.map(({ action }) => action))]
}

/** Reports that none of the functions could be taken on, by a node that stays at `revision`. */
export function refusal(revision: number, due: readonly Due[], error: EdgefnError): SyncAck {
  const { code, message } = error
  const results = due.map(([, { function_id, version, deployment_id }]): FunctionResult => {
    return { function_id, version, deployment_id, state: 'failed', error: { code, message } }
  })
  return { base_revision: revision, revision, results, duration_ms: 0 }
}

export function removedBy(plan: PlanAsRead): string[] {
  return plan.actions.flatMap((action) =>
    action.action === 'remove_function' ? [action.function_id] : [],
  )
}

/** What a plan from before the node's own revision has to say. */
export function nothingNew(plan: PlanAsRead, state: NodeState): PlanAsRead {
  const { revision } = state
  return { ...plan, base_revision: revision, revision, full: false, actions: [], unread: [] }
}
