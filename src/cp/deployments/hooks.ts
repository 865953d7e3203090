/** What deployments do for other slices, inside their transactions; `cp/main.ts` hands these across. */

import type { DeploymentId, FunctionId, NodeId } from '../../protocol/ids.ts'
import type { FunctionResult } from '../../protocol/plan.ts'
import { selectsPop } from '../../protocol/selector.ts'
import type { RequestContext } from '../context.ts'
import type { Sql, Transaction } from '../db/database.ts'
import type { PublishEvent } from '../events.ts'
import type { FunctionHooks } from '../lookup.ts'
import type { ManifestSource } from '../manifest-source.ts'
import type { DeployContent, EnqueueNotices, NextRevision } from '../outbox/notices.ts'
import {
  assign,
  nodesServing,
  ownerOf,
  routesOn,
  touchAssignments,
  unassign,
} from './assignments.ts'
import { markNotified, recordResults, settle } from './progress.ts'
import { deploymentsInForce, insertTargets, supersedeTargets, deploymentsOn } from './store.ts'

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
  readonly publishEvent: PublishEvent
}

export interface DeploymentHooks extends FunctionHooks {
  /** A node has joined: gives it what its POP should serve. Returns nothing to run later; the node pulls its plan. */
  nodeJoined(tx: Transaction, nodeId: NodeId, popId: string): Promise<void>
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
  const publishAll = (events: Awaited<ReturnType<typeof settle>>) => () => {
    for (const event of events) deps.publishEvent(event)
  }
  return {
    removed: (tx, context, functionId) => removeFunction(deps, tx, context, functionId),
    changed: (tx, _context, functionId) => announceAgain(deps, tx, functionId),
    nodeJoined: (tx, nodeId, popId) => assignOnJoin(deps, tx, nodeId, popId),
    nodeLeaving: async (tx, nodeId, remove) => {
      const waiting = await deploymentsOn(tx, nodeId)
      await remove()
      return publishAll(await settle(tx, waiting))
    },
    notified: async (tx, nodeId, deploymentId) =>
      publishAll(await markNotified(tx, nodeId, deploymentId)),
    reported: async (tx, nodeId, results) => publishAll(await recordResults(tx, nodeId, results)),
    deployContent: (sql, nodeId, functionId, deploymentId) =>
      contentFor(deps, sql, nodeId, functionId, deploymentId),
  }
}

/** The function goes from every node together with its routes; deployments under way have nothing left to do. */
async function removeFunction(
  deps: DeploymentHookDeps,
  tx: Transaction,
  context: RequestContext,
  functionId: FunctionId,
): Promise<void> {
  const revision = await deps.nextRevision(tx)
  const nodeIds = await nodesServing(tx, functionId)
  await deps.removeRoutes(tx, context, functionId, revision)
  await unassign(tx, functionId, revision)
  const now = new Date().toISOString()
  await settle(tx, await supersedeTargets(tx, functionId, null, null, now))
  await deps.enqueueNotices(tx, {
    node_ids: nodeIds,
    revision,
    type: 'undeploy',
    function_id: functionId,
    deployment_id: null,
  })
}

/** The function's name is part of its manifests: nodes get them again under a new revision. */
async function announceAgain(
  deps: DeploymentHookDeps,
  tx: Transaction,
  functionId: FunctionId,
): Promise<void> {
  const nodeIds = await nodesServing(tx, functionId)
  if (nodeIds.length === 0) return
  const revision = await deps.nextRevision(tx)
  await touchAssignments(tx, functionId, revision)
  await deps.enqueueNotices(tx, {
    node_ids: nodeIds,
    revision,
    type: 'routes',
    function_id: functionId,
    deployment_id: null,
  })
}

/**
 * A new node gets, of every function, the newest deployment in force whose target selects its POP, the same that its
 * neighbours have: an assignment and a target (pending until the node reports), under one new revision and one notice.
 * A completed deployment stays completed meanwhile (`status.ts`).
 */
async function assignOnJoin(
  deps: DeploymentHookDeps,
  tx: Transaction,
  nodeId: NodeId,
  popId: string,
): Promise<void> {
  const given = new Set<FunctionId>()
  let revision = 0
  for (const deployment of await deploymentsInForce(tx)) {
    const functionId = deployment.function_id
    const selector = deployment.target === 'all' ? null : deployment.target
    if (given.has(functionId) || !selectsPop(selector, popId)) continue
    given.add(functionId)
    if (revision === 0) revision = await deps.nextRevision(tx)
    await assign(tx, [nodeId], {
      function_id: functionId,
      version: deployment.version,
      deployment_id: deployment.id,
      revision,
    })
    await insertTargets(tx, deployment.id, [nodeId], new Date().toISOString())
  }
  if (revision === 0) return
  await deps.enqueueNotices(tx, {
    node_ids: [nodeId],
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
  const manifest = await deps.manifests(sql, functionId, owner.version, deploymentId)
  return { manifest, routes: await routesOn(sql, nodeId, functionId) }
}
