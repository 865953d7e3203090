/** What an operator may order of a rollout: pause, resume, promote, abort. */

import { EdgefnError } from '../../../errors.ts'
import type { DeploymentView } from '../../../protocol/api.ts'
import type { DeploymentId } from '../../../protocol/ids.ts'
import type { EventMessage } from '../../../protocol/messages.ts'
import type { Evidence, RolloutOrder } from '../../../protocol/rollout.ts'
import type { RecordAudit } from '../../audit/audit.ts'
import { actorOf, type RequestContext } from '../../context.ts'
import type { Database, Transaction } from '../../db/database.ts'
import { recordEvents } from '../progress.ts'
import type { DeploymentRow } from '../schema.ts'
import { getDeployment } from '../store.ts'
import { viewOf } from '../view.ts'
import { eventOf, fail, pause, type MoveDeps } from './moves.ts'
import { changeRollout, getRollout, type RolloutRow } from './store.ts'

export interface OrderDeps extends MoveDeps {
  readonly db: Database
  readonly audit: RecordAudit
  /** A rollout may go on; called after the commit. */
  readonly wakeRollouts: () => void
}

/** Throws `deployment_not_found`, and `conflict` where the rollout is in no state for it. */
export async function orderRollout(
  deps: OrderDeps,
  context: RequestContext,
  id: DeploymentId,
  order: RolloutOrder,
  message: string,
): Promise<DeploymentView> {
  const { view, tell } = await deps.db.write(async (tx) => {
    const deployment = await requireDeployment(tx, id)
    const rollout = await getRollout(tx, id)
    if (rollout === null || rollout.phase === 'ended') throw hasEnded(deployment, order)
    const why = message === '' ? `by ${actorOf(context.caller)}` : message
    const events = await obey(deps, tx, deployment, rollout, order, why)
    await deps.audit(tx, context, {
      resource_type: 'deployment',
      resource_id: id,
      operation: order,
      before: { phase: rollout.phase, step: rollout.step },
      after: { message },
    })
    const changed = await requireDeployment(tx, id)
    return {
      view: await viewOf(tx, changed),
      tell: await recordEvents(deps.recordEvent, tx, events),
    }
  })
  tell()
  deps.wakeRollouts()
  return view
}

async function obey(
  deps: OrderDeps,
  tx: Transaction,
  deployment: DeploymentRow,
  rollout: RolloutRow,
  order: RolloutOrder,
  why: string,
): Promise<EventMessage[]> {
  const { deployment_id: id, step } = rollout
  const goesOn = { phase: 'running', pause_reason: null, evidence: null } as const
  switch (order) {
    case 'pause':
      if (rollout.phase === 'paused') throw isPaused(rollout)
      return pause(tx, deployment, rollout, 'requested', null)
    case 'resume': {
      if (rollout.phase !== 'paused')
        throw new EdgefnError('conflict', 'The rollout is not paused.')
      // Who waits for samples is given the step's time again.
      const isWaiting = rollout.pause_reason === 'not_enough_samples'
      await changeRollout(tx, id, isWaiting ? { ...goesOn, step_ms: 0 } : goesOn)
      return [eventOf(deployment, 'resumed', step)]
    }
    case 'promote':
      await changeRollout(tx, id, { ...goesOn, promoted: true })
      return [eventOf(deployment, 'promoted', step)]
    case 'abort':
      return fail(deps, tx, deployment, rollout, aborted(step, why), 'roll_back')
  }
}

async function requireDeployment(tx: Transaction, id: DeploymentId): Promise<DeploymentRow> {
  const row = await getDeployment(tx, id)
  if (row !== null) return row
  throw new EdgefnError('deployment_not_found', `No deployment has the id ${id}.`)
}

function hasEnded(deployment: DeploymentRow, order: RolloutOrder): EdgefnError {
  const message = deployment.driven
    ? `The rollout has ended (${deployment.status}); there is nothing to ${order}.`
    : `The deployment gave every node its version at once; there is nothing to ${order}. Roll the function back instead.`
  return new EdgefnError('conflict', message, { details: { status: deployment.status } })
}

function isPaused({ pause_reason }: RolloutRow): EdgefnError {
  return new EdgefnError('conflict', `The rollout is paused already (${pause_reason}).`)
}

function aborted(step: number, why: string): Evidence {
  return {
    ...{ gate: 'aborted', step, reason: `Aborted: ${why}`, measured: null, threshold: null },
    ...{ requests: 0, errors: 0, nodes: [] },
  }
}
