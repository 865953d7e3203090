/** What deployments do for other slices, inside their transactions; `cp/compose.ts` hands these across. */

import type { DeploymentId, FunctionId, NodeId } from '../../protocol/ids.ts'
import type { FunctionResult } from '../../protocol/plan.ts'
import type { RequestContext } from '../context.ts'
import type { Sql, Transaction } from '../db/database.ts'
import type { RecordEvent } from '../events.ts'
import type { EventMessage } from '../../protocol/messages.ts'
import type { FunctionHooks } from '../lookup.ts'
import type { ManifestSource } from '../manifest-source.ts'
import type { DeployContent, EnqueueNotices, NextRevision } from '../outbox/notices.ts'
import { nodesServing } from '../serving-nodes.ts'
import { ownerOf, routesOn, touchAssignments, unassign } from './assignments.ts'
import { assignOnJoin } from './join.ts'
import { markNotified, recordEvents, recordResults, settle } from './progress.ts'
import { endActive } from './rollout/moves.ts'
import { supersedeTargets, deploymentsOn } from './store.ts'

export interface DeploymentHookDeps {
  readonly nextRevision: NextRevision
  readonly enqueueNotices: EnqueueNotices
  readonly manifests: ManifestSource
  /** Given by the routes slice: deletes the routes of a function under a revision. */
  readonly removeRoutes: (
    tx: Transaction,
    context: RequestContext,
    functionId: FunctionId,
    revision: number,
  ) => Promise<void>
  readonly recordEvent: RecordEvent
  /** Something happened that a rollout may have waited for; called after the commit. */
  readonly wakeRollouts: () => void
}

export interface DeploymentHooks extends FunctionHooks {
  /** A node has joined: gives it what its POP should serve. Returns nothing to run later; the node pulls its plan. */
  nodeJoined(tx: Transaction, nodeId: NodeId, popId: string): Promise<void>
  /** A node is not cordoned any more: gives it what its neighbours were given meanwhile. */
  nodeUncordoned(tx: Transaction, nodeId: NodeId, popId: string): Promise<void>
  /** Deletes the node by `remove` and settles the deployments that waited for it. */
  nodeLeaving(tx: Transaction, nodeId: NodeId, remove: () => Promise<void>): Promise<() => void>
  /** A node has a deploy notice. Run the result after the commit. */
  notified(tx: Transaction, nodeId: NodeId, deploymentId: DeploymentId): Promise<() => void>
  /** A node reports what became of functions. Run the result after the commit. */
  reported(tx: Transaction, nodeId: NodeId, results: readonly FunctionResult[]): Promise<() => void>
  /** What the deploy notice for a node says; null when the deployment has been overtaken there. */
  readonly deployContent: DeployContent
}

export function createDeploymentHooks(deps: DeploymentHookDeps): DeploymentHooks {
  async function told(tx: Transaction, events: readonly EventMessage[]) {
    const tell = await recordEvents(deps.recordEvent, tx, events)
    return () => {
      tell()
      deps.wakeRollouts()
    }
  }
  return {
    removed: async (tx, context, functionId) =>
      told(tx, await removeFunction(deps, tx, context, functionId)),
    changed: (tx, _context, functionId) => announceAgain(deps, tx, functionId),
    nodeJoined: (tx, nodeId, popId) => assignOnJoin(deps, tx, nodeId, popId),
    nodeUncordoned: (tx, nodeId, popId) => assignOnJoin(deps, tx, nodeId, popId),
    nodeLeaving: async (tx, nodeId, remove) => {
      const waiting = await deploymentsOn(tx, nodeId)
      await remove()
      return told(tx, await settle(tx, waiting))
    },
    notified: async (tx, nodeId, deploymentId) =>
      told(tx, await markNotified(tx, nodeId, deploymentId)),
    reported: async (tx, nodeId, results) => told(tx, await recordResults(tx, nodeId, results)),
    deployContent: (sql, nodeId, functionId, deploymentId) =>
      contentFor(deps, sql, nodeId, functionId, deploymentId),
  }
}

/** The function goes from every node together with its routes; deployments under way end. Returns what is to be told of them. */
async function removeFunction(
  deps: DeploymentHookDeps,
  tx: Transaction,
  context: RequestContext,
  functionId: FunctionId,
): Promise<EventMessage[]> {
  const revision = await deps.nextRevision(tx)
  const nodes = await nodesServing(tx, functionId)
  await deps.removeRoutes(tx, context, functionId, revision)
  await unassign(tx, functionId, revision)
  const now = new Date().toISOString()
  const settled = await settle(tx, await supersedeTargets(tx, functionId, null, null, now))
  const events = [...(await endActive(deps, tx, functionId, null)), ...settled]
  await deps.enqueueNotices(tx, {
    node_ids: nodes.map(({ node_id }) => node_id),
    revision,
    type: 'undeploy',
    function_id: functionId,
    deployment_id: null,
  })
  return events
}

/** The function's name is part of its manifests: nodes get them again under a new revision. */
async function announceAgain(
  deps: DeploymentHookDeps,
  tx: Transaction,
  functionId: FunctionId,
): Promise<void> {
  const nodes = await nodesServing(tx, functionId)
  if (nodes.length === 0) return
  const revision = await deps.nextRevision(tx)
  await touchAssignments(tx, functionId, revision)
  await deps.enqueueNotices(tx, {
    node_ids: nodes.map(({ node_id }) => node_id),
    revision,
    type: 'routes',
    function_id: null,
    deployment_id: null,
  })
}

async function contentFor(
  deps: DeploymentHookDeps,
  sql: Sql,
  nodeId: NodeId,
  functionId: FunctionId,
  deploymentId: DeploymentId,
) {
  const owner = await ownerOf(sql, nodeId, functionId)
  if (owner?.deployment_id !== deploymentId) return null
  const manifest = await deps.manifests(sql, owner)
  return { manifest, routes: await routesOn(sql, nodeId, functionId) }
}
