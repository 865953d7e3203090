/** The plan as a pure function: a delta and the state it starts from always give the state that is desired. */

import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'

import {
  needsFullPlan,
  planSteps,
  type AssignmentRow,
  type PlanRouteRow,
  type Step,
} from '../../../src/cp/sync/plan.ts'
import type { DeploymentId, FunctionId, RouteId } from '../../../src/protocol/ids.ts'
import { selectsPop } from '../../../src/protocol/selector.ts'

const pop = 'tokyo-1'

/** What the control plane stores; changed one revision at a time. */
interface Stored {
  revision: number
  readonly assignments: Map<FunctionId, AssignmentRow>
  readonly routes: Map<RouteId, PlanRouteRow>
}

/** What a node holds. */
interface Held {
  readonly functions: Map<string, number>
  readonly routes: Map<string, string>
}

type Change =
  | { kind: 'deploy'; fn: number; version: number }
  | { kind: 'undeploy'; fn: number }
  | { kind: 'route'; route: number; fn: number; selector: string | null; priority: number }
  | { kind: 'unroute'; route: number }

const changes: fc.Arbitrary<Change> = fc.oneof(
  fc.record({
    kind: fc.constant('deploy' as const),
    fn: fc.nat(3),
    version: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({ kind: fc.constant('undeploy' as const), fn: fc.nat(3) }),
  fc.record({
    kind: fc.constant('route' as const),
    route: fc.nat(5),
    fn: fc.nat(3),
    selector: fc.constantFrom(null, 'tokyo-*', 'osaka-1', '!tokyo-1', 'tokyo-1'),
    priority: fc.nat(2),
  }),
  fc.record({ kind: fc.constant('unroute' as const), route: fc.nat(5) }),
)

function apply(stored: Stored, change: Change): void {
  stored.revision += 1
  const { revision } = stored
  if (change.kind === 'deploy' || change.kind === 'undeploy') {
    const function_id = `f${change.fn}` as FunctionId
    const before = stored.assignments.get(function_id)
    if (change.kind === 'undeploy' && before === undefined) return
    const version = change.kind === 'deploy' ? change.version : (before?.version ?? 1)
    const removed = change.kind === 'undeploy'
    const deployment_id = `d${revision}` as DeploymentId
    stored.assignments.set(function_id, {
      ...{ function_id, version, split: null, deployment_id, revision, removed },
    })
    return
  }
  const id = `r${change.route}` as RouteId
  const before = stored.routes.get(id)
  if (change.kind === 'unroute') {
    if (before !== undefined) stored.routes.set(id, { ...before, revision, deleted: true })
    return
  }
  stored.routes.set(id, {
    id,
    host: '*',
    path: '/',
    path_type: 'prefix',
    methods: '[]',
    priority: change.priority,
    function_id: `f${change.fn}` as FunctionId,
    pop_selector: change.selector,
    revision,
    deleted: false,
  })
}

function desired(stored: Stored): Held {
  const functions = new Map<string, number>()
  for (const row of stored.assignments.values()) {
    if (!row.removed) functions.set(row.function_id, row.version)
  }
  const routes = new Map<string, string>()
  for (const row of stored.routes.values()) {
    const applies =
      !row.deleted && functions.has(row.function_id) && selectsPop(row.pop_selector, pop)
    if (applies) routes.set(row.id, `${row.function_id}:${row.priority}`)
  }
  return { functions, routes }
}

/** What the store hands to the plan: only what a query by revision finds. */
function plan(stored: Stored, base: number, full: boolean): Step[] {
  const since = full ? 0 : base
  const assignments = [...stored.assignments.values()].filter(
    (row) => !row.removed || row.revision > since,
  )
  const touched = new Set(
    assignments.filter((row) => row.revision > since).map((row) => row.function_id),
  )
  const routes = [...stored.routes.values()].filter((row) =>
    full
      ? !row.deleted && stored.assignments.get(row.function_id)?.removed === false
      : row.revision > since || (!row.deleted && touched.has(row.function_id)),
  )
  return planSteps({ pop_id: pop, base_revision: base, full, assignments, routes, schemas: [] })
}

function perform(held: Held, steps: readonly Step[], full: boolean): Held {
  const functions = new Map(full ? [] : held.functions)
  const routes = new Map(full ? [] : held.routes)
  for (const step of steps) {
    if (step.action === 'put_function') {
      functions.set(step.assignment.function_id, step.assignment.version)
    } else if (step.action === 'put_route') {
      const { id, function_id, priority } = step.route
      expect(functions.has(function_id)).toBe(true)
      routes.set(id, `${function_id}:${priority}`)
    } else if (step.action === 'remove_route') routes.delete(step.route_id)
    else if (step.action === 'remove_function') functions.delete(step.function_id)
  }
  return { functions, routes }
}

function empty(): Stored {
  return { revision: 0, assignments: new Map(), routes: new Map() }
}

const histories = fc.tuple(
  fc.array(changes, { maxLength: 20 }),
  fc.array(changes, { maxLength: 20 }),
)

describe('a plan', () => {
  test('brings a node at any revision to the desired state, and doing it twice changes nothing', () => {
    fc.assert(
      fc.property(histories, ([before, after]) => {
        const stored = empty()
        for (const change of before) apply(stored, change)
        const base = stored.revision
        const held = desired(stored)
        for (const change of after) apply(stored, change)
        const steps = plan(stored, base, false)
        const once = perform(held, steps, false)
        expect(once).toEqual(desired(stored))
        expect(perform(once, steps, false)).toEqual(once)
      }),
      { numRuns: 1000 },
    )
  })

  test('that is full brings a node from anywhere to the desired state', () => {
    fc.assert(
      fc.property(histories, ([before, other]) => {
        const stored = empty()
        for (const change of before) apply(stored, change)
        const elsewhere = empty()
        for (const change of other) apply(elsewhere, change)
        const steps = plan(stored, 0, true)
        expect(perform(desired(elsewhere), steps, true)).toEqual(desired(stored))
        expect(steps.every((step) => step.action.startsWith('put_'))).toBe(true)
      }),
      { numRuns: 200 },
    )
  })

  test('at the current revision is empty', () => {
    fc.assert(
      fc.property(fc.array(changes, { maxLength: 20, minLength: 1 }), (before) => {
        const stored = empty()
        for (const change of before) apply(stored, change)
        expect(plan(stored, stored.revision, false)).toEqual([])
      }),
      { numRuns: 200 },
    )
  })

  test('of rows newer than it says is harmless: the next one brings them again', () => {
    fc.assert(
      fc.property(histories, ([before, after]) => {
        const stored = empty()
        for (const change of before) apply(stored, change)
        const base = stored.revision
        const held = desired(stored)
        for (const change of after) apply(stored, change)
        // The node is told `base` again though it was given everything.
        const once = perform(held, plan(stored, base, false), false)
        expect(perform(once, plan(stored, base, false), false)).toEqual(desired(stored))
      }),
      { numRuns: 200 },
    )
  })
})

test.each([
  [{ base_revision: 0, applied_revision: 9, desired_revision: 9 }, true],
  [{ base_revision: 9, applied_revision: 9, desired_revision: 9 }, false],
  [{ base_revision: 5, applied_revision: 9, desired_revision: 12 }, false],
  // A lost acknowledgement, and a database restored from a backup.
  [{ base_revision: 9, applied_revision: 7, desired_revision: 12 }, true],
  [{ base_revision: 20, applied_revision: 7, desired_revision: 12 }, true],
])('%o needs a full plan: %p', (node, full) => {
  expect(needsFullPlan(node)).toBe(full)
})
