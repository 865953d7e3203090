/** A control plane that is newer: its answers have fields, actions and notices that this version has never heard of. */

import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { z } from 'zod'

import { nodeCredentialsSchema, pageSchema } from '../../src/protocol/api.ts'
import { decodeAnswer, readAnswer, readPlan } from '../../src/protocol/lenient.ts'
import { heartbeatAnswerSchema, noticeSchema } from '../../src/protocol/messages.ts'
import { planSchema, syncAckSchema, type Plan } from '../../src/protocol/plan.ts'
import { makeManifest, makeRoute, makeSplit, uuid } from '../edge/agent/fixtures/manifests.ts'

const plan = planSchema.parse({
  node_id: 'tokyo-1-a',
  base_revision: 3,
  revision: 9,
  full: false,
  actions: [
    { action: 'put_function', function: makeManifest({ id: 1, env: { A: 'b' } }) },
    { action: 'put_function', function: makeSplit(2, 30) },
    { action: 'put_route', route: makeRoute(1, 1) },
    { action: 'remove_route', route_id: uuid(7) },
    { action: 'remove_function', function_id: uuid(8) },
  ],
} satisfies z.input<typeof planSchema>)

const notice = { type: 'deploy', notice_id: uuid(1), revision: 4, ...makeManifest(), routes: [] }

const credentials = {
  node_id: 'tokyo-1-a',
  pop_id: 'tokyo-1',
  token: 't',
  token_expires_at: '2026-01-01T00:00:00.000Z',
  mqtt_url: null,
  mqtt_auth: 'token',
  signing_key: 'k',
  heartbeat_seconds: 30,
}

const beatAnswer = {
  revision: 4,
  notices: [notice],
  server_time: '2026-01-01T00:00:00.000Z',
  mqtt: { mqtt_url: null, mqtt_auth: 'account' },
}

const isData = (name: string) => name === 'env' || name === 'secrets'

/** The same with a field more in every object; names of variables are data, not fields. */
function embellished(value: unknown, extra: unknown, depth = 0): unknown {
  if (Array.isArray(value)) return value.map((item) => embellished(item, extra, depth + 1))
  if (typeof value !== 'object' || value === null) return value
  const fields = Object.entries(value).map(([name, field]) => [
    name,
    isData(name) ? field : embellished(field, extra, depth + 1),
  ])
  return { ...(Object.fromEntries(fields) as object), [`newer_${depth}`]: extra }
}

const answers: [string, z.ZodType, unknown][] = [
  ['a plan', planSchema, plan],
  ['a notice', noticeSchema, notice],
  ['credentials', nodeCredentialsSchema, credentials],
  ['an answer to a heartbeat', heartbeatAnswerSchema, beatAnswer],
  [
    'a page',
    pageSchema(nodeCredentialsSchema),
    { items: [credentials, credentials], next_cursor: null },
  ],
]

describe('fields that are not known are left out, wherever they are', () => {
  test.each(answers)('of %s', (_name, schema, answer) => {
    fc.assert(
      fc.property(fc.json(), (json) => {
        const newer = embellished(answer, JSON.parse(json))
        expect(schema.safeParse(newer).success).toBe(false)
        expect(readAnswer(schema, newer).data).toEqual(schema.parse(answer))
        // What was read is not changed.
        expect(newer).toEqual(embellished(answer, JSON.parse(json)))
      }),
      { numRuns: 100 },
    )
  })

  test('of an alternative of a union', () => {
    const schema = z.union([z.strictObject({ a: z.int() }), z.strictObject({ b: z.string() })])
    expect(readAnswer(z.array(schema), [{ b: 'x', c: 1 }]).data).toEqual([{ b: 'x' }])
  })

  test('what is missing or wrong is still refused', () => {
    const { node_id: _, ...without } = plan
    expect(readAnswer(planSchema, embellished(without, 1)).success).toBe(false)
    expect(readAnswer(planSchema, { ...plan, revision: -1, more: 1 }).success).toBe(false)
    expect(decodeAnswer(noticeSchema, '{"type":"fireworks"}')).toBeNull()
    expect(decodeAnswer(noticeSchema, 'no JSON')).toBeNull()
  })

  test('requests stay strict', () => {
    const ack = { base_revision: 0, revision: 1, results: [], duration_ms: 1 }
    expect(syncAckSchema.safeParse(ack).success).toBe(true)
    expect(syncAckSchema.safeParse({ ...ack, more: 1 }).success).toBe(false)
  })
})

describe('an action that cannot be read', () => {
  const read = (actions: unknown[]) => {
    const result = readPlan({ ...plan, actions })
    if (!result.success) throw result.error
    return result.data
  }

  test('of an unknown kind is put aside, and the rest stays in order', () => {
    const unknown = { action: 'put_weather', weather: { kind: 'rain' } }
    const [first, ...rest] = plan.actions
    const got = read([first, unknown, ...rest, 'not even an object', { action: 7 }])
    expect(got.actions).toEqual(plan.actions)
    expect(got.unread).toEqual([
      { action: 'put_weather', subject: null, result: null },
      { action: 'unknown', subject: null, result: null },
      { action: 'unknown', subject: null, result: null },
    ])
  })

  test('of a known kind with a value that is not is a failure of that function', () => {
    const manifest = makeManifest({ id: 4, version: 2 })
    const { function_id, version, deployment_id } = manifest
    const got = read([{ action: 'put_function', function: { ...manifest, abi: 'of-tomorrow' } }])
    expect(got.actions).toEqual([])
    const error = { code: 'unsupported', message: expect.any(String) as unknown as string }
    const result = { function_id, version, deployment_id, state: 'failed' as const, error }
    expect(got.unread).toEqual([{ action: 'put_function', subject: function_id, result }])
    const route = { ...makeRoute(3, 1), path_type: 'of-tomorrow' }
    expect(read([{ action: 'put_route', route }]).unread).toEqual([
      { action: 'put_route', subject: route.route_id, result: null },
    ])
  })

  test('is looked for only where there is one', () => {
    expect(readPlan(embellished(plan, 'x')).data).toEqual(plan satisfies Plan)
    expect(readPlan({ ...plan, actions: 'all' }).success).toBe(false)
    expect(readPlan(null).success).toBe(false)
  })
})
