/** The deployment flow from registration to a served version, over real HTTP. */

import { expect, test } from 'bun:test'

import type { DeploymentView, NodeDetail, NodeView } from '../../../src/protocol/api.ts'
import type { HeartbeatAnswer } from '../../../src/protocol/messages.ts'
import { eventually, handlerModule, heartbeatOf, testPlane } from './test-plane.ts'

test('a function is registered, uploaded, routed, deployed, synced, and completed', async () => {
  await using cp = await testPlane()
  const node = await cp.addNode('tokyo-1')
  expect(node.node_id).toMatch(/^tokyo-1-[0-9a-f]{8}$/)
  expect(node.mqtt_url).toMatch(/^mqtt:\/\/127\.0\.0\.1:\d+$/)
  const made = await cp.addFunction('hello')
  const route = await cp.addRoute({ path: '/hello', function: 'hello' })
  const deployment = await cp.deploy('hello', { message: 'first' })
  expect(deployment.status).toBe('pending')
  expect(deployment.targets.map((target) => [target.node_id, target.state])).toEqual([
    [node.node_id, 'pending'],
  ])

  const beat = await cp.must<HeartbeatAnswer>(
    'POST',
    `/nodes/${node.node_id}/heartbeat`,
    heartbeatOf(node.node_id),
    node.token,
  )
  expect(beat.revision).toBe(deployment.revision)
  expect(beat.notices.map((notice) => notice.type)).toEqual(['deploy'])

  const plan = await cp.syncNode(node, 0)
  expect(plan).toMatchObject({ full: true, base_revision: 0, revision: deployment.revision })
  expect(plan.actions.map((action) => action.action)).toEqual(['put_function', 'put_route'])
  const [put, putRoute] = plan.actions
  if (put?.action !== 'put_function' || putRoute?.action !== 'put_route') throw new Error('order')
  expect(put.function.function_id).toBe(made.id)
  expect(putRoute.route.route_id).toBe(route.id)
  const module = await fetch(put.function.artifact_url)
  const digest = new Bun.CryptoHasher('sha256').update(await module.arrayBuffer()).digest('hex')
  expect(digest).toBe(put.function.sha256)
  expect(put.function.size_bytes).toBe(handlerModule.length)

  const done = await cp.must<DeploymentView>('GET', `/deployments/${deployment.id}`)
  expect(done.status).toBe('completed')
  expect(done.targets[0]?.state).toBe('deployed')
  const after = await cp.must<HeartbeatAnswer>(
    'POST',
    `/nodes/${node.node_id}/heartbeat`,
    heartbeatOf(node.node_id, {
      functions: [
        {
          function_id: made.id,
          version: 1,
          state: 'serving',
          invocation_count: 3,
          error_count: 0,
          avg_latency_ms: 0.5,
        },
      ],
    }),
    node.token,
  )
  expect(after.notices).toEqual([])
  const shown = await cp.must<NodeDetail>('GET', `/nodes/${node.node_id}`)
  expect(shown).toMatchObject({ status: 'online', applied_revision: deployment.revision })
  expect(shown.functions).toEqual([
    {
      function_id: made.id,
      function_name: 'hello',
      desired_version: 1,
      version: 1,
      state: 'serving',
      breaker: 'closed',
      reason: null,
      invocation_count: 3,
      avg_latency_ms: 0.5,
    },
  ])
  const online = await eventually(async () => {
    const page = await cp.must<{ items: NodeView[] }>('GET', '/nodes?status=online&pop=tokyo-1')
    return page.items.length === 1 ? page : null
  }, 'the stored status')
  expect(online.items[0]?.id).toBe(node.node_id)
  expect(cp.complaints).toEqual([])
})

test('everything is there again after a restart', async () => {
  await using cp = await testPlane()
  const node = await cp.addNode('osaka-1')
  await cp.addFunction('kept')
  const deployment = await cp.deploy('kept')
  await cp.restart()
  expect(cp.plane().owner_key).toBeNull()
  const plan = await cp.syncNode(node, 0)
  expect(plan.revision).toBe(deployment.revision)
  const shown = await cp.must<DeploymentView>('GET', `/deployments/${deployment.id}`)
  expect(shown.status).toBe('completed')
})
