/** The rules of deployments: who gets which version, in one transaction with everything that follows from it. */

import { EdgefnError } from '../../errors.ts'
import type { DeploymentCreation, DeploymentView } from '../../protocol/api.ts'
import type { DeploymentId, FunctionId, NodeId } from '../../protocol/ids.ts'
import { selectsPop } from '../../protocol/selector.ts'
import type { RecordAudit } from '../audit/audit.ts'
import { actorOf, type RequestContext } from '../context.ts'
import type { Database, Transaction } from '../db/database.ts'
import type { PublishEvent } from '../events.ts'
import type { FunctionLookup } from '../lookup.ts'
import type { EnqueueNotices, NextRevision } from '../outbox/notices.ts'
import { assign } from './assignments.ts'
import { settle } from './progress.ts'
import type { DeploymentQuery, DeploymentRow } from './schema.ts'
import {
  allNodePops,
  getDeployment,
  insertDeployment,
  insertTargets,
  listDeployments,
  supersedeTargets,
  targetsOf,
  toView,
} from './store.ts'

/** The strategies that this version runs. */
const STRATEGIES: readonly string[] = ['immediate']

export interface DeploymentDeps {
  readonly db: Database
  readonly functions: FunctionLookup
  readonly audit: RecordAudit
  readonly nextRevision: NextRevision
  readonly enqueueNotices: EnqueueNotices
  /** Called after the commit. */
  readonly publishEvent: PublishEvent
}

export interface DeploymentService {
  /**
   * Puts a version in service on the nodes that the target selects [R2.1 C18.1]. Throws `function_not_found`,
   * `version_not_found`, `module_missing`, `no_edge_nodes`, and `invalid_field` for a strategy of a later release.
   */
  deploy(
    context: RequestContext,
    functionIdOrName: string,
    body: DeploymentCreation,
  ): Promise<DeploymentView>
  get(id: DeploymentId): Promise<DeploymentView>
  list(query: DeploymentQuery): Promise<{ items: DeploymentView[]; next_cursor: string | null }>
}

export function createDeployments(deps: DeploymentDeps): DeploymentService {
  return {
    deploy: async (context, functionIdOrName, body) => {
      if (!STRATEGIES.includes(body.strategy)) {
        throw new EdgefnError(
          'invalid_field',
          `strategy ${body.strategy} is not supported by this version; it runs: ${STRATEGIES.join(', ')}.`,
          { details: { field: 'strategy' } },
        )
      }
      const { view, events } = await deps.db.write((tx) =>
        createDeployment(deps, tx, context, functionIdOrName, body),
      )
      for (const event of events) deps.publishEvent(event)
      return view
    },

    get: async (id) => {
      const row = await getDeployment(deps.db, id)
      if (row === null)
        throw new EdgefnError('deployment_not_found', `No deployment has the id ${id}.`)
      return toView(row, await targetsOf(deps.db, [id]))
    },

    list: async (query) => {
      const wanted =
        query.function === undefined ? null : await deps.functions.resolve(deps.db, query.function)
      const rows = await listDeployments(deps.db, {
        function_id: wanted?.id ?? null,
        status: query.status ?? null,
        before: query.cursor ?? null,
        rows_max: query.limit + 1,
      })
      const page = rows.slice(0, query.limit)
      const targets = Map.groupBy(
        await targetsOf(
          deps.db,
          page.map((row) => row.id),
        ),
        (target) => target.deployment_id,
      )
      return {
        items: page.map((row) => toView(row, targets.get(row.id) ?? [])),
        next_cursor: rows.length > page.length ? (page.at(-1)?.id ?? null) : null,
      }
    },
  }
}

async function createDeployment(
  deps: DeploymentDeps,
  tx: Transaction,
  context: RequestContext,
  functionIdOrName: string,
  body: DeploymentCreation,
) {
  const found = await deps.functions.resolve(tx, functionIdOrName)
  const ready = await deps.functions.version(tx, found.id, body.version ?? null)
  const nodeIds = await selectNodes(tx, body.target)
  const now = new Date().toISOString()
  const row: DeploymentRow = {
    id: Bun.randomUUIDv7() as DeploymentId,
    function_id: found.id,
    function_name: found.name,
    version: ready.version,
    target: body.target,
    strategy: body.strategy,
    status: 'pending',
    message: body.message,
    revision: await deps.nextRevision(tx),
    created_by: actorOf(context.caller),
    created_at: now,
    updated_at: now,
  }
  await insertDeployment(tx, row)
  await insertTargets(tx, row.id, nodeIds, now)
  const overtaken = await takeOver(tx, found.id, nodeIds, row)
  await deps.enqueueNotices(tx, {
    node_ids: nodeIds,
    revision: row.revision,
    type: 'deploy',
    function_id: found.id,
    deployment_id: row.id,
  })
  const events = await settle(tx, overtaken)
  await deps.audit(tx, context, {
    resource_type: 'deployment',
    resource_id: row.id,
    operation: 'deploy',
    before: null,
    after: { ...row, node_ids: nodeIds },
  })
  return { view: toView(row, await targetsOf(tx, [row.id])), events }
}

/** Offline nodes are selected too: they get the version when they return. */
async function selectNodes(tx: Transaction, target: string): Promise<NodeId[]> {
  const selector = target === 'all' ? null : target
  const nodes = await allNodePops(tx)
  const selected = nodes.filter((node) => selectsPop(selector, node.pop_id))
  if (selected.length === 0) {
    throw new EdgefnError('no_edge_nodes', 'No edge nodes available in target POP', {
      details: { target },
    })
  }
  return selected.map((node) => node.id)
}

async function takeOver(
  tx: Transaction,
  functionId: FunctionId,
  nodeIds: readonly NodeId[],
  row: DeploymentRow,
): Promise<DeploymentId[]> {
  await assign(tx, nodeIds, {
    function_id: functionId,
    version: row.version,
    deployment_id: row.id,
    revision: row.revision,
  })
  return supersedeTargets(tx, functionId, nodeIds, row.id, row.created_at)
}
