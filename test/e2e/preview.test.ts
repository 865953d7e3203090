/** Previews on the real binary: a version without traffic answers on any node to who holds its token, and to nobody else. */

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { join } from 'node:path'

import type { RegistrationView } from '../../src/protocol/api.ts'
import type { PreviewView } from '../../src/protocol/preview.ts'
import { ControlPlane, GUESTS, Node, until, World } from './harness.ts'

let world: World
let plane: ControlPlane
let node: Node

const guest = (name: string) => join(GUESTS, `${name}.wasm`)
const HELLO = 'Hello, edge!\n'

/** A version that gets no traffic. */
async function upload(name: string, file: string): Promise<void> {
  const { upload_url } = await plane.api<RegistrationView>('POST', '/functions', { name })
  const stored = await fetch(upload_url, { method: 'PUT', body: Bun.file(guest(file)) })
  if (!stored.ok) throw new Error(await stored.text())
}

async function preview(name: string, version: string, ...more: string[]): Promise<PreviewView> {
  const words = ['versions', 'preview', name, version, '--output', 'json', ...more]
  return JSON.parse(await plane.run(...words)) as PreviewView
}

const fields = ({ version, token }: PreviewView) => ({
  'x-edgefn-version': `v${version}`,
  'x-edgefn-preview-token': token,
})

beforeAll(async () => {
  world = new World()
  const flags = ['--preview-domain', 'preview.test']
  plane = await (await ControlPlane.create(world, flags)).start()
  node = await (await Node.create(world, plane, { id: 'tokyo-1-a', pop: 'tokyo-1' })).start()
  await plane.run('deploy', guest('hello-c'), '--name', 'hello', '--route', '/hello')
  await upload('hello', 'echo-c')
}, 120_000)
afterAll(async () => {
  await world.close()
}, 120_000)

test('a version that was only uploaded answers by header fields, and the traffic goes where it went', async () => {
  const made = await preview('hello', 'v2')
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => node.get('/hello?x=1', { headers: fields(made) })),
  )
  for (const answer of answers) {
    expect(answer.status).toBe(200)
    expect(await answer.json()).toMatchObject({ path: '/hello', query: 'x=1' })
  }
  expect(await (await node.get('/hello')).text()).toBe(HELLO)
  expect(await node.metric('edgefn_version_calls_total', 'version="2"')).toBe(20)
  // Of another version, or with none, it is nobody's.
  const other = await preview('hello', '1')
  const mixed = { ...fields(other), 'x-edgefn-version': 'v2' }
  expect((await node.get('/hello', { headers: mixed })).status).toBe(403)
  expect((await node.get('/hello', { headers: { 'x-edgefn-version': 'v2' } })).status).toBe(403)
}, 120_000)

test('a function that was never deployed answers at its preview host', async () => {
  await upload('fresh', 'hello-rust')
  const made = await preview('fresh', 'v1')
  expect(made.host).toBe('v1--fresh.preview.test')
  const ask = (path: string, headers: Record<string, string> = {}) =>
    node.get(path, { headers: { host: made.host ?? '', ...headers }, redirect: 'manual' })
  await until('the node knows the domain', async () => (await ask('/')).status === 403)
  const first = await ask(`/any/path?edgefn_preview=${made.token}`)
  expect([first.status, first.headers.get('location')]).toEqual([303, '/any/path'])
  const cookie = first.headers.get('set-cookie')?.split(';')[0] ?? ''
  const second = await ask('/any/path', { cookie })
  expect([second.status, await second.text()]).toEqual([200, HELLO])
}, 120_000)

test('previews that serve go on without the control plane, new ones are refused for the time being', async () => {
  const known = await preview('hello', 'v2')
  await upload('hello', 'hello-as')
  const unknown = await preview('hello', 'v3')
  await plane.stop('SIGKILL')
  expect((await node.get('/hello', { headers: fields(known) })).status).toBe(200)
  const away = await node.get('/hello', { headers: fields(unknown) })
  expect([away.status, await away.text()]).toEqual([
    503,
    expect.stringContaining('function_unavailable'),
  ])
  await plane.start()
  await until('the version answers', async () => {
    return (await node.get('/hello', { headers: fields(unknown) })).status === 200
  })
  // A worker that replaces another knows the previews too.
  process.kill(await node.worker(0), 'SIGKILL')
  const statuses = await Promise.all(
    Array.from({ length: 40 }, async () => {
      await Bun.sleep(50 * Math.random())
      const answer = await node.get('/hello', { headers: fields(unknown) }).catch(() => null)
      return answer?.status ?? 0
    }),
  )
  expect(statuses.filter((status) => status !== 200 && status !== 0)).toEqual([])
}, 120_000)

test('a deleted function’s previews end', async () => {
  const made = await preview('hello', 'v2')
  expect((await node.get('/hello', { headers: fields(made) })).status).toBe(200)
  await plane.run('functions', 'delete', 'hello')
  await until('it is gone', async () => {
    const headers = { host: made.host ?? '', 'x-edgefn-preview-token': made.token }
    return (await node.get('/hello', { headers })).status === 404
  })
}, 120_000)
