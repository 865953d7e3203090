/** Notices reach their nodes: at once, again with backoff, after a restart, and only as long as they mean something. */

import { expect, test } from 'bun:test'
import fc from 'fast-check'

import type { NodeId } from '../../../src/protocol/ids.ts'
import type { Notice } from '../../../src/protocol/messages.ts'
import { noticeSchema } from '../../../src/protocol/messages.ts'
import { nodeTopic } from '../../../src/protocol/topics.ts'
import type { DeploymentView } from '../../../src/protocol/api.ts'
import { Relay } from '../../../src/cp/outbox/relay.ts'
import { createOutbox } from '../../../src/cp/outbox/store.ts'
import { createLog } from '../../../src/telemetry/log.ts'
import { eventually, testPlane } from '../api/test-plane.ts'
import { asNode, type TestClient } from '../broker/clients.ts'
import { insertNode } from '../auth/stack.ts'
import { tempDatabase } from '../db/temp-database.ts'

const silent = createLog({ component: 'test', level: 'error', write: () => undefined })

function noticesOf(client: TestClient): Notice[] {
  return client.received.map((message) => noticeSchema.parse(JSON.parse(message.text)))
}

test('a connected node gets the notice of a deployment, and its acknowledgement moves the deployment on', async () => {
  await using cp = await testPlane()
  const node = await cp.addNode('tokyo-1')
  await cp.addFunction('pushed')
  await cp.addRoute({ path: '/a', function: 'pushed' })
  await using client = await asNode(node)
  await client.mqtt.subscribeAsync(nodeTopic(node.node_id, 'notices'), { qos: 1 })
  const deployment = await cp.deploy('pushed')
  const notice = await eventually(() => noticesOf(client)[0], 'the notice')
  expect(notice).toMatchObject({ type: 'deploy', deployment_id: deployment.id })
  if (notice.type !== 'deploy') throw new Error('type')
  expect(notice.routes.map((route) => route.path)).toEqual(['/a'])
  const ack = JSON.stringify({ notice_id: notice.notice_id })
  await client.mqtt.publishAsync(nodeTopic(node.node_id, 'acks'), ack, { qos: 1 })
  await eventually(async () => {
    const shown = await cp.must<DeploymentView>('GET', `/deployments/${deployment.id}`)
    return shown.status === 'in_progress' && shown.targets[0]?.state === 'notified'
  }, 'in_progress')
})

test('a notice survives closing and reopening everything, and reaches the node when it connects', async () => {
  await using cp = await testPlane({ mqtt_listen: { host: '127.0.0.1', port: 0 } })
  const node = await cp.addNode('tokyo-1')
  await cp.addFunction('late')
  const deployment = await cp.deploy('late')
  await cp.restart()
  const credentials = { ...node, mqtt_url: cp.plane().mqtt_url }
  await using client = await asNode(credentials)
  await client.mqtt.subscribeAsync(nodeTopic(node.node_id, 'notices'), { qos: 1 })
  const notice = await eventually(() => noticesOf(client)[0], 'the notice')
  expect(notice).toMatchObject({ type: 'deploy', deployment_id: deployment.id })
})

test('without a broker everything still converges by heartbeat and sync', async () => {
  await using cp = await testPlane({ mqtt_listen: null })
  const node = await cp.addNode('tokyo-1')
  expect(node.mqtt_url).toBeNull()
  await cp.addFunction('polled')
  const deployment = await cp.deploy('polled')
  await cp.syncNode(node, 0)
  const shown = await cp.must<DeploymentView>('GET', `/deployments/${deployment.id}`)
  expect(shown.status).toBe('completed')
})

test('P15: an unacknowledged notice is pushed again after 1, 2, 4 … 60 seconds, whatever the number of nodes', async () => {
  await using temp = await tempDatabase()
  const { db } = temp
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 1, max: 12 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      async (nodes, attempts, random) => {
        const ids = Array.from({ length: nodes }, (_, at) => `n-${at}` as NodeId)
        for (const id of ids) await insertNode(temp, id, '')
        const outbox = createOutbox({ wake: () => undefined })
        await db.write(async (tx) => {
          await tx.run('DELETE FROM outbox')
          const revision = await outbox.nextRevision(tx)
          const what = { type: 'routes', function_id: null, deployment_id: null } as const
          await outbox.enqueueNotices(tx, { node_ids: ids, revision, ...what })
        })
        let nowMs = Date.now() + 1
        const claim = () =>
          db.write((tx) =>
            outbox.claimDue(tx, {
              node_ids: ids,
              now_ms: nowMs,
              rows_max: 100,
              rows_per_node_max: 10,
              random: () => random,
            }),
          )
        let previousMs = 0
        for (let attempt = 1; attempt <= attempts; attempt += 1) {
          expect((await claim()).map((row) => row.node_id).sort()).toEqual(ids)
          expect(await claim()).toEqual([])
          const dueMs = (await outbox.nextDueMs(db, ids)) ?? 0
          const delayMs = dueMs - nowMs
          const fullMs = Math.min(1000 * 2 ** (attempt - 1), 60_000)
          expect(delayMs).toBeLessThanOrEqual(fullMs)
          expect(delayMs).toBeGreaterThanOrEqual(fullMs * 0.9 - 1)
          expect(delayMs).toBeGreaterThanOrEqual(previousMs)
          previousMs = delayMs
          nowMs = dueMs - 1
          expect(await claim()).toEqual([])
          nowMs = dueMs
        }
      },
    ),
    { numRuns: 100 },
  )
})

test('a row whose next attempt lies beyond any backoff is due: the clock was set back', async () => {
  await using temp = await tempDatabase()
  const node = 'n-1' as NodeId
  await insertNode(temp, node, '')
  const outbox = createOutbox({ wake: () => undefined })
  await temp.db.write((tx) =>
    outbox.enqueueNotices(tx, {
      node_ids: [node],
      revision: 1,
      type: 'routes',
      function_id: null,
      deployment_id: null,
    }),
  )
  const rows = await temp.db.write((tx) =>
    outbox.claimDue(tx, {
      node_ids: [node],
      now_ms: Date.now() - 3_600_000,
      rows_max: 10,
      rows_per_node_max: 10,
      random: () => 0,
    }),
  )
  expect(rows).toHaveLength(1)
})

test('a slow node delays no other, and one that comes back is served at once', async () => {
  await using temp = await tempDatabase()
  const { db } = temp
  const ids = ['slow', 'quick'] as NodeId[]
  for (const id of ids) await insertNode(temp, id, '')
  const pushed: string[] = []
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  const outbox = createOutbox({ wake: () => relay.wake() })
  const relay: Relay = new Relay({
    db,
    outbox,
    deployContent: () => Promise.resolve(null),
    publish: async (nodeId, notice) => {
      pushed.push(`${nodeId}:${notice.revision}`)
      if (nodeId === 'slow') await released
    },
    notified: async () => () => undefined,
    log: silent,
    now: Date.now,
    random: () => 0,
  })
  relay.open()
  for (const id of ids) relay.connected(id)
  const change = () =>
    db.write(async (tx) => {
      const revision = await outbox.nextRevision(tx)
      const what = { type: 'routes', function_id: null, deployment_id: null } as const
      await outbox.enqueueNotices(tx, { node_ids: ids, revision, ...what })
    })
  await change()
  await eventually(() => pushed.includes('slow:1') && pushed.includes('quick:1'), 'both')
  await change()
  await eventually(() => pushed.includes('quick:2'), 'the quick one')
  expect(pushed).not.toContain('slow:2')
  release()
  await eventually(() => pushed.includes('slow:2'), 'the slow one')
  await relay.close()
})

test('a node that arrives while nothing can be written is served at once when it can', async () => {
  await using temp = await tempDatabase()
  const id = 'n-1' as NodeId
  await insertNode(temp, id, '')
  const outbox = createOutbox({ wake: () => undefined })
  await temp.db.write((tx) => {
    const what = { type: 'routes', function_id: null, deployment_id: null } as const
    return outbox.enqueueNotices(tx, { node_ids: [id], revision: 1, ...what })
  })
  await temp.db.run('UPDATE outbox SET next_attempt_at = ?', [
    new Date(Date.now() + 55_000).toISOString(),
  ])
  let failures = 1
  const pushed: number[] = []
  const relay = new Relay({
    db: {
      ...temp.db,
      write: (work) =>
        failures-- > 0 ? Promise.reject(new Error('The disk is full.')) : temp.db.write(work),
    },
    outbox,
    deployContent: () => Promise.resolve(null),
    publish: async (_nodeId, notice) => void pushed.push(notice.revision),
    notified: async () => () => undefined,
    log: silent,
    now: Date.now,
    random: () => 0,
  })
  relay.open()
  relay.connected(id)
  await eventually(() => pushed.length > 0, 'the notice')
  expect(pushed).toEqual([1])
  await relay.close()
})

test('a newer notice overtakes the older one of the same function, and an applied revision ends all before it', async () => {
  await using cp = await testPlane()
  const node = await cp.addNode('tokyo-1')
  await cp.addFunction('often')
  await cp.deploy('often')
  await cp.addFunction('often')
  await cp.deploy('often')
  await cp.addRoute({ path: '/1', function: 'often' })
  await cp.addRoute({ path: '/2', function: 'often' })
  const metrics = async () => {
    const text = await (await fetch(`${cp.plane().api_url}/metrics`)).text()
    return Number(/^edgefn_outbox_notices (\d+)/m.exec(text)?.[1])
  }
  expect(await metrics()).toBe(2)
  await cp.syncNode(node, 0)
  expect(await metrics()).toBe(0)
})
