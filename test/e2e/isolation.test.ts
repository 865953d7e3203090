import { afterAll, beforeAll, expect, test } from 'bun:test'
import { join } from 'node:path'

import type { FunctionDetail } from '../../src/protocol/api.ts'
import { ControlPlane, GUESTS, Node, World } from './harness.ts'

let world: World
let plane: ControlPlane
let node: Node

beforeAll(async () => {
  world = new World()
  plane = await (await ControlPlane.create(world)).start()
  node = await Node.create(world, plane, { id: 'one', pop: 'one-1' })
  await node.start()
}, 120_000)
afterAll(() => world.close(), 60_000)

test('a version chooses whether its requests find what the ones before have left', async () => {
  // A plug-in that answers how often it was called.
  const deploy = (...flags: string[]) =>
    plane.run(
      ...['deploy', join(GUESTS, 'extism-count-as.wasm')],
      ...['--name', 'count', '--route', '/count', ...flags],
    )
  const answers = async () => {
    const texts = new Set<string>()
    for (let call = 0; call < 20; call += 1) texts.add(await (await node.get('/count')).text())
    return texts.size
  }
  await deploy('--isolation', 'request')
  expect(await answers()).toBe(1)
  const shown: FunctionDetail = JSON.parse(
    await plane.run('functions', 'show', 'count', '-o', 'json'),
  )
  expect(shown.latest?.isolation).toBe('request')
  expect(await plane.run('functions', 'show', 'count')).toMatch(/isolation +request/)
  await deploy()
  expect(await answers()).toBeGreaterThan(1)
  expect(await plane.run('versions', 'list', 'count')).toMatch(/instance[^]*request/)
  const refused = await plane.cli('deploy', 'x.wasm', '--name', 'count', '--isolation', 'none')
  expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('--isolation')])
}, 120_000)
