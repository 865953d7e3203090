/** From state and plan to the next state: idempotent, never backwards, equal by any way that leads to the same desire. */

import { describe, expect, test } from 'bun:test'

import fc from 'fast-check'

import { EdgefnError } from '../../../../src/errors.ts'
import type { NodeState, TableSource } from '../../../../src/edge/agent/node-state.ts'
import {
  EMPTY_STATE,
  keysInUse,
  NO_PREVIEWS,
  tableOf,
  WorkerRows,
} from '../../../../src/edge/agent/node-state.ts'
import {
  isSettled,
  mergeAck,
  reconcile,
  resultOf,
  settle,
  splitAck,
} from '../../../../src/edge/agent/sync/reconcile.ts'
import type { Manifest } from '../../../../src/protocol/manifest.ts'
import type { Action, Plan } from '../../../../src/protocol/plan.ts'
import { planSchema, syncAckSchema } from '../../../../src/protocol/plan.ts'
import { makeManifest, makeRoute, makeSplit, uuid } from '../fixtures/manifests.ts'

function makePlan(base: number, revision: number, actions: readonly Action[], full = false): Plan {
  return planSchema.parse({ node_id: 'n', base_revision: base, revision, full, actions })
}

const actionArbitrary: fc.Arbitrary<Action> = fc.oneof(
  fc
    .record({ id: fc.integer({ min: 1, max: 4 }), version: fc.integer({ min: 1, max: 3 }) })
    .map((parts): Action => ({ action: 'put_function', function: makeManifest(parts) })),
  fc
    .record({ id: fc.integer({ min: 1, max: 4 }), weight: fc.integer({ min: 1, max: 99 }) })
    .map(({ id, weight }): Action => ({ action: 'put_function', function: makeSplit(id, weight) })),
  fc
    .record({ number: fc.integer({ min: 1, max: 5 }), to: fc.integer({ min: 1, max: 4 }) })
    .map(({ number, to }): Action => ({ action: 'put_route', route: makeRoute(number, to) })),
  fc
    .integer({ min: 1, max: 5 })
    .map((n): Action => ({ action: 'remove_route', route_id: makeRoute(n, 1).route_id })),
  fc.integer({ min: 1, max: 4 }).map((id): Action => ({
    action: 'remove_function',
    function_id: makeManifest({ id }).function_id,
  })),
)
const actionsArbitrary = fc.array(actionArbitrary, { maxLength: 8 })

function step(state: NodeState, plan: Plan): NodeState {
  const result = reconcile(state, plan)
  if (result.outcome !== 'next') throw new Error(`The plan is ${result.outcome}.`)
  return result.state
}

/** Brings everything pending into service, or lets it fail. */
function finish(state: NodeState, fails: boolean): NodeState {
  const pending = [...state.functions].filter(([, entry]) => entry.pending !== null)
  const error = fails ? new EdgefnError('function_load_failed', 'bad') : null
  return settle(state, new Map(pending.map(([id]) => [id, error])))
}

const comparable = (state: NodeState) => ({
  ...state,
  functions: Object.fromEntries([...state.functions].sort()),
  routes: Object.fromEntries([...state.routes].sort()),
})

test('a plan that is applied twice changes nothing the second time', () => {
  fc.assert(
    fc.property(
      actionsArbitrary,
      actionsArbitrary,
      fc.boolean(),
      fc.boolean(),
      (first, second, full, fails) => {
        const before = finish(step(EMPTY_STATE, makePlan(0, 3, first)), fails)
        const plan = makePlan(full ? 0 : 3, 7, second, full)
        const once = step(before, plan)
        expect(comparable(step(once, plan))).toEqual(comparable(once))
        const settled = finish(once, fails)
        const again = step(settled, plan)
        // Doing it again may only ask for what a later action of the same plan took away before.
        if (fullNames(second)) expect(comparable(again)).toEqual(comparable(settled))
      },
    ),
    { numRuns: 300 },
  )
})

/** Whether the plan names each thing once, as the control plane's plans do. */
function fullNames(actions: readonly Action[]): boolean {
  const names = actions.map((action) => {
    if (action.action === 'put_function') return action.function.function_id
    if (action.action === 'put_route') return action.route.route_id
    if (action.action === 'put_schema') {
      return `${action.schema.function_id}/${action.schema.number}`
    }
    return action.action === 'remove_route' ? action.route_id : action.function_id
  })
  return new Set(names).size === names.length
}

test('a full plan leads to the same functions and routes from anywhere', () => {
  fc.assert(
    fc.property(actionsArbitrary, actionsArbitrary, fc.boolean(), (history, wanted, fails) => {
      const puts = wanted.filter(
        ({ action }) => action === 'put_function' || action === 'put_route',
      )
      const full = makePlan(0, 9, puts, true)
      const somewhere = finish(step(EMPTY_STATE, makePlan(0, 5, history)), false)
      const fromThere = finish(step(somewhere, full), fails)
      const fromNothing = finish(step(EMPTY_STATE, full), fails)
      expect([...fromThere.functions.keys()].sort()).toEqual(
        [...fromNothing.functions.keys()].sort(),
      )
      expect(comparable(fromThere).routes).toEqual(comparable(fromNothing).routes)
      if (!fails) expect(comparable(fromThere)).toEqual(comparable(fromNothing))
    }),
    { numRuns: 300 },
  )
})

test('a node never steps back by a delta, does by a full plan, and asks for one over a gap', () => {
  const state = step(EMPTY_STATE, makePlan(0, 10, []))
  expect(reconcile(state, makePlan(2, 8, [])).outcome).toBe('stale')
  expect(reconcile(state, makePlan(11, 12, [])).outcome).toBe('gap')
  expect(step(state, makePlan(0, 8, [], true)).revision).toBe(8)
  expect(step(state, makePlan(5, 12, [])).revision).toBe(12)
})

const SOURCE: TableSource = {
  slotsOf: () => ({ slot: 0, quota_slot: 0 }),
  pathOf: () => '/cached',
  compiledOf: () => null,
  rows: new WorkerRows(),
  previews: NO_PREVIEWS,
}

describe('a version that fails', () => {
  const one = makeManifest({ version: 1 })
  const two = makeManifest({ version: 2 })
  const put = (manifest: typeof one): Action => ({ action: 'put_function', function: manifest })
  const serving = finish(step(EMPTY_STATE, makePlan(0, 1, [put(one)])), false)

  test('leaves the old one in the table and is reported', () => {
    const failed = finish(step(serving, makePlan(1, 2, [put(two)])), true)
    const table = tableOf(failed, SOURCE)
    expect([...table.functions.values()].map((fn) => fn.version)).toEqual([1])
    const entry = failed.functions.get(uuid(1))
    expect(entry && resultOf(entry)).toMatchObject({ version: 2, state: 'failed' })
  })

  test('is in the table without a path when there is no old one, so that its routes answer', () => {
    const plan = makePlan(0, 1, [put(one), { action: 'put_route', route: makeRoute(1, 1) }])
    const table = tableOf(finish(step(EMPTY_STATE, plan), true), SOURCE)
    expect([...table.functions.values()].map((fn) => fn.path)).toEqual([null])
    expect(table.routes.size).toBe(1)
  })

  test('is forgotten when the old one is asked for again', () => {
    const failed = finish(step(serving, makePlan(1, 2, [put(two)])), true)
    const back = step(failed, makePlan(2, 3, [put(one)]))
    expect(back.functions.get(uuid(1))).toEqual({ serving: one, pending: null, failure: null })
  })

  test('of a kind that may pass is settled after five tries', () => {
    let state = step(serving, makePlan(1, 2, [put(two)]))
    const error = new EdgefnError('artifact_store_unavailable', 'away')
    for (let attempt = 1; attempt <= 5; attempt++) {
      state = settle(state, new Map([[uuid(1), error]]))
      const entry = state.functions.get(uuid(1))
      expect(entry && isSettled(entry)).toBe(attempt === 5)
    }
  })
})

test('acknowledgements keep the newest result of a function and split below a size', () => {
  const result = (id: number, version: number) => ({
    function_id: uuid(id),
    version,
    deployment_id: uuid(1),
    state: 'deployed',
    error: null,
  })
  const ack = (revision: number, ids: readonly number[]) =>
    syncAckSchema.parse({
      base_revision: revision - 1,
      revision,
      results: ids.map((id) => result(id, revision)),
      duration_ms: 1,
    })
  const merged = mergeAck(ack(1, [1, 2]), ack(2, [2, 3]))
  expect(merged).toMatchObject({ base_revision: 0, revision: 2, duration_ms: 2 })
  expect(merged.results.map((r) => r.version)).toEqual([1, 2, 2])
  const parts = splitAck(
    ack(
      3,
      Array.from({ length: 100 }, (_, index) => index),
    ),
    1000,
  )
  expect(parts.length).toBeGreaterThan(10)
  expect(parts.flatMap((part) => part.results).length).toBe(100)
  expect(splitAck(ack(4, []), 1000).length).toBe(1)
})

describe('a split', () => {
  const put = (manifest: Manifest): Action => ({ action: 'put_function', function: manifest })
  const putSplit = (weight: number) => put(makeSplit(1, weight))
  const one = makeManifest({ id: 1, version: 1 })
  const serving = finish(step(EMPTY_STATE, makePlan(0, 1, [put(one)])), false)

  test('has a row for each version, of which the routes lead to the first; ended, it leaves one', () => {
    const split = finish(step(serving, makePlan(1, 2, [putSplit(90)])), false)
    const { functions } = tableOf(split, SOURCE)
    expect([...functions.keys()]).toEqual([uuid(1), `${uuid(1)}/2`])
    expect(functions.get(uuid(1))).toMatchObject({
      version: 1,
      split: {
        sticky: 'client',
        arms: [
          { version: 1, weight: 90 },
          { version: 2, weight: 10 },
        ],
      },
    })
    expect(functions.get(`${uuid(1)}/2`)).toMatchObject({ version: 2, split: null })
    expect([...keysInUse(split)]).toEqual([`${uuid(1)}/1`, `${uuid(1)}/2`])
    const two = makeManifest({ id: 1, version: 2 })
    const ended = step(split, makePlan(2, 3, [put(two)]))
    const rows = tableOf(finish(ended, false), SOURCE).functions
    expect([...rows.values()].map((fn) => [fn.key, fn.version, fn.split])).toEqual([
      [uuid(1), 2, null],
    ])
  })

  test('of other weights is news, the same with other URLs is none', () => {
    const split = finish(step(serving, makePlan(1, 2, [putSplit(90)])), false)
    const again = makeSplit(1, 90, { url: 'http://127.0.0.1:2/elsewhere' })
    const same = step(split, makePlan(2, 3, [put(again)]))
    expect(same.functions.get(uuid(1))?.pending).toBeNull()
    const other = step(split, makePlan(2, 3, [putSplit(50)]))
    expect(other.functions.get(uuid(1))?.pending?.split?.weight).toBe(50)
  })

  test('that fails leaves the table as it was', () => {
    const failed = finish(step(serving, makePlan(1, 2, [putSplit(90)])), true)
    const rows = [...tableOf(failed, SOURCE).functions.values()]
    expect(rows.map((fn) => [fn.key, fn.version, fn.split])).toEqual([[uuid(1), 1, null]])
  })
})
