/** Webhooks of the real binary, killed between an event and its delivery. */

import { afterAll, beforeAll, expect, test } from 'bun:test'

import type { NodeCredentials } from '../../src/protocol/api.ts'
import type { WebhookCreated, WebhookDelivery } from '../../src/protocol/webhooks.ts'
import { heartbeatOf } from '../cp/api/test-plane.ts'
import { receiver } from '../cp/webhooks/receiver.ts'
import { ControlPlane, until, World, type Page } from './harness.ts'

let world: World
let plane: ControlPlane

beforeAll(async () => {
  world = new World()
  plane = await (await ControlPlane.create(world)).start()
})
afterAll(() => world.close())

test('an event is delivered once, with one id, by the control plane that follows one that was killed', async () => {
  const away = receiver()
  const port = Number(new URL(away.url).port)
  const fields = { url: away.url, events: ['node.online'] }
  const hook = await plane.api<WebhookCreated>('POST', '/webhooks', fields)
  await away[Symbol.asyncDispose]()
  const post = (path: string, body: unknown, token: string) =>
    fetch(`${plane.url}/api/v1${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
  const node = { pop_id: 'tokyo', version: '1', os: 'linux', arch: 'x64', http_port: 8787 }
  const joined = await post('/nodes/register', node, await plane.joinToken('tokyo'))
  const { node_id, token } = (await joined.json()) as NodeCredentials
  await post(`/nodes/${node_id}/heartbeat`, heartbeatOf(node_id), token)
  const path = `/webhooks/${hook.id}/deliveries`
  const deliveries = async () => (await plane.api<Page<WebhookDelivery>>('GET', path)).items
  const [waiting] = await until('the event', async () => {
    const items = await deliveries()
    return items.length > 0 ? items : null
  })
  await plane.stop('SIGKILL')
  await using back = receiver(port)
  back.secret = hook.secret
  await plane.start()
  await until('the delivery', () => back.received.length > 0)
  const done = await until('its record', async () =>
    (await deliveries()).find((item) => item.state === 'delivered'),
  )
  expect(done.id).toBe(waiting?.id ?? '')
  expect(back.received).toMatchObject([{ genuine: true, delivery_id: done.id }])
  // Another start has nothing left to send.
  await plane.stop('SIGKILL')
  await plane.start()
  // Longer than the first delivery after a start takes, so that a second one would be here.
  await Bun.sleep(3_000)
  expect((await deliveries()).map((item) => item.state)).toEqual(['delivered'])
  expect(back.received).toHaveLength(1)
}, 120_000)
