/** Deployments: who gets what, how they end, and what happens to those that are overtaken. */

import { describe, expect, spyOn, test } from 'bun:test'
import fc from 'fast-check'

import { deploymentStatus } from '../../../src/cp/deployments/status.ts'
import { deploymentsInForce } from '../../../src/cp/deployments/store.ts'
import { buildManifest } from '../../../src/cp/manifest-source.ts'
import type { ReadyVersion } from '../../../src/cp/lookup.ts'
import { noticeOf } from '../../../src/cp/outbox/payload.ts'
import type { DeploymentView } from '../../../src/protocol/api.ts'
import type { DeploymentId, FunctionId, NodeId, Sha256 } from '../../../src/protocol/ids.ts'
import { noticeSchema } from '../../../src/protocol/messages.ts'
import type { FunctionResult } from '../../../src/protocol/plan.ts'
import type { Sql } from '../../../src/cp/db/database.ts'
import { ackOf, testPlane, type ErrorAnswer } from '../api/test-plane.ts'
import { codeOf } from '../auth/stack.ts'
import { developer, slices } from './slices.ts'

const immediate = { target: 'all', strategy: 'immediate', message: '' } as const

function result(deployment: DeploymentView, state: 'deployed' | 'failed'): FunctionResult {
  return {
    function_id: deployment.function_id,
    version: deployment.version,
    deployment_id: deployment.id,
    state,
    error:
      state === 'failed' ? { code: 'function_load_failed', message: 'It did not load.' } : null,
  }
}

function ack(deployment: DeploymentView, state: 'deployed' | 'failed') {
  return {
    base_revision: 0,
    revision: deployment.revision,
    duration_ms: 1,
    results: [result(deployment, state)],
  }
}

describe('POST /functions/:id/deploy', () => {
  test('refuses what it cannot do, by name', async () => {
    await using cp = await testPlane()
    await cp.addFunction('hello')
    const refused = async (path: string, body: unknown) => {
      const { status, body: answer } = await cp.call<ErrorAnswer>('POST', path, body)
      return { status, code: answer.error.code, message: answer.error.message }
    }
    expect(await refused('/functions/nobody/deploy', {})).toMatchObject({
      status: 404,
      code: 'function_not_found',
    })
    expect(await refused('/functions/hello/deploy', {})).toEqual({
      status: 400,
      code: 'no_edge_nodes',
      message: 'No edge nodes available in target POP',
    })
    await cp.addNode('tokyo-1')
    expect(await refused('/functions/hello/deploy', { target: 'osaka-*' })).toMatchObject({
      status: 400,
      code: 'no_edge_nodes',
    })
    expect(await refused('/functions/hello/deploy', { version: 7 })).toMatchObject({
      status: 404,
      code: 'version_not_found',
    })
    const unknown = await refused('/functions/hello/deploy', { strategy: 'blue-green' })
    expect(unknown).toMatchObject({ status: 400, code: 'invalid_field' })
    expect(unknown.message).toContain('strategy')
    await cp.must('POST', '/functions', { name: 'empty' })
    expect(await refused('/functions/empty/deploy', {})).toMatchObject({
      status: 409,
      code: 'module_missing',
    })
  })

  test('selects the nodes of the target, offline ones too, and lists what it did page by page', async () => {
    await using cp = await testPlane()
    await cp.addNode('tokyo-1')
    await cp.addNode('tokyo-2')
    const osaka = await cp.addNode('osaka-1')
    const made = await cp.addFunction('hello')
    const first = await cp.deploy('hello', { target: 'tokyo-*' })
    expect(first.targets.map((target) => String(target.pop_id))).toEqual(['tokyo-1', 'tokyo-2'])
    const second = await cp.deploy(made.id)
    expect(second.targets).toHaveLength(3)
    const page = await cp.must<{ items: DeploymentView[]; next_cursor: string }>(
      'GET',
      '/deployments?limit=1&function=hello',
    )
    expect(page.items.map((item) => item.id)).toEqual([second.id])
    const rest = await cp.must<{ items: DeploymentView[]; next_cursor: string | null }>(
      'GET',
      `/deployments?limit=1&function=hello&cursor=${page.next_cursor}`,
    )
    expect(rest.items.map((item) => item.id)).toEqual([first.id])
    expect(rest.items[0]?.status).toBe('superseded')
    expect(rest.items[0]?.targets.map((target) => target.state)).toEqual([
      'superseded',
      'superseded',
    ])
    expect(rest.next_cursor).toBeNull()
    const plan = await cp.syncNode(osaka, 0)
    expect(ackOf(plan).results[0]?.deployment_id).toBe(second.id)
    for (const [status, id] of [
      ['in_progress', second.id],
      ['superseded', first.id],
    ] as const) {
      const found = await cp.must<{ items: DeploymentView[] }>(
        'GET',
        `/deployments?status=${status}`,
      )
      expect(found.items.map((item) => item.id)).toEqual([id])
    }
  })
})

describe('the end of a deployment', () => {
  test('one node that fails makes it failed when all have answered, and its recovery completes it', async () => {
    await using s = await slices()
    const [a, b] = [await s.addNode('a', 'tokyo-1'), await s.addNode('b', 'tokyo-1')]
    await s.addFunction('f')
    const deployment = await s.deployments.deploy(developer, 'f', immediate)
    const status = async () => (await s.deployments.get(deployment.id)).status
    await s.sync.acknowledge(a, ack(deployment, 'failed'))
    expect(await status()).toBe('in_progress')
    await s.sync.acknowledge(b, ack(deployment, 'deployed'))
    expect(await status()).toBe('failed')
    expect((await s.deployments.get(deployment.id)).targets[0]?.error).toEqual({
      code: 'function_load_failed',
      message: 'It did not load.',
    })
    await s.sync.acknowledge(a, ack(deployment, 'deployed'))
    expect(await status()).toBe('completed')
    const statuses = s.events.flatMap((event) => (event.type === 'deployment' ? event.status : []))
    expect(statuses).toEqual(['in_progress', 'failed', 'completed'])
  })

  test('a result of an overtaken deployment changes nothing', async () => {
    await using s = await slices()
    const a = await s.addNode('a', 'tokyo-1')
    await s.addFunction('f', 2)
    const old = await s.deployments.deploy(developer, 'f', { ...immediate, version: 1 })
    const newer = await s.deployments.deploy(developer, 'f', { ...immediate, version: 2 })
    await s.sync.acknowledge(a, { ...ack(old, 'failed'), revision: old.revision })
    expect((await s.deployments.get(old.id)).targets[0]?.state).toBe('superseded')
    expect((await s.deployments.get(newer.id)).status).toBe('pending')
  })

  test('a node that is deleted is waited for no more', async () => {
    await using cp = await testPlane()
    const a = await cp.addNode('tokyo-1')
    const b = await cp.addNode('tokyo-1')
    await cp.addFunction('hello')
    const deployment = await cp.deploy('hello')
    await cp.syncNode(a, 0)
    await cp.must('DELETE', `/nodes/${b.node_id}`)
    const shown = await cp.must<DeploymentView>('GET', `/deployments/${deployment.id}`)
    expect(shown.status).toBe('completed')
    expect(shown.targets).toHaveLength(1)
  })

  test('a revision that was never asked for is not believed, and none goes back', async () => {
    await using s = await slices()
    const a = await s.addNode('a', 'tokyo-1')
    await s.addFunction('f')
    const deployment = await s.deployments.deploy(developer, 'f', immediate)
    const future = { ...ack(deployment, 'deployed'), revision: deployment.revision + 1 }
    expect(await codeOf(s.sync.acknowledge(a, future))).toBe('conflict')
    await s.sync.acknowledge(a, ack(deployment, 'deployed'))
    await s.sync.acknowledge(a, { base_revision: 1, revision: 0, results: [], duration_ms: 0 })
    const row = await s.db.get('SELECT applied_revision FROM nodes')
    expect(row).toEqual({ applied_revision: deployment.revision })
  })

  test('every count of targets has one status, and completed stays', () => {
    const count = fc.nat(3)
    const counts = fc.record({
      pending: count,
      notified: count,
      deployed: count,
      failed: count,
      superseded: count,
    })
    fc.assert(
      fc.property(counts, (targets) => {
        const status = deploymentStatus('pending', targets)
        const waiting = targets.pending + targets.notified > 0
        const heard = targets.notified + targets.deployed + targets.failed > 0
        const overtaken = targets.deployed + targets.failed === 0 && targets.superseded > 0
        if (waiting) expect(status).toBe(heard ? 'in_progress' : 'pending')
        else if (overtaken) expect(status).toBe('superseded')
        else expect(status).toBe(targets.failed > 0 ? 'failed' : 'completed')
        expect(deploymentStatus('completed', targets)).toBe('completed')
      }),
    )
  })
})

const uuidOf2020 = '016f5e66-e800-7000-8000-000000000001' as DeploymentId

describe('a node that joins', () => {
  test('gets the newest deployment that selects its POP, and none that ran nowhere', async () => {
    await using s = await slices()
    const a = await s.addNode('a', 'tokyo-1')
    await s.addFunction('f', 3)
    const good = await s.deployments.deploy(developer, 'f', { ...immediate, version: 1 })
    await s.sync.acknowledge(a, ack(good, 'deployed'))
    const local = await s.deployments.deploy(developer, 'f', {
      ...immediate,
      version: 2,
      target: 'tokyo-*',
    })
    await s.sync.acknowledge(a, ack(local, 'deployed'))
    const bad = await s.deployments.deploy(developer, 'f', { ...immediate, version: 3 })
    await s.sync.acknowledge(a, ack(bad, 'failed'))
    expect((await s.deployments.get(bad.id)).status).toBe('failed')

    const versionsOf = async (node: NodeId) =>
      (await s.sync.plan(node, 0)).actions.map((action) =>
        action.action === 'put_function' ? action.function.version : action.action,
      )
    expect(await versionsOf(await s.addNode('b', 'tokyo-2'))).toEqual([2])
    expect(await versionsOf(await s.addNode('c', 'osaka-1'))).toEqual([1])
    expect((await s.deployments.get(good.id)).status).toBe('completed')
    const notices = await s.notices()
    expect(notices.map((row) => `${row.node_id} ${row.type}`)).toEqual(['b routes', 'c routes'])
  })

  test('is looked up in the newest deployments of each target, not in the whole history', async () => {
    await using s = await slices()
    await s.addNode('a', 'tokyo-1')
    await s.addNode('o', 'osaka-1')
    await s.addFunction('f', 6)
    const deploy = (version: number, target: string) =>
      s.deployments.deploy(developer, 'f', { ...immediate, version, target })
    await deploy(1, 'osaka-*')
    for (const version of [2, 3, 4, 5]) await deploy(version, 'all')
    await deploy(6, 'tokyo-*')
    const rows = await deploymentsInForce(s.db)
    expect(rows.map((row) => row.version)).toEqual([6, 5, 4, 1])
    const plan = await s.sync.plan(await s.addNode('b', 'osaka-2'), 0)
    expect(plan.actions).toMatchObject([{ action: 'put_function', function: { version: 5 } }])
  })

  test('gets the newest deployment also when the clock was set back before it', async () => {
    await using s = await slices()
    await s.addNode('a', 'tokyo-1')
    await s.addFunction('f', 2)
    await s.deployments.deploy(developer, 'f', { ...immediate, version: 1 })
    // Ids follow the clock of the system, which no test can set back.
    using clock = spyOn(Bun, 'randomUUIDv7')
    clock.mockReturnValueOnce(uuidOf2020 as never)
    const newest = await s.deployments.deploy(developer, 'f', { ...immediate, version: 2 })
    expect(newest.id).toBe(uuidOf2020)
    const plan = await s.sync.plan(await s.addNode('b', 'tokyo-1'), 0)
    expect(plan.actions).toMatchObject([{ action: 'put_function', function: { version: 2 } }])
  })
})

describe('a function that goes', () => {
  test('takes its routes and notices with it, on every node', async () => {
    await using cp = await testPlane()
    const node = await cp.addNode('tokyo-1')
    const made = await cp.addFunction('gone')
    await cp.addFunction('stays')
    const route = await cp.addRoute({ path: '/gone', function: 'gone' })
    await cp.addRoute({ path: '/stays', function: 'stays' })
    await cp.deploy('gone')
    await cp.deploy('stays')
    const before = await cp.syncNode(node, 0)
    await cp.must('DELETE', '/functions/gone')
    const plan = await cp.syncNode(node, before.revision)
    expect(plan.full).toBe(false)
    expect(plan.actions).toEqual([
      { action: 'remove_route', route_id: route.id },
      { action: 'remove_function', function_id: made.id },
    ])
    expect((await cp.call('GET', `/routes/${route.id}`)).status).toBe(404)
    expect((await cp.syncNode(node, plan.revision)).actions).toEqual([])
  })

  test('that only changes its name is announced again', async () => {
    await using cp = await testPlane()
    const node = await cp.addNode('tokyo-1')
    await cp.addFunction('before')
    await cp.deploy('before')
    const { revision } = await cp.syncNode(node, 0)
    await cp.must('PUT', '/functions/before', { name: 'after' })
    const plan = await cp.syncNode(node, revision)
    expect(plan.actions).toMatchObject([{ action: 'put_function', function: { name: 'after' } }])
  })
})

test('P3: every deploy notice carries id, version, URL, SHA-256, memory, time, and all the rest of the manifest', async () => {
  const uuid = fc.uuid({ version: 7 })
  const hex = fc.string({
    unit: fc.constantFrom(...'0123456789abcdef'),
    minLength: 64,
    maxLength: 64,
  })
  const quota = fc.option(fc.integer({ min: 1, max: 10_000 }))
  const versions = fc.record({
    function_id: uuid,
    name: fc.constantFrom('a', 'hello-world', 'x9'),
    version: fc.integer({ min: 1, max: 2_147_483_647 }),
    entrypoint: fc.constantFrom('handle', '_start', 'my.fn'),
    memory_pages: fc.integer({ min: 1, max: 256 }),
    max_execution_ms: fc.integer({ min: 1, max: 900_000 }),
    quotas: fc.record({
      concurrency: quota,
      requests_per_second: quota,
      burst: quota,
      queue_wait_ms: fc.option(fc.integer({ min: 10, max: 10_000 })),
    }),
    env: fc.dictionary(fc.stringMatching(/^[A-Z_]{1,10}$/), fc.string(), { maxKeys: 5 }),
    http_allow: fc.subarray(['api.example.com', '*.example.com', 'https://10.0.0.1:8443']),
    isolation: fc.constantFrom('instance', 'request'),
    abi: fc.constantFrom('edgefn', 'wagi'),
    sha256: hex,
    size_bytes: fc.integer({ min: 8, max: 64 * 1024 * 1024 }),
    signature: fc.string({ unit: fc.constantFrom(...'abcXYZ019-_'), minLength: 86, maxLength: 86 }),
  })
  await fc.assert(
    fc.asyncProperty(
      versions,
      uuid,
      uuid,
      fc.nat(),
      async (ready, deployment, notice, revision) => {
        const deploymentId = deployment as DeploymentId
        const url = `http://cp.example/artifacts/${ready.sha256}?signature=x`
        const manifest = buildManifest(ready as unknown as ReadyVersion, deploymentId, url)
        const built = await noticeOf(
          {} as Sql,
          {
            id: notice,
            node_id: 'n' as NodeId,
            revision,
            type: 'deploy',
            function_id: ready.function_id as FunctionId,
            deployment_id: deploymentId,
            attempts: 0,
          },
          async () => ({ manifest, routes: [] }),
        )
        const parsed = noticeSchema.parse(JSON.parse(JSON.stringify(built)))
        expect(parsed).toEqual({
          type: 'deploy',
          notice_id: notice,
          revision,
          deployment_id: deploymentId,
          artifact_url: url,
          routes: [],
          ...ready,
          secrets: {},
          function_id: ready.function_id as FunctionId,
          sha256: ready.sha256 as Sha256,
        } as typeof parsed)
      },
    ),
    { numRuns: 200 },
  )
})
