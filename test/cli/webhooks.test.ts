/** `edgefn webhooks` against a real control plane. */

import { afterAll, beforeAll, expect, test } from 'bun:test'

import { EXIT } from '../../src/cli/exit.ts'
import type { WebhookCreated, WebhookDelivery } from '../../src/protocol/webhooks.ts'
import { eventually, heartbeatOf, testPlane, type TestPlane } from '../cp/api/test-plane.ts'
import { receiver } from '../cp/webhooks/receiver.ts'
import { runCaptured } from './capture.ts'

let cp: TestPlane
beforeAll(async () => {
  cp = await testPlane()
})
afterAll(() => cp[Symbol.asyncDispose]())

const run = (...words: readonly string[]) =>
  runCaptured(words, { EDGEFN_CP: cp.plane().api_url, EDGEFN_API_KEY: cp.key })

test('a webhook is made, gets events, shows what came of them, and is deleted', async () => {
  await using to = receiver()
  const created = await run('webhooks', 'create', to.url, '--event', 'node.online', '-o', 'json')
  expect(created.code).toBe(EXIT.ok)
  const { id, secret } = JSON.parse(created.out) as WebhookCreated
  to.secret = secret
  const node = await cp.addNode('tokyo', 'tokyo-1')
  await cp.syncNode(node, 0)
  await cp.must('POST', `/nodes/${node.node_id}/heartbeat`, heartbeatOf(node.node_id), node.token)
  await eventually(() => to.received.length > 0, 'the event')
  expect(to.received[0]).toMatchObject({ genuine: true, kind: 'node.online' })
  const listed = await run('webhooks', 'list')
  expect(listed.out).toContain('node.online')
  expect(listed.out).not.toContain(secret)
  const [delivery] = await eventually(async () => {
    const { out } = await run('webhooks', 'deliveries', id, '--state', 'delivered', '-o', 'json')
    const items = JSON.parse(out) as WebhookDelivery[]
    return items.length > 0 ? items : null
  }, 'the delivery')
  expect(delivery).toMatchObject({ kind: 'node.online', attempts: 1, last_status: 200 })
  expect((await run('webhooks', 'deliveries', id)).out).toContain('delivered')
  expect((await run('webhooks', 'delete', id)).out).toBe(`webhook ${id} deleted\n`)
  expect((await run('webhooks', 'deliveries', id)).code).toBe(EXIT.refused)
})

test('flags that cannot be are named', async () => {
  const event = await run('webhooks', 'create', 'http://127.0.0.1/', '--event', 'weather')
  expect(event).toMatchObject({ code: EXIT.usage })
  expect(event.err).toContain('--event')
  const secret = await run('webhooks', 'create', 'http://127.0.0.1/', '--secret', 'short')
  expect(secret.code).toBe(EXIT.usage)
  expect(secret.err).toContain('--secret')
  expect(secret.err).not.toContain('short')
  expect((await run('webhooks', 'create', 'ftp://127.0.0.1/')).code).toBe(EXIT.refused)
})
