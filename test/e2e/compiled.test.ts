import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { ControlPlane, GUESTS, Node, startLoad, until, World } from './harness.ts'

const functions = ['hello-c', 'echo-c', 'wagi-hello-c', 'misbehave-c']
let world: World
let plane: ControlPlane
let node: Node

const compiledFunctions = async (form: string) => node.metric('edgefn_functions', `form="${form}"`)

beforeAll(async () => {
  world = new World()
  plane = await (await ControlPlane.create(world)).start()
  node = await (await Node.create(world, plane, { id: 'compiled-1-a', pop: 'compiled-1' })).start()
}, 120_000)
afterAll(async () => {
  await world.close()
}, 120_000)

test('functions go from the interpreter to compiled code under load without one failed request', async () => {
  for (const name of functions) {
    const more = name === 'misbehave-c' ? ['--max-execution-ms', '200'] : []
    await plane.run(
      'deploy',
      join(GUESTS, `${name}.wasm`),
      '--name',
      name,
      '--route',
      `/${name}/*`,
      ...more,
    )
  }
  const loads = ['hello-c', 'echo-c', 'wagi-hello-c'].map((name) =>
    startLoad(`${node.url}/${name}/x`, 1),
  )
  await until('all run well compiled', async () => (await compiledFunctions('O2')) === 4, 200_000)
  for (const load of loads) expect((await load.stop()).failures).toEqual([])
  expect(await compiledFunctions('interpreted')).toBe(0)
}, 240_000)

test('compiled guests that misbehave are stopped, and hurt nobody', async () => {
  const workers = node.workers()
  const load = startLoad(`${node.url}/hello-c/x`, 2)
  const codes: unknown[] = []
  for (const path of ['loop', 'recurse', 'oob', 'div0', 'trap', 'alloc']) {
    const response = await node.get(`/misbehave-c/${path}`)
    const { error } = (await response.json()) as { error: { code: string } }
    codes.push([path, response.status, error.code])
  }
  expect((await load.stop()).failures).toEqual([])
  expect(codes).toEqual([
    ['loop', 504, 'execution_timeout'],
    ['recurse', 500, 'stack_overflow'],
    ['oob', 500, 'function_trap'],
    ['div0', 500, 'function_trap'],
    ['trap', 500, 'function_trap'],
    ['alloc', 500, 'memory_limit'],
  ])
  expect(node.workers()).toEqual(workers)
}, 120_000)

test('a restarted node has its compiled functions without compiling, but for one whose file was damaged', async () => {
  await node.stop('SIGKILL')
  const dir = join(node.dataDir, 'compiled')
  const [damaged] = readdirSync(dir).filter((name) => name.endsWith('.wasm'))
  const path = join(dir, damaged ?? '')
  const bytes = readFileSync(path)
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 0x40
  writeFileSync(path, bytes)
  await node.start()
  await until('all run well compiled', async () => (await compiledFunctions('O2')) === 4, 200_000)
  const made = await node.metric('edgefn_compilations_total', 'result="success"')
  expect(made).toBeLessThanOrEqual(2)
  expect((await node.get('/echo-c/x')).status).toBe(200)
}, 240_000)
