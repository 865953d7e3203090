/** Plans for nodes and what they report back (DESIGN section 7). */

import { EdgefnError } from '../../errors.ts'
import type { FunctionId, NodeId } from '../../protocol/ids.ts'
import type { Manifest } from '../../protocol/manifest.ts'
import type { FunctionResult, Plan, SyncAck } from '../../protocol/plan.ts'
import type { SyncHistory } from '../../protocol/syncs.ts'
import type { Database, Sql, Transaction } from '../db/database.ts'
import type { ManifestSource } from '../manifest-source.ts'
import { needsFullPlan, planSteps, toPlan, type PlanInput } from './plan.ts'
import { syncHistory } from './history.ts'
import { lacksTombstones } from './tombstones.ts'
import {
  assignmentsOf,
  assignmentsSince,
  hasSucceeded,
  insertSyncRecord,
  recordSchemaResults,
  routesOf,
  routesSince,
  schemasOf,
  schemasSince,
  setApplied,
  syncNode,
  type SyncNodeRow,
} from './store.ts'

export interface SyncDeps {
  readonly db: Database
  readonly manifests: ManifestSource
  /** Where versions are previewed by host name; null: nowhere. */
  readonly preview_domain: string | null
  /** Given by the outbox: the node has everything up to a revision. */
  readonly acknowledgeUpTo: (tx: Transaction, nodeId: NodeId, revision: number) => Promise<void>
  /** Given by deployments: records what became of functions; the result is run after the commit. */
  readonly report: (
    tx: Transaction,
    nodeId: NodeId,
    results: readonly FunctionResult[],
  ) => Promise<() => void>
  /** Counts syncs, for the metrics [C12.1]. */
  readonly countSync: (succeeded: boolean) => void
}

export interface SyncService {
  /** The plan that brings the node from `revision` to its desired revision. Throws `node_not_found`. */
  plan(nodeId: NodeId, revision: number): Promise<Plan>
  /**
   * Records, in one transaction, that the node serves a revision [C6.2]. Throws `node_not_found`, and `conflict` for a
   * revision that was never asked of it.
   */
  acknowledge(nodeId: NodeId, ack: SyncAck): Promise<void>
  /** The records that are kept of the node, newest first; `before` is the last of the page before. Throws `node_not_found`. */
  history(
    nodeId: NodeId,
    page: { readonly limit: number; readonly before: string | null },
  ): Promise<SyncHistory>
}

export function createSync(deps: SyncDeps): SyncService {
  return {
    plan: async (nodeId, base) => {
      try {
        return await makePlan(deps, nodeId, base)
      } catch (thrown) {
        // A function was deleted between the reads; then the second look no longer sees it.
        const vanished = thrown instanceof EdgefnError && thrown.code === 'version_not_found'
        if (!vanished) throw thrown
        return makePlan(deps, nodeId, base)
      }
    },

    acknowledge: async (nodeId, ack) => {
      const afterCommit = await deps.db.write(async (tx) => {
        const node = await requireNode(tx, nodeId)
        if (ack.revision > node.desired_revision) {
          throw new EdgefnError(
            'conflict',
            `Revision ${ack.revision} is newer than the revision ${node.desired_revision} asked of node ${nodeId}.`,
          )
        }
        const now = new Date().toISOString()
        await insertSyncRecord(tx, nodeId, ack, now)
        await recordSchemaResults(tx, nodeId, ack.schemas ?? [], now)
        await setApplied(tx, nodeId, ack.revision, ack.base_revision === 0)
        await deps.acknowledgeUpTo(tx, nodeId, ack.revision)
        return deps.report(tx, nodeId, ack.results)
      })
      deps.countSync(hasSucceeded(ack))
      afterCommit()
    },

    history: async (nodeId, page) => {
      await requireNode(deps.db, nodeId)
      return syncHistory(deps.db, nodeId, page)
    },
  }
}

async function requireNode(sql: Sql, nodeId: NodeId): Promise<SyncNodeRow> {
  const node = await syncNode(sql, nodeId)
  if (node === null) throw new EdgefnError('node_not_found', `No node is called ${nodeId}.`)
  return node
}

async function makePlan(deps: SyncDeps, nodeId: NodeId, base: number): Promise<Plan> {
  const plan = await planFrom(deps, nodeId, base)
  // Nothing has changed for the node since: the answer to most polls.
  if (plan.full || base === plan.revision) return plan
  return (await lacksTombstones(deps.db, nodeId, base)) ? planFrom(deps, nodeId, 0) : plan
}

async function planFrom(deps: SyncDeps, nodeId: NodeId, base: number): Promise<Plan> {
  // The revision is read before the rows, so the plan is never newer than what it carries; rows that are newer than
  // the plan come again with the next one, and doing them twice changes nothing.
  const node = await requireNode(deps.db, nodeId)
  const full = needsFullPlan({ ...node, base_revision: base })
  const { preview_domain: domain } = deps
  const head = {
    ...{ node_id: nodeId, base_revision: base, revision: node.desired_revision },
    // Nodes of an older release refuse fields that they do not know.
    ...(domain === null ? {} : { preview_domain: domain }),
  }
  // Nothing that concerns the node has changed: the answer to most polls.
  if (!full && base === node.desired_revision) return toPlan(head, false, [], new Map())
  const rows = full ? await allRows(deps.db, nodeId) : await rowsSince(deps.db, nodeId, base)
  const steps = planSteps({ pop_id: node.pop_id, base_revision: base, full, ...rows })
  const manifests = new Map<FunctionId, Manifest>()
  for (const step of steps) {
    if (step.action !== 'put_function') continue
    const { assignment } = step
    manifests.set(assignment.function_id, await deps.manifests(deps.db, assignment))
  }
  return toPlan(head, full, steps, manifests)
}

type PlanRows = Pick<PlanInput, 'assignments' | 'routes' | 'schemas'>

async function allRows(sql: Sql, nodeId: NodeId): Promise<PlanRows> {
  return {
    assignments: await assignmentsOf(sql, nodeId),
    routes: await routesOf(sql, nodeId),
    schemas: await schemasOf(sql, nodeId),
  }
}

async function rowsSince(sql: Sql, nodeId: NodeId, since: number): Promise<PlanRows> {
  const routes = await routesSince(sql, nodeId, since)
  const schemas = await schemasSince(sql, nodeId, since)
  const functionIds = new Set([...routes, ...schemas].map((row) => row.function_id))
  const assignments = await assignmentsSince(sql, nodeId, since, functionIds)
  return { assignments, routes, schemas }
}
