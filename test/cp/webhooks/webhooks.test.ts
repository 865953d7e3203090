/** Webhooks of a whole control plane, sent to real receivers. */

import { afterAll, beforeAll, expect, test } from 'bun:test'

import type { NodeCredentials } from '../../../src/protocol/api.ts'
import type {
  WebhookCreated,
  WebhookDelivery,
  WebhookView,
} from '../../../src/protocol/webhooks.ts'
import { eventually, testPlane, type ErrorAnswer, type TestPlane } from '../api/test-plane.ts'
import { receiver, type Receiver } from './receiver.ts'

let cp: TestPlane
let node: NodeCredentials

beforeAll(async () => {
  cp = await testPlane()
  node = await cp.addNode('tokyo', 'tokyo-1')
  await cp.addFunction('hello')
  await cp.addFunction('other')
})
afterAll(() => cp[Symbol.asyncDispose]())

async function hook(to: Receiver, fields: Record<string, unknown> = {}): Promise<WebhookCreated> {
  const made = await cp.must<WebhookCreated>('POST', '/webhooks', {
    url: to.url,
    events: ['deployment.completed'],
    ...fields,
  })
  to.secret = made.secret
  return made
}

async function deployed(name: string): Promise<string> {
  const { id, revision } = await cp.deploy(name)
  await cp.syncNode(node, revision - 1)
  return id
}

async function deliveries(id: string): Promise<WebhookDelivery[]> {
  const page = await cp.must<{ items: WebhookDelivery[] }>('GET', `/webhooks/${id}/deliveries`)
  return page.items
}

test('an event comes signed, is tried again until it is taken, with the same id, and its history says so', async () => {
  await using to = receiver()
  let failures = 0
  to.answer = () => new Response('', { status: (failures += 1) <= 2 ? 500 : 204 })
  const made = await hook(to)
  const id = await deployed('hello')
  await eventually(() => to.received.length === 3, 'the third attempt')
  const event = { type: 'deployment', deployment_id: id, status: 'completed' }
  for (const item of to.received) expect(item).toMatchObject({ genuine: true, event })
  const [first, second, third] = to.received
  expect(new Set(to.received.map((item) => item.delivery_id)).size).toBe(1)
  expect(first?.headers['x-edgefn-delivery']).toBe(first?.delivery_id ?? '')
  expect(first?.headers['x-edgefn-event']).toBe('deployment.completed')
  // Backoff: about one second, then two.
  expect((second?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThan(850)
  expect((third?.at ?? 0) - (second?.at ?? 0)).toBeGreaterThan(1_700)
  const done = await eventually(
    async () => (await deliveries(made.id)).find((item) => item.state === 'delivered'),
    'the delivery is recorded',
  )
  expect(done).toMatchObject({ attempts: 3, last_status: 204, last_error: null })
  expect(done.next_attempt_at).toBeNull()
})

test('only what is wanted is sent: of the kinds that were named, of the function that was named', async () => {
  await using one = receiver()
  await using all = receiver()
  await hook(one, { function: 'other' })
  await hook(all)
  const ids = [await deployed('hello'), await deployed('other')]
  await eventually(() => all.received.length >= 2, 'both at the one')
  expect(all.received.map((item) => item.event['deployment_id'])).toEqual(ids)
  await eventually(() => one.received.length > 0, 'one at the other')
  expect(one.received.map((item) => item.event['deployment_id'])).toEqual([ids[1]])
})

test('a receiver that does not answer holds up no other, and none that redirects is followed', async () => {
  await using stuck = receiver()
  await using well = receiver()
  await using elsewhere = receiver()
  const { promise, resolve } = Promise.withResolvers<Response>()
  stuck.answer = () => promise
  await hook(stuck, { function: 'hello' })
  await hook(well, { function: 'hello' })
  const redirecting = receiver()
  redirecting.answer = () => Response.redirect(elsewhere.url, 307)
  const made = await hook(redirecting, { function: 'hello' })
  for (let round = 0; round < 3; round += 1) await deployed('hello')
  await eventually(() => well.received.length === 3, 'all three at the one that answers')
  expect(stuck.received).toHaveLength(1)
  const [newest] = await eventually(async () => {
    const tried = (await deliveries(made.id)).filter((item) => item.last_status !== null)
    return tried.length > 0 ? tried : null
  }, 'the redirect is recorded')
  expect(newest).toMatchObject({ state: 'pending', last_status: 307 })
  expect(newest?.last_error).toContain('redirects are not followed')
  expect(elsewhere.received).toEqual([])
  resolve(new Response(''))
  await redirecting[Symbol.asyncDispose]()
})

test('secrets are shown once, kept sealed, and may be given', async () => {
  await using to = receiver()
  const secret = 'a-secret-of-the-operator'
  const made = await hook(to, { secret })
  expect(made.secret).toBe(secret)
  const { items } = await cp.must<{ items: WebhookView[] }>('GET', '/webhooks')
  expect(JSON.stringify(items)).not.toContain(secret)
  const log = await cp.must<object>('GET', '/audit-log')
  expect(JSON.stringify(log)).toContain(made.id)
  expect(JSON.stringify(log)).not.toContain(secret)
  const db = new Uint8Array(await Bun.file(`${cp.config.data_dir}/edgefn.db`).arrayBuffer())
  const wal = new Uint8Array(await Bun.file(`${cp.config.data_dir}/edgefn.db-wal`).arrayBuffer())
  for (const bytes of [db, wal]) expect(Buffer.from(bytes).includes(secret)).toBe(false)
  await deployed('hello')
  await eventually(() => to.received.length > 0, 'an event')
  expect(to.received[0]?.genuine).toBe(true)
})

test('a webhook goes with what waits for it, and what is no webhook is refused by name', async () => {
  await using to = receiver()
  const made = await hook(to, { function: 'other' })
  await cp.must('DELETE', `/webhooks/${made.id}`)
  expect((await cp.call('GET', `/webhooks/${made.id}/deliveries`)).status).toBe(404)
  expect((await cp.call('DELETE', `/webhooks/${made.id}`)).status).toBe(404)
  await deployed('other')
  const refused = async (fields: object) => {
    const { status, body } = await cp.call<ErrorAnswer>('POST', '/webhooks', fields)
    return `${status} ${body.error.message}`
  }
  expect(await refused({ url: 'ftp://example.com' })).toContain('400 Field url')
  expect(await refused({ url: 'http://user:word@example.com' })).toContain('no user name')
  expect(await refused({ url: to.url, events: ['weather'] })).toContain('400 Field events.0')
  expect(await refused({ url: to.url, secret: 'short' })).toContain('400 Field secret')
  expect(await refused({ url: to.url, function: 'nobody' })).toContain('404')
  for (const event of ['node', 'node.offline', 'audit']) {
    const events = ['deployment', event]
    expect(await refused({ url: to.url, events, function: 'other' })).toContain(
      '400 Field events of the body must not name events of nodes',
    )
  }
  expect(to.received).toEqual([])
})

test('a webhook of a deleted function has its last events sent, and is shown as that of a deleted one', async () => {
  await using to = receiver()
  await cp.addFunction('book')
  const made = await hook(to, { function: 'book', events: ['deployment'] })
  expect(made.function_deleted).toBe(false)
  const { id } = await cp.deploy('book')
  await cp.must('DELETE', '/functions/book')
  await eventually(() => to.received.some((item) => item.kind === 'deployment.superseded'))
  await cp.addFunction('book')
  expect((await cp.deploy('book')).id).not.toBe(id)
  const { items } = await cp.must<{ items: WebhookView[] }>('GET', '/webhooks')
  expect(items.find((item) => item.id === made.id)).toMatchObject({
    function_name: 'book',
    function_deleted: true,
  })
  expect(new Set(to.received.map((item) => item.event['deployment_id']))).toEqual(new Set([id]))
})

test('what was not delivered when the control plane ended is delivered by the next one', async () => {
  const away = receiver()
  const port = Number(new URL(away.url).port)
  const made = await hook(away, { function: 'other' })
  await away[Symbol.asyncDispose]()
  const id = await deployed('other')
  await eventually(
    async () => (await deliveries(made.id)).some((item) => item.last_error !== null),
    'a failed attempt',
  )
  await cp.restart()
  await using back = receiver(port)
  back.secret = made.secret
  await eventually(() => back.received.length > 0, 'the delivery')
  expect(back.received).toMatchObject([{ genuine: true, event: { deployment_id: id } }])
})
