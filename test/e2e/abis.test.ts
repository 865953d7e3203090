import { afterAll, beforeAll, expect, test } from 'bun:test'
import { join } from 'node:path'

import type { VersionView } from '../../src/protocol/api.ts'
import { ControlPlane, GUESTS, jsonOf, Node, World } from './harness.ts'
import type { Echo, Page } from './harness.ts'

let world: World
let plane: ControlPlane
let node: Node

const guest = (name: string) => join(GUESTS, `${name}.wasm`)
const deploy = (file: string, name: string, ...more: string[]) =>
  plane.run('deploy', guest(file), '--name', name, '--route', `/${name}/*`, ...more)
const newest = async (name: string) =>
  (await plane.api<Page<VersionView>>('GET', `/functions/${name}/versions?limit=1`)).items[0]

beforeAll(async () => {
  world = new World()
  plane = await (await ControlPlane.create(world)).start()
  node = await (await Node.create(world, plane, { id: 'tokyo-1-a', pop: 'tokyo-1' })).start()
}, 120_000)
afterAll(async () => {
  await world.close()
}, 120_000)

test('inspect names the ABI of each, and what answers', async () => {
  const kinds: [string, string, string][] = [
    ['echo-c', 'edgefn', 'handle'],
    ['wagi-echo-c', 'wagi', '_start'],
    ['wws-http-rust', 'wws', '_start'],
    ['spin-echo-rust', 'spin', 'handle-http-request'],
    ['extism-count-as', 'extism', 'count_vowels'],
  ]
  for (const [name, abi, entrypoint] of kinds) {
    const said = JSON.parse(await plane.run('inspect', guest(name), '--output', 'json'))
    expect(said).toMatchObject({ refused: false, abi, entrypoint })
  }
  const asked = await plane.cli('inspect', guest('wagi-echo-c'), '--abi', 'spin')
  expect([asked.code, asked.stdout]).toEqual([1, expect.stringContaining('For Spin 1.x')])
}, 120_000)

test('a Spin module answers', async () => {
  await deploy('spin-echo-rust', 'spin', '--env', 'PLACE=tokyo')
  expect(await newest('spin')).toMatchObject({ abi: 'spin', entrypoint: 'handle-http-request' })
  const response = await node.get('/spin/x?y=1', { method: 'PUT', body: 'b' })
  expect([response.status, response.headers.get('x-guest')]).toEqual([201, 'rust'])
  const echoed = await jsonOf<Echo>(response)
  expect(echoed).toMatchObject({ method: 'PUT', path: '/spin/x', query: 'y=1', body: 'b' })
  expect(echoed.headers).toMatchObject({
    'spin-path-info': '/x',
    'spin-matched-route': '/spin/...',
    'spin-full-url': `${node.url}/spin/x?y=1`,
  })
}, 120_000)

test('an Extism plug-in answers, by the export that it has', async () => {
  await deploy('extism-count-as', 'vowels', '--env', 'PLACE=tokyo')
  expect(await newest('vowels')).toMatchObject({ abi: 'extism', entrypoint: 'count_vowels' })
  const response = await node.get('/vowels', { method: 'POST', body: 'Hello, World!' })
  expect(await jsonOf(response)).toMatchObject({ count: 3, path: '/vowels', place: 'tokyo' })
  await deploy('extism-plugin-c', 'vowels', '--entrypoint', 'other', '--force')
  const other = await node.get('/vowels')
  expect([other.status, await jsonOf(other)]).toEqual([
    500,
    { error: expect.objectContaining({ code: 'function_error', details: { result: 7 } }) },
  ])
}, 120_000)

test('a command is a worker of Wasm Workers Server when it is asked for', async () => {
  await deploy('wws-echo-rust', 'worker', '--abi', 'wws', '--env', 'PLACE=tokyo')
  expect(await newest('worker')).toMatchObject({ abi: 'wws', entrypoint: '_start' })
  const response = await node.get('/worker?x=1', { method: 'POST', body: 'b' })
  expect([response.status, response.headers.get('x-place')]).toEqual([203, 'tokyo'])
  expect(await jsonOf(response)).toMatchObject({ url: `${node.url}/worker?x=1`, body: 'b' })
  await deploy('wws-echo-rust', 'worker', '--force')
  expect(await newest('worker')).toMatchObject({ abi: 'wagi', version: 2 })
  expect((await node.get('/worker')).status).toBe(502)
}, 120_000)

test('an ABI that the module does not speak is refused, and nothing is kept', async () => {
  const refused = await plane.cli('deploy', guest('echo-c'), '--name', 'none', '--abi', 'extism')
  expect(refused.code).not.toBe(0)
  expect(refused.stderr).toContain('For Extism: ')
  const unknown = await plane.cli('deploy', guest('echo-c'), '--name', 'none', '--abi', 'cgi')
  expect(unknown.stderr).toContain('edgefn, wagi, wws, spin, extism')
  await expect(plane.api('GET', '/functions/none')).rejects.toThrow()
}, 120_000)
