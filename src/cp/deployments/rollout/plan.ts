/**
 * What a deployment would do: worked out in one place for `POST /functions/:id/plan`, which shows it, and for the deployment,
 * which records it, so that the two cannot differ.
 */

import { EdgefnError } from '../../../errors.ts'
import type { DeploymentCreation } from '../../../protocol/api.ts'
import type { DeploymentId, FunctionId, NodeId, PopId, RouteId } from '../../../protocol/ids.ts'
import type { PathType } from '../../../protocol/manifest.ts'
import type { DeploymentPlanView, Previous } from '../../../protocol/rollout.ts'
import { selectsPop } from '../../../protocol/selector.ts'
import { mainVersion, type SplitView } from '../../../protocol/split.ts'
import type { Sql } from '../../db/database.ts'
import type { FunctionLookup, ReadyVersion } from '../../lookup.ts'
import { readSplit } from '../../split-column.ts'
import { rolloutSettings, type RolloutSettings } from './settings.ts'
import { nodesBySteps } from './steps.ts'
import { activeRollout, changedNodes, type RolloutRow } from './store.ts'

export interface PlannedNode {
  readonly node_id: NodeId
  readonly pop_id: PopId
  readonly online: boolean
  /** Null: not of the target, but given back what it ran before the rollout that is superseded. */
  readonly step: number | null
  readonly from: Previous
  readonly acknowledged: boolean
  readonly back_to: Previous
}

export interface DeploymentPlan {
  readonly function_id: FunctionId
  readonly function_name: string
  readonly version: number
  readonly split: SplitView | null
  readonly target: string
  readonly strategy: DeploymentCreation['strategy']
  readonly index: number
  readonly settings: RolloutSettings
  readonly supersedes: RolloutRow | null
  /** In the order of their turn. */
  readonly nodes: readonly PlannedNode[]
}

interface NodeRow {
  readonly id: NodeId
  readonly pop_id: PopId
  readonly online: boolean
  readonly cordoned: boolean
}

/**
 * Throws `function_not_found`, `version_not_found`, `module_missing`, `no_edge_nodes`, `invalid_field`, and `conflict` when
 * something has changed since `check_index`.
 */
export async function planDeployment(
  functions: FunctionLookup,
  sql: Sql,
  functionIdOrName: string,
  body: DeploymentCreation,
): Promise<DeploymentPlan> {
  const found = await functions.resolve(sql, functionIdOrName)
  const index = await indexOf(sql, found.id)
  await checkIndex(sql, body.check_index, index)
  const split = splitOf(body)
  const ready = await readyVersion(functions, sql, found.id, body, split)
  const nodes = await allNodes(sql)
  const selector = body.target === 'all' ? null : body.target
  const ofTarget = nodes.filter((node) => selectsPop(selector, node.pop_id))
  const selected = ofTarget.filter((node) => !node.cordoned)
  if (selected.length === 0) {
    throw new EdgefnError('no_edge_nodes', 'No edge nodes available in target POP', {
      details: { target: body.target },
    })
  }
  const settings = rolloutSettings(body, selected.length)
  checkOrder(body.strategy, settings.pop_order, ofTarget)
  const supersedes = await activeRollout(sql, found.id)
  const now = await assignedNow(sql, found.id)
  const before = new Map([...now].map(([nodeId, { previous }]) => [nodeId, previous]))
  if (supersedes !== null) {
    for (const { node_id, previous } of await changedNodes(sql, supersedes.deployment_id)) {
      before.set(node_id, previous)
    }
  }
  const planned = (node: NodeRow, step: number | null): PlannedNode => ({
    node_id: node.id,
    pop_id: node.pop_id,
    online: node.online,
    step,
    from: now.get(node.id)?.previous ?? null,
    acknowledged: now.get(node.id)?.acknowledged ?? true,
    back_to: before.get(node.id) ?? null,
  })
  const taken = new Set(selected.map((node) => node.id))
  const givenBack = nodes.filter(
    ({ id }) =>
      !taken.has(id) && before.get(id)?.deployment_id !== now.get(id)?.previous?.deployment_id,
  )
  return {
    function_id: found.id,
    function_name: found.name,
    version: ready.version,
    split,
    target: body.target,
    strategy: body.strategy,
    index,
    settings,
    supersedes,
    nodes: [
      ...nodesBySteps(selected, settings.steps, settings.pop_order).map(({ node, step }) =>
        planned(node, step),
      ),
      ...givenBack.map((node) => planned(node, null)),
    ],
  }
}

/** The newest change to what nodes are to serve of the function: deployments, their steps, and routes. */
export async function indexOf(sql: Sql, functionId: FunctionId): Promise<number> {
  const row = await sql.get(
    `SELECT max(
       coalesce((SELECT max(revision) FROM rollouts WHERE function_id = ?1), 0),
       coalesce((SELECT max(revision) FROM assignments WHERE function_id = ?1), 0),
       coalesce((SELECT max(revision) FROM routes WHERE function_id = ?1), 0)) AS newest`,
    [functionId],
  )
  return Number(row?.['newest'])
}

async function checkIndex(sql: Sql, wanted: number | undefined, index: number): Promise<void> {
  if (wanted === undefined) return
  const row = await sql.get('SELECT revision FROM revision_counter WHERE id = 1')
  const newest = Number(row?.['revision'] ?? 0)
  if (wanted > newest) {
    // From another control plane, or from before a backup was put back: what has changed since cannot be known.
    throw new EdgefnError(
      'conflict',
      `There is no check_index ${wanted} yet: the newest is ${newest}. Look at the plan again.`,
      { details: { field: 'check_index', index } },
    )
  }
  if (wanted >= index) return
  throw new EdgefnError(
    'conflict',
    `The function has changed since check_index ${wanted}; its index is ${index}. Look at the plan again.`,
    { details: { field: 'check_index', index } },
  )
}

/** A name that is misspelt would leave the POP its turn by id. Cordoned nodes are there too: they may be back before their turn. */
function checkOrder(
  strategy: DeploymentCreation['strategy'],
  popOrder: readonly string[],
  nodes: readonly NodeRow[],
): void {
  for (const [index, pops] of popOrder.entries()) {
    if (nodes.some((node) => selectsPop(pops, node.pop_id))) continue
    const problem = `selects no node of the target: ${JSON.stringify(pops)}`
    throw contradiction(`${strategy}.pop_order.${index}`, problem)
  }
}

/** Null when one version is to have all of the traffic. Throws `invalid_field` for fields that contradict each other. */
function splitOf({ version, versions, sticky }: DeploymentCreation): SplitView | null {
  if (versions === undefined) {
    if (sticky === undefined) return null
    throw contradiction('sticky', 'must not be given without a split: versions with their weights')
  }
  if (version !== undefined) throw contradiction('version', 'must not be given beside versions')
  const ascending = [...versions].sort((a, b) => a.version - b.version)
  return { sticky: sticky ?? 'client', versions: ascending }
}

function contradiction(field: string, problem: string): EdgefnError {
  return new EdgefnError('invalid_field', `${field} ${problem}.`, { details: { field } })
}

/** The version to deploy, or the one that stands for a split all of whose versions are ready. */
async function readyVersion(
  functions: FunctionLookup,
  sql: Sql,
  functionId: FunctionId,
  body: DeploymentCreation,
  split: SplitView | null,
): Promise<ReadyVersion> {
  if (split === null) return functions.version(sql, functionId, body.version ?? null)
  for (const { version } of split.versions) await functions.version(sql, functionId, version)
  return functions.version(sql, functionId, mainVersion(split.versions))
}

/** Offline nodes too: they get the version when they return. Nodes that are cordoned keep what they have. */
async function allNodes(sql: Sql): Promise<NodeRow[]> {
  const rows = await sql.all('SELECT id, pop_id, status, cordoned FROM nodes ORDER BY id')
  return rows.map((row) => ({
    id: row['id'] as NodeId,
    pop_id: row['pop_id'] as PopId,
    online: row['status'] !== 'offline',
    cordoned: row['cordoned'] === 1,
  }))
}

interface AssignedNow {
  readonly previous: Previous
  readonly acknowledged: boolean
}

async function assignedNow(sql: Sql, functionId: FunctionId): Promise<Map<NodeId, AssignedNow>> {
  const rows = await sql.all(
    `SELECT a.node_id, a.version, a.split, a.deployment_id, t.state FROM assignments a
     LEFT JOIN deployment_targets t ON t.deployment_id = a.deployment_id AND t.node_id = a.node_id
     WHERE a.function_id = ? AND a.removed = 0`,
    [functionId],
  )
  return new Map(
    rows.map((row) => [
      row['node_id'] as NodeId,
      {
        previous: {
          version: Number(row['version']),
          split: readSplit(row['split']),
          deployment_id: row['deployment_id'] as DeploymentId,
        },
        acknowledged: row['state'] === 'deployed',
      },
    ]),
  )
}

interface PlanRoute {
  readonly id: RouteId
  readonly host: string
  readonly path: string
  readonly path_type: PathType
  readonly pop_selector: string | null
}

export async function planView(sql: Sql, plan: DeploymentPlan): Promise<DeploymentPlanView> {
  const { settings, version, split } = plan
  const routes = (await sql.all(
    `SELECT id, host, path, path_type, pop_selector FROM routes
     WHERE function_id = ? AND deleted_at IS NULL ORDER BY id`,
    [plan.function_id],
  )) as unknown as PlanRoute[]
  const ofPop = new Map<PopId, RouteId[]>()
  for (const popId of new Set(plan.nodes.map((node) => node.pop_id))) {
    const live = routes.filter((route) => selectsPop(route.pop_selector, popId))
    ofPop.set(
      popId,
      live.map((route) => route.id),
    )
  }
  const counts = Map.groupBy(plan.nodes, (node) => node.step)
  return {
    function_id: plan.function_id,
    function_name: plan.function_name,
    version,
    split,
    target: plan.target,
    strategy: plan.strategy,
    index: plan.index,
    max_failed: settings.max_failed,
    pause_seconds: settings.pause_ms / 1000,
    step_timeout_seconds: settings.step_timeout_ms / 1000,
    on_failure: settings.on_failure,
    supersedes: plan.supersedes?.deployment_id ?? null,
    steps: settings.steps.map(({ gates }, index) => ({
      step: index + 1,
      nodes: counts.get(index + 1)?.length ?? 0,
      gates,
    })),
    nodes: plan.nodes.map((node) => {
      const { back_to } = node
      const restored = back_to === null ? null : { version: back_to.version, split: back_to.split }
      const to = node.step === null ? restored : { version, split }
      return { ...node, to, routes: to === null ? [] : (ofPop.get(node.pop_id) ?? []) }
    }),
    routes,
  }
}
