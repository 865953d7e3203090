/** Acknowledgements: one transaction, result by result, and what is kept of them. */

import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'

import { quantile } from '../../../src/cp/sync/history.ts'
import { createSync } from '../../../src/cp/sync/service.ts'
import type { DeploymentView } from '../../../src/protocol/api.ts'
import {
  syncHistorySchema,
  syncRecordsPerNodeMax,
  type SyncHistory,
} from '../../../src/protocol/syncs.ts'
import { ackOf, testPlane, type ErrorAnswer } from '../api/test-plane.ts'
import { developer, slices } from '../deployments/slices.ts'

describe('an acknowledgement', () => {
  test('is recorded function by function: a failure among successes fails that one only', async () => {
    await using cp = await testPlane()
    const node = await cp.addNode('tokyo-1', 'tokyo-a')
    for (const name of ['good', 'bad', 'fine']) await cp.addFunction(name)
    const deployments = new Map<string, DeploymentView>()
    for (const name of ['good', 'bad', 'fine']) deployments.set(name, await cp.deploy(name))
    const plan = await cp.must<Parameters<typeof ackOf>[0]>(
      'GET',
      '/nodes/tokyo-a/sync',
      undefined,
      node.token,
    )
    const error = { code: 'artifact_mismatch', message: 'The digest is another.' }
    const ack = ackOf(plan)
    const results = ack.results.map((result) =>
      result.deployment_id === deployments.get('bad')?.id
        ? { ...result, state: 'failed', error }
        : result,
    )
    await cp.must('POST', '/nodes/tokyo-a/sync/ack', { ...ack, results }, node.token)
    for (const [name, { id }] of deployments) {
      const { status, targets } = await cp.must<DeploymentView>('GET', `/deployments/${id}`)
      const failed = name === 'bad'
      expect([name, status]).toEqual([name, failed ? 'failed' : 'completed'])
      expect(targets[0]).toMatchObject({
        state: failed ? 'failed' : 'deployed',
        error: failed ? error : null,
      })
    }
    const history = syncHistorySchema.parse(await cp.must('GET', '/nodes/tokyo-a/syncs'))
    expect(history.items).toMatchObject([
      { base_revision: 0, revision: plan.revision, succeeded: false, deployed: 2, failed: 1 },
    ])
    expect(history.items[0]?.failures).toMatchObject([{ state: 'failed', error }])
    expect(history.statistics).toMatchObject({ syncs: 1, succeeded: 0, success_rate: 0 })
  })

  test('that is refused leaves nothing, and says which field is wrong', async () => {
    await using cp = await testPlane()
    const node = await cp.addNode('tokyo-1', 'tokyo-a')
    await cp.addFunction('hello')
    const deployment = await cp.deploy('hello')
    const state = async () => ({
      node: await cp.must('GET', '/nodes/tokyo-a'),
      deployment: await cp.must('GET', `/deployments/${deployment.id}`),
      history: await cp.must('GET', '/nodes/tokyo-a/syncs'),
    })
    const before = await state()
    const good = { base_revision: 0, revision: 1, results: [], duration_ms: 1 }
    const refused: [Record<string, unknown>, number, string][] = [
      [{ revision: 99 }, 409, '99'],
      [{ more: 1 }, 400, 'more'],
      [{ duration_ms: -1 }, 400, 'duration_ms'],
      [{ duration_ms: 1e300 }, 400, 'duration_ms'],
      [{ results: [{ function_id: 'x' }] }, 400, 'results'],
    ]
    for (const [fields, status, named] of refused) {
      const body = { ...good, ...fields }
      const path = '/nodes/tokyo-a/sync/ack'
      const answer = await cp.call<ErrorAnswer>('POST', path, body, node.token)
      expect([fields, answer.status]).toEqual([fields, status])
      expect(answer.body.error.message).toContain(named)
    }
    expect(await state()).toEqual(before)
  })

  test('that cannot be recorded to its end leaves nothing of its beginning', async () => {
    await using s = await slices()
    const node = await s.addNode('tokyo-a', 'tokyo-1')
    await s.addFunction('hello')
    const immediate = { target: 'all', strategy: 'immediate', message: '' } as const
    await s.deployments.deploy(developer, 'hello', immediate)
    const sync = createSync({
      db: s.db,
      manifests: async () => Promise.reject(new Error('not asked for')),
      preview_domain: null,
      acknowledgeUpTo: s.outbox.acknowledgeUpTo,
      report: async () => Promise.reject(new Error('the power went')),
      countSync: () => undefined,
    })
    const plan = await s.sync.plan(node, 0)
    const everything = async () => ({
      nodes: await s.db.all('SELECT * FROM nodes'),
      outbox: await s.db.all('SELECT * FROM outbox'),
      records: await s.db.all('SELECT * FROM sync_records'),
      targets: await s.db.all('SELECT * FROM deployment_targets'),
    })
    const before = await everything()
    expect(before.outbox.length).toBe(1)
    expect(sync.acknowledge(node, ackOf(plan))).rejects.toThrow('the power went')
    expect(await everything()).toEqual(before)
    await s.sync.acknowledge(node, ackOf(plan))
    const after = await everything()
    expect([after.outbox.length, after.records.length]).toEqual([0, 1])
  })
})

describe('the history of a node', () => {
  test('is paged, newest first, with figures over all that is kept, and bounded', async () => {
    await using cp = await testPlane()
    const node = await cp.addNode('tokyo-1', 'tokyo-a')
    await cp.addFunction('hello')
    await cp.deploy('hello')
    const empty = syncHistorySchema.parse(await cp.must('GET', '/nodes/tokyo-a/syncs'))
    expect(empty).toEqual({
      items: [],
      next_cursor: null,
      statistics: { syncs: 0, succeeded: 0, success_rate: null, duration_ms: null },
    })
    const beyond = 5
    for (let n = 1; n <= syncRecordsPerNodeMax + beyond; n += 1) {
      const skipped = n % 4 === 0 ? { skipped: ['put_weather'] } : {}
      const ack = { base_revision: 0, revision: 1, results: [], duration_ms: n, ...skipped }
      await cp.must('POST', '/nodes/tokyo-a/sync/ack', ack, node.token)
    }
    const pages: SyncHistory[] = []
    for (let cursor: string | null = ''; cursor !== null;) {
      const path = `/nodes/tokyo-a/syncs?limit=40${cursor === '' ? '' : `&cursor=${cursor}`}`
      const page = syncHistorySchema.parse(await cp.must('GET', path))
      pages.push(page)
      cursor = page.next_cursor
    }
    expect(pages.map(({ items }) => items.length)).toEqual([40, 40, 20])
    const durations = pages.flatMap(({ items }) => items.map((item) => item.duration_ms))
    expect(durations).toEqual(Array.from({ length: 100 }, (_, index) => 105 - index))
    expect(pages[0]?.statistics).toEqual({
      syncs: 100,
      succeeded: 75,
      success_rate: 0.75,
      duration_ms: { min: 6, median: 55, p95: 100, max: 105 },
    })
    expect(pages[0]?.items[1]).toMatchObject({ succeeded: false, skipped: ['put_weather'] })
    expect((await cp.call('GET', '/nodes/nobody/syncs')).status).toBe(404)
    expect((await cp.call('GET', '/nodes/tokyo-a/syncs?limit=0')).status).toBe(400)
  })

  test('says which schema failed, and why', async () => {
    await using cp = await testPlane()
    const node = await cp.addNode('tokyo-1', 'tokyo-a')
    const hello = await cp.addFunction('hello')
    await cp.deploy('hello')
    const failed = {
      function_id: hello.id,
      number: 2,
      state: 'failed',
      error: { code: 'sql_failed', message: 'UNIQUE constraint failed: entries.t' },
    }
    const schemas = [{ ...failed, number: 1, state: 'applied', error: null }, failed]
    const ack = { base_revision: 0, revision: 1, results: [], schemas, duration_ms: 1 }
    await cp.must('POST', '/nodes/tokyo-a/sync/ack', ack, node.token)
    const { items } = syncHistorySchema.parse(await cp.must('GET', '/nodes/tokyo-a/syncs'))
    expect(items).toMatchObject([{ succeeded: false, failures: [], schema_failures: [failed] }])
  })

  test('has figures that were measured: so many are no greater', () => {
    const values = fc.array(fc.nat(1000), { minLength: 1, maxLength: 100 })
    fc.assert(
      fc.property(values, fc.double({ min: 0, max: 1, noNaN: true }), (numbers, q) => {
        const sorted = numbers.toSorted((a, b) => a - b)
        const value = quantile(sorted, q)
        expect(sorted).toContain(value)
        const atMost = sorted.filter((number) => number <= value).length
        expect(atMost).toBeGreaterThanOrEqual(q * sorted.length)
      }),
      { numRuns: 300 },
    )
  })
})
