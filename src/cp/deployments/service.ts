/** The rules of deployments: who gets which version, in one transaction with everything that follows from it. */

import { EdgefnError } from '../../errors.ts'
import type { DeploymentCreation, DeploymentView } from '../../protocol/api.ts'
import type { DeploymentId } from '../../protocol/ids.ts'
import type { DeploymentPlanView, RollbackRequest, RolloutOrder } from '../../protocol/rollout.ts'
import type { RecordAudit } from '../audit/audit.ts'
import { actorOf, type RequestContext } from '../context.ts'
import type { Database, Transaction } from '../db/database.ts'
import type { RecordEvent } from '../events.ts'
import type { FunctionLookup } from '../lookup.ts'
import type { EnqueueNotices, NextRevision } from '../outbox/notices.ts'
import { recordEvents } from './progress.ts'
import { beginStep, endActive } from './rollout/moves.ts'
import { orderRollout } from './rollout/orders.ts'
import { planDeployment, planView, type DeploymentPlan } from './rollout/plan.ts'
import { rollbackBody } from './rollout/rollback.ts'
import { insertRollout, insertRolloutTargets, type RolloutRow } from './rollout/store.ts'
import type { DeploymentQuery, DeploymentRow } from './schema.ts'
import { getDeployment, insertDeployment, listDeployments } from './store.ts'
import { viewOf, viewsOf } from './view.ts'

export interface DeploymentDeps {
  readonly db: Database
  readonly functions: FunctionLookup
  readonly audit: RecordAudit
  readonly nextRevision: NextRevision
  readonly enqueueNotices: EnqueueNotices
  readonly recordEvent: RecordEvent
  /** There is a rollout to take from step to step; called after the commit. */
  readonly wakeRollouts: () => void
}

export interface DeploymentService {
  /**
   * Puts a version in service on the nodes that the target selects [R2.1 C18.1], all at once or step by step [R11]. Throws
   * `function_not_found`, `version_not_found`, `module_missing`, `no_edge_nodes`, `invalid_field` with the name of the field,
   * and `conflict` when the function has changed since `check_index`.
   */
  deploy(
    context: RequestContext,
    functionIdOrName: string,
    body: DeploymentCreation,
  ): Promise<DeploymentView>
  /** What `deploy` with the same body would do; throws what it throws and changes nothing. */
  plan(functionIdOrName: string, body: DeploymentCreation): Promise<DeploymentPlanView>
  /** A deployment of an earlier version, to all nodes of its target at once [R11.4 P27]. */
  rollback(
    context: RequestContext,
    functionIdOrName: string,
    request: RollbackRequest,
  ): Promise<DeploymentView>
  /** Throws `conflict` where the rollout is in no state for the order. */
  order(
    context: RequestContext,
    id: DeploymentId,
    order: RolloutOrder,
    message: string,
  ): Promise<DeploymentView>
  get(id: DeploymentId): Promise<DeploymentView>
  list(query: DeploymentQuery): Promise<{ items: DeploymentView[]; next_cursor: string | null }>
}

export function createDeployments(deps: DeploymentDeps): DeploymentService {
  async function deploy(
    context: RequestContext,
    kind: RolloutRow['kind'],
    planIn: (tx: Transaction) => Promise<{ plan: DeploymentPlan; message: string }>,
  ): Promise<DeploymentView> {
    const { view, tell } = await deps.db.write(async (tx) => {
      const { plan, message } = await planIn(tx)
      return createDeployment(deps, tx, context, { plan, kind, message })
    })
    tell()
    deps.wakeRollouts()
    return view
  }

  return {
    deploy: (context, functionIdOrName, body) =>
      deploy(context, 'deploy', async (tx) => ({
        plan: await planDeployment(deps.functions, tx, functionIdOrName, body),
        message: body.message,
      })),

    plan: async (functionIdOrName, body) =>
      planView(deps.db, await planDeployment(deps.functions, deps.db, functionIdOrName, body)),

    rollback: (context, functionIdOrName, request) =>
      deploy(context, 'rollback', async (tx) => {
        const found = await deps.functions.resolve(tx, functionIdOrName)
        const { message } = request
        const body = await rollbackBody(tx, found.id, request)
        const whole = { ...body, strategy: 'immediate', message } as const
        return { plan: await planDeployment(deps.functions, tx, found.id, whole), message }
      }),

    order: (context, id, order, message) => orderRollout(deps, context, id, order, message),

    get: async (id) => {
      const row = await getDeployment(deps.db, id)
      if (row === null)
        throw new EdgefnError('deployment_not_found', `No deployment has the id ${id}.`)
      return viewOf(deps.db, row)
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
      return {
        items: await viewsOf(deps.db, page),
        next_cursor: rows.length > page.length ? (page.at(-1)?.id ?? null) : null,
      }
    },
  }
}

/** Records a deployment whole, its plan as it is, and begins its first step. */
async function createDeployment(
  deps: DeploymentDeps,
  tx: Transaction,
  context: RequestContext,
  {
    plan,
    kind,
    message,
  }: {
    readonly plan: DeploymentPlan
    readonly kind: RolloutRow['kind']
    readonly message: string
  },
) {
  const { settings, function_id } = plan
  const id = Bun.randomUUIDv7() as DeploymentId
  const superseded = await endActive(deps, tx, function_id, id)
  const revision = await deps.nextRevision(tx)
  const now = new Date().toISOString()
  const row: DeploymentRow = {
    ...{ id, function_id, function_name: plan.function_name, version: plan.version },
    ...{ split: plan.split, target: plan.target, strategy: plan.strategy, status: 'pending' },
    ...{ message, revision, created_by: actorOf(context.caller), created_at: now, updated_at: now },
    ...{ driven: settings.driven, active: settings.driven, whole: false },
  }
  await insertDeployment(tx, row)
  const { driven, steps, max_failed, pause_ms, step_timeout_ms, on_failure } = settings
  await insertRollout(tx, {
    ...{ deployment_id: id, function_id, kind, driven, revision },
    ...{ steps, max_failed, pause_ms, step_timeout_ms, on_failure },
    phase: driven ? 'running' : 'ended',
  })
  const targets = plan.nodes.flatMap(({ node_id, step, back_to: previous }) =>
    step === null ? [] : [{ node_id, step, previous }],
  )
  await insertRolloutTargets(tx, id, targets)
  const events = [...superseded, ...(await beginStep(deps, tx, row, 1, revision))]
  await deps.audit(tx, context, {
    resource_type: 'deployment',
    resource_id: id,
    operation: kind === 'rollback' ? 'rollback' : 'deploy',
    before: null,
    after: { ...row, settings, node_ids: targets.map((target) => target.node_id) },
  })
  const view = await viewOf(tx, row)
  return { view, tell: await recordEvents(deps.recordEvent, tx, events) }
}
