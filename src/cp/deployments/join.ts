/** What a node that joins, or is uncordoned, is given. */

import type { FunctionId, NodeId } from '../../protocol/ids.ts'
import { selectsPop } from '../../protocol/selector.ts'
import type { Transaction } from '../db/database.ts'
import type { EnqueueNotices, NextRevision } from '../outbox/notices.ts'
import { assign, deploymentsHeld } from './assignments.ts'
import { getRollout, insertRolloutTargets } from './rollout/store.ts'
import type { DeploymentRow } from './schema.ts'
import { deploymentsInForce, insertTargets } from './store.ts'

/**
 * The node gets, of every function, the newest deployment in force whose target selects its POP, the same that its
 * neighbours have: an assignment and a target (pending until the node reports), under one new revision and one notice.
 * A completed deployment stays completed meanwhile (`status.ts`). Of a rollout that goes on the node belongs to the last step:
 * until that begins it is given the newest deployment in force before, which is also what a roll-back gives it again.
 */
export async function assignOnJoin(
  deps: { readonly nextRevision: NextRevision; readonly enqueueNotices: EnqueueNotices },
  tx: Transaction,
  nodeId: NodeId,
  popId: string,
): Promise<void> {
  const wanted = (await deploymentsInForce(tx)).filter(({ target }) =>
    selectsPop(target === 'all' ? null : target, popId),
  )
  const held = await deploymentsHeld(tx, nodeId)
  const given: DeploymentRow[] = []
  for (const [, [newest, before = null]] of twoNewest(wanted)) {
    if (held.has(newest.id)) continue
    await addTarget(tx, newest, nodeId, newest.active ? before : null)
    const present = newest.whole ? newest : before
    if (present === null || held.has(present.id)) continue
    if (present !== newest) await addTarget(tx, present, nodeId, null)
    given.push(present)
  }
  if (given.length === 0) return
  const revision = await deps.nextRevision(tx)
  for (const { id, function_id, version, split } of given) {
    await assign(tx, [nodeId], { function_id, version, split, deployment_id: id, revision })
    await insertTargets(tx, id, [nodeId], new Date().toISOString())
  }
  await deps.enqueueNotices(tx, {
    node_ids: [nodeId],
    revision,
    type: 'routes',
    function_id: null,
    deployment_id: null,
  })
}

type Newest = [DeploymentRow, DeploymentRow?]

/** Of each function the newest deployment and the one before it. */
function twoNewest(newestFirst: readonly DeploymentRow[]): Map<FunctionId, Newest> {
  const found = new Map<FunctionId, Newest>()
  for (const deployment of newestFirst) {
    const known = found.get(deployment.function_id)
    if (known === undefined) found.set(deployment.function_id, [deployment])
    else known[1] ??= deployment
  }
  return found
}

async function addTarget(
  tx: Transaction,
  deployment: DeploymentRow,
  nodeId: NodeId,
  before: DeploymentRow | null,
): Promise<void> {
  const rollout = await getRollout(tx, deployment.id)
  if (rollout === null) return
  const previous =
    before === null
      ? null
      : { version: before.version, split: before.split, deployment_id: before.id }
  const target = { node_id: nodeId, step: rollout.steps.length, previous }
  await insertRolloutTargets(tx, deployment.id, [target])
}
