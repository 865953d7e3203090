import { expect, test } from 'bun:test'

import fc from 'fast-check'

import { EMPTY_STATE, type NodeState } from '../../../../src/edge/agent/node-state.ts'
import {
  failureOf,
  isApplied,
  putSchema,
  schemaResults,
  settleSet,
  startOver,
} from '../../../../src/edge/agent/schemas/schema-state.ts'
import type { SchemaSet } from '../../../../src/edge/agent/schemas/schema-state.ts'
import { mergeAck, reconcile, splitAck } from '../../../../src/edge/agent/sync/reconcile.ts'
import type { Sha256 } from '../../../../src/protocol/ids.ts'
import { planSchema, syncAckSchema, type Action } from '../../../../src/protocol/plan.ts'
import type { PlanSchema } from '../../../../src/protocol/schemas.ts'
import { makeManifest } from '../fixtures/manifests.ts'

function schema(fn: number, number: number, text = 'a'): PlanSchema {
  const { function_id } = makeManifest({ id: fn })
  return { function_id, number, sha256: text.repeat(64) as Sha256, sql: `SELECT '${text}'` }
}

const actions: fc.Arbitrary<Action[]> = fc.uniqueArray(
  fc.oneof(
    fc
      .tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 4 }))
      .map(([fn, number]): Action => ({ action: 'put_schema', schema: schema(fn, number) })),
    fc
      .integer({ min: 1, max: 3 })
      .map((id): Action => ({ action: 'put_function', function: makeManifest({ id }) })),
  ),
  { maxLength: 10, selector: (action) => JSON.stringify(action) },
)

function step(state: NodeState, list: readonly Action[], full: boolean): NodeState {
  const [base_revision, revision] = [full ? 0 : state.revision, state.revision + 1]
  const plan = planSchema.parse({ node_id: 'n', base_revision, revision, full, actions: list })
  const next = reconcile(state, plan)
  if (next.outcome !== 'next') throw new Error(next.outcome)
  return next.state
}

/** Everything pending is applied. */
function finish(state: NodeState): NodeState {
  const schemas = new Map<string, SchemaSet>()
  for (const [id, set] of state.schemas) {
    const answers = set.map(({ number }) => ({ number, error: null }))
    schemas.set(id, settleSet(set, answers))
  }
  return { ...state, schemas }
}

test('a plan done twice leaves schemas as they are, in the order of their numbers, whatever order they come in', () => {
  fc.assert(
    fc.property(actions, fc.boolean(), (list, full) => {
      const done = finish(step(EMPTY_STATE, list, full))
      const again = step(done, list.toReversed(), full)
      expect([...again.schemas]).toEqual([...done.schemas])
      for (const set of again.schemas.values()) {
        expect(isApplied(set)).toBe(true)
        const numbers = set.map(({ number }) => number)
        expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
      }
      expect(schemaResults(done.schemas, again.schemas)).toEqual([])
    }),
    { numRuns: 200 },
  )
})

test('a full plan leaves what it names and no more', () => {
  fc.assert(
    fc.property(actions, actions, (before, after) => {
      const from = step(finish(step(EMPTY_STATE, before, false)), after, true)
      const named = (set: SchemaSet) => set.map(({ number }) => number)
      const fresh = step(EMPTY_STATE, after, true)
      expect(new Map([...from.schemas].map(([id, set]) => [id, named(set)]))).toEqual(
        new Map([...fresh.schemas].map(([id, set]) => [id, named(set)])),
      )
    }),
    { numRuns: 200 },
  )
})

test('a removed function takes its schemas along', () => {
  const { function_id } = makeManifest({ id: 1 })
  const held = step(EMPTY_STATE, [{ action: 'put_schema', schema: schema(1, 1) }], false)
  expect(held.schemas.size).toBe(1)
  expect(step(held, [{ action: 'remove_function', function_id }], false).schemas.size).toBe(0)
})

test('one that failed is tried again when it is put again, and those after it wait', () => {
  const error = { code: 'sql_error', message: 'no' }
  const put = putSchema(putSchema([], schema(1, 2)), schema(1, 1))
  const failed = settleSet(put, [{ number: 1, error }])
  expect(failed.map(({ state }) => state)).toEqual(['failed', 'pending'])
  expect(failureOf(failed)?.number).toBe(1)
  expect(failureOf(putSchema(failed, schema(1, 1)))).toBeNull()
  // Another text is for the database to refuse.
  const applied = settleSet(put, [{ number: 1, error: null }])
  expect(putSchema(applied, schema(1, 1, 'b'))[0]?.state).toBe('pending')
  expect(startOver(applied).every(({ state }) => state === 'pending')).toBe(true)
})

test('results are reported once, merged by number, and split with the rest', () => {
  const { function_id } = makeManifest({ id: 1 })
  const pending = new Map([[function_id, putSchema(putSchema([], schema(1, 1)), schema(1, 2))]])
  const settled = new Map(
    [...pending].map(([id, set]) => [id, settleSet(set, [{ number: 1, error: null }])] as const),
  )
  const told = schemaResults(pending, settled)
  expect(told).toEqual([{ function_id, number: 1, state: 'applied', error: null }])
  expect(schemaResults(settled, settled)).toEqual([])
  const ack = (schemas: typeof told) =>
    syncAckSchema.parse({ base_revision: 1, revision: 2, results: [], schemas, duration_ms: 1 })
  const failed = { ...told[0], state: 'failed', error: { code: 'x', message: 'y' } } as never
  const merged = mergeAck(ack([failed]), ack(told))
  expect(merged.schemas).toEqual(told)
  const result = (number: number) => ({
    function_id,
    number,
    state: 'applied' as const,
    error: null,
  })
  const many = ack(Array.from({ length: 9 }, (_, index) => result(index + 1)))
  const parts = splitAck(many, 300)
  expect(parts.length).toBeGreaterThan(2)
  expect(parts.flatMap(({ schemas = [] }) => schemas)).toEqual(many.schemas ?? [])
})
