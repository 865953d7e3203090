/** Makes a node's plan out of what is stored: pure, so that what a delta must contain can be tested by itself. */

import type { DeploymentId, FunctionId, RouteId } from '../../protocol/ids.ts'
import type { Manifest } from '../../protocol/manifest.ts'
import type { Action, Plan } from '../../protocol/plan.ts'
import type { PlanSchema } from '../../protocol/schemas.ts'
import { selectsPop } from '../../protocol/selector.ts'
import type { SplitView } from '../../protocol/split.ts'
import { toRoute, type RouteRow } from '../route-row.ts'

/** What a node should serve, or (removed) should have dropped. */
export interface AssignmentRow {
  readonly function_id: FunctionId
  readonly version: number
  readonly split: SplitView | null
  readonly deployment_id: DeploymentId
  readonly revision: number
  readonly removed: boolean
}

/** A route with when it last changed; `deleted` rows are tombstones. */
export interface PlanRouteRow extends RouteRow {
  readonly revision: number
  readonly deleted: boolean
}

/** A schema with when it was made and whom it is for. */
export interface PlanSchemaRow extends PlanSchema {
  readonly revision: number
  readonly pop_selector: string | null
}

/** A change of the desired state; a function by its assignment, so that its manifest can be made afterwards. */
export type Step =
  | { readonly action: 'put_schema'; readonly schema: PlanSchemaRow }
  | { readonly action: 'put_function'; readonly assignment: AssignmentRow }
  | { readonly action: 'put_route'; readonly route: PlanRouteRow }
  | { readonly action: 'remove_route'; readonly route_id: RouteId }
  | { readonly action: 'remove_function'; readonly function_id: FunctionId }

export interface PlanInput {
  readonly pop_id: string
  /** Where the node is; 0 asks for everything. */
  readonly base_revision: number
  readonly full: boolean
  /** At least the node's assignments changed since the base, and the live ones of the functions of `routes` and `schemas`. */
  readonly assignments: readonly AssignmentRow[]
  /** At least the routes changed since the base, and those of functions whose assignment changed since then. */
  readonly routes: readonly PlanRouteRow[]
  /** The same of schemas, those left out that the node has applied, but for a full plan; a function's by their numbers. */
  readonly schemas: readonly PlanSchemaRow[]
}

/**
 * Whether a node must be told everything. Besides a node that asks for it (0), this is one whose revision was never
 * acknowledged here: the acknowledgement was lost, or the database was restored from a backup, or the node is new under
 * an old name. A full plan is right in every case.
 */
export function needsFullPlan(node: {
  readonly base_revision: number
  readonly applied_revision: number
  readonly desired_revision: number
}): boolean {
  return (
    node.base_revision === 0 ||
    node.base_revision > node.applied_revision ||
    node.base_revision > node.desired_revision
  )
}

/** The steps in the order of `protocol/plan.ts`. Linear in the rows. */
export function planSteps(input: PlanInput): Step[] {
  const since = input.full ? -1 : input.base_revision
  const live = new Map<FunctionId, AssignmentRow>()
  const gone: FunctionId[] = []
  const touched = new Set<FunctionId>()
  for (const assignment of input.assignments) {
    const changed = assignment.revision > since
    if (changed) touched.add(assignment.function_id)
    if (!assignment.removed) live.set(assignment.function_id, assignment)
    else if (changed && !input.full) gone.push(assignment.function_id)
  }
  const putSchemas: Step[] = []
  for (const schema of input.schemas) {
    const isNews = schema.revision > since || touched.has(schema.function_id)
    const applies = live.has(schema.function_id) && selectsPop(schema.pop_selector, input.pop_id)
    if (isNews && applies) putSchemas.push({ action: 'put_schema', schema })
  }
  const putFunctions: Step[] = []
  for (const [functionId, assignment] of live) {
    if (touched.has(functionId)) putFunctions.push({ action: 'put_function', assignment })
  }
  const putRoutes: Step[] = []
  const removeRoutes: Step[] = []
  for (const route of input.routes) {
    if (route.revision <= since && !touched.has(route.function_id)) continue
    const applies =
      !route.deleted && live.has(route.function_id) && selectsPop(route.pop_selector, input.pop_id)
    if (applies) putRoutes.push({ action: 'put_route', route })
    else if (!input.full) removeRoutes.push({ action: 'remove_route', route_id: route.id })
  }
  const removeFunctions: Step[] = gone.map((functionId) => ({
    action: 'remove_function',
    function_id: functionId,
  }))
  return [...putSchemas, ...putFunctions, ...putRoutes, ...removeRoutes, ...removeFunctions]
}

/** The plan as the node gets it; `manifests` has one for every function that is put. */
export function toPlan(
  head: Pick<Plan, 'node_id' | 'base_revision' | 'revision' | 'preview_domain'>,
  full: boolean,
  steps: readonly Step[],
  manifests: ReadonlyMap<FunctionId, Manifest>,
): Plan {
  const actions: Action[] = []
  for (const step of steps) {
    if (step.action === 'put_route')
      actions.push({ action: 'put_route', route: toRoute(step.route) })
    else if (step.action === 'put_schema')
      actions.push({ action: 'put_schema', schema: toPlanSchema(step.schema) })
    else if (step.action === 'put_function') {
      const manifest = manifests.get(step.assignment.function_id)
      if (manifest !== undefined) actions.push({ action: 'put_function', function: manifest })
    } else actions.push(step)
  }
  return { ...head, base_revision: full ? 0 : head.base_revision, full, actions }
}

function toPlanSchema({ function_id, number, sha256, sql }: PlanSchemaRow): PlanSchema {
  return { function_id, number, sha256, sql }
}
