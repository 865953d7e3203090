/** `GET /api/v1/events` of a whole control plane, over real connections. */

import { connect } from 'node:net'

import { afterAll, beforeAll, expect, test } from 'bun:test'

import { LIMITS } from '../../../src/protocol/limits.ts'
import type { NodeCredentials } from '../../../src/protocol/api.ts'
import { eventually, heartbeatOf, testPlane, type TestPlane } from '../api/test-plane.ts'
import { readEvents } from './sse.ts'

let cp: TestPlane
let node: NodeCredentials

beforeAll(async () => {
  cp = await testPlane()
  node = await cp.addNode('tokyo', 'tokyo-1')
  await cp.addFunction('hello')
  await cp.addFunction('other')
})
afterAll(() => cp[Symbol.asyncDispose]())

const completed = '?type=deployment.completed'
const streamUrl = (query = '') => `${cp.plane().api_url}/api/v1/events${query}`
const read = (query = '', headers: Record<string, string> = {}) =>
  readEvents(streamUrl(query), cp.key, headers)

/** Deploys and lets the node do it. */
async function deployed(name: string): Promise<string> {
  const { id, revision } = await cp.deploy(name)
  await cp.syncNode(node, revision - 1)
  return id
}

test('events come as they happen, with an id each, and only those that are asked for', async () => {
  await using all = await read(completed)
  await using other = await read('?type=deployment.completed,node&function=other')
  expect(all).toMatchObject({ status: 200, contentType: 'text/event-stream' })
  const first = await deployed('hello')
  const done = { type: 'deployment', deployment_id: first, status: 'completed' }
  const seen = await all.next()
  expect(seen).toMatchObject({ event: 'deployment', data: done })
  const second = await deployed('other')
  expect(await all.next()).toMatchObject({ data: { deployment_id: second } })
  expect(await other.next()).toMatchObject({ data: { deployment_id: second } })
  expect(Number(all.lastId())).toBeGreaterThan(Number(seen.id))
})

test('what ends with its function is told of', async () => {
  await cp.addFunction('short-lived')
  const { id } = await cp.deploy('short-lived')
  await using all = await read('?type=deployment.superseded')
  await cp.must('DELETE', '/functions/short-lived')
  expect(await all.next()).toMatchObject({ data: { deployment_id: id, status: 'superseded' } })
})

test('changes of nodes are events too', async () => {
  await using nodes = await read('?type=node')
  const body = heartbeatOf(node.node_id, { status: 'degraded' })
  await cp.must('POST', `/nodes/${node.node_id}/heartbeat`, body, node.token)
  expect(await nodes.next()).toMatchObject({ event: 'node', data: { status: 'degraded' } })
})

test('that a node is removed is told of last', async () => {
  const { node_id } = await cp.addNode('osaka', 'osaka-1')
  await using nodes = await read('?type=node')
  await cp.must('DELETE', `/nodes/${node_id}`)
  expect(await nodes.next()).toMatchObject({
    data: { type: 'node', node_id, pop_id: 'osaka', status: 'removed' },
  })
})

test('a reader that comes again misses nothing, also when the control plane was restarted', async () => {
  const before = await read(completed)
  const ids = [await deployed('hello')]
  expect(await before.next()).toMatchObject({ data: { deployment_id: ids[0] } })
  const lastId = before.lastId() ?? ''
  ids.push(await deployed('hello'))
  const restarted = cp.restart()
  // The streams are ended, so that nobody waits for them.
  await before.ended()
  await restarted
  ids.push(await deployed('hello'))
  await using again = await read(completed, { 'last-event-id': lastId })
  const seen = [await again.next(), await again.next()]
  expect(seen.map(({ data }) => (data as { deployment_id: string }).deployment_id)).toEqual(
    ids.slice(1),
  )
  await using whole = await read(`${completed}&after=0`)
  expect(Number((await whole.next()).id)).toBeLessThan(Number(lastId))
})

test('an id that was never given is answered with a gap, then with what follows', async () => {
  await using client = await read(completed, { 'last-event-id': '4000000' })
  const gap = await client.next()
  expect(gap).toMatchObject({ event: 'gap', data: { after: 4_000_000 } })
  const id = await deployed('hello')
  const next = await client.next()
  expect(next).toMatchObject({ data: { deployment_id: id } })
  expect((gap.data as { next: number }).next).toBeLessThanOrEqual(Number(next.id))
})

test('the stream of a key ends when the key is revoked, and what happens then is not sent', async () => {
  const made = await cp.must<{ id: string; key: string }>('POST', '/api-keys', {
    ...{ name: 'reader', role: 'viewer' },
  })
  await using idle = await readEvents(streamUrl(), made.key)
  await using client = await readEvents(streamUrl(completed), made.key)
  const id = await deployed('hello')
  expect(await client.next()).toMatchObject({ data: { deployment_id: id } })
  await using other = await read(completed)
  await cp.must('DELETE', `/api-keys/${made.id}`)
  const unseen = await deployed('hello')
  expect(await other.next()).toMatchObject({ data: { deployment_id: unseen } })
  expect(client.next()).rejects.toThrow('has ended')
  await idle.ended()
})

test('what cannot be read is refused by name', async () => {
  const refused = async (query: string, headers: Record<string, string> = {}) => {
    const response = await fetch(streamUrl(query), {
      headers: { authorization: `Bearer ${cp.key}`, ...headers },
    })
    const { error } = (await response.json()) as { error: { code: string; message: string } }
    return `${response.status} ${error.message}`
  }
  expect(await refused('?type=weather')).toContain('400 Field type.0 of the query must be a type')
  expect(await refused('?after=-1')).toContain('400 Field after')
  expect(await refused('?function=nobody')).toContain('404')
  expect(await refused('', { 'last-event-id': 'x' })).toContain('400 The header last-event-id')
  expect((await fetch(streamUrl())).status).toBe(401)
})

test('readers that leave make room, and there is room for no more than so many', async () => {
  const abort = new AbortController()
  const open = () =>
    fetch(streamUrl(), {
      headers: { authorization: `Bearer ${cp.key}` },
      signal: abort.signal,
    })
  const answers = await Promise.all(Array.from({ length: LIMITS.eventReadersMax }, open))
  expect(answers.every(({ status }) => status === 200)).toBe(true)
  expect((await open()).status).toBe(503)
  abort.abort()
  await eventually(async () => {
    await using client = await read()
    return client.status === 200
  }, 'room for a reader')
})

test('a reader that reads nothing holds up no other and no deployment', async () => {
  const { port } = new URL(cp.plane().api_url)
  const stuck = connect(Number(port), '127.0.0.1')
  stuck.pause()
  stuck.write(
    `GET /api/v1/events?after=0 HTTP/1.1\r\nhost: cp\r\nauthorization: Bearer ${cp.key}\r\n\r\n`,
  )
  await using client = await read(completed)
  const id = await deployed('other')
  expect(await client.next()).toMatchObject({ data: { deployment_id: id } })
  stuck.destroy()
})

test('the description says that the answer is a stream', async () => {
  const document = (await (await fetch(`${cp.plane().api_url}/openapi.json`)).json()) as {
    paths: Record<string, { get: { responses: Record<string, { content: object }> } }>
  }
  const { content } = document.paths['/api/v1/events']?.get.responses['200'] ?? {}
  expect(Object.keys(content ?? {})).toEqual(['text/event-stream'])
})
