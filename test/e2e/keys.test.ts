import { afterAll, beforeAll, expect, test } from 'bun:test'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

import type { FunctionView } from '../../src/protocol/api.ts'
import { ControlPlane, GUESTS, Node, until, World } from './harness.ts'
import type { Page } from './harness.ts'

let world: World
let plane: ControlPlane
let node: Node

const deploy = (file: string, name: string) =>
  plane.run(
    ...['deploy', join(GUESTS, `${file}.wasm`), '--name', name, '--route', `/${name}/*`],
    ...['--max-execution-ms', '5000'],
  )

beforeAll(async () => {
  world = new World()
  plane = await (await ControlPlane.create(world)).start()
  node = await (await Node.create(world, plane, { id: 'tokyo-1-a', pop: 'tokyo-1' })).start()
  await deploy('sdk-c', 'keys')
}, 120_000)
afterAll(async () => {
  await world.close()
}, 120_000)

function call(name: string, query: Record<string, string>, body = ''): Promise<Response> {
  return node.get(`/${name}/?${new URLSearchParams(query)}`, { method: 'POST', body })
}

async function text(name: string, query: Record<string, string>, body = ''): Promise<string> {
  const response = await call(name, query, body)
  if (response.status >= 500) throw new Error(`${response.status} ${await response.text()}`)
  return response.text()
}

async function idOf(name: string): Promise<string> {
  const { items } = await plane.api<Page<FunctionView>>('GET', '/functions')
  return items.find((each) => each.name === name)?.id ?? ''
}

/** Kills a worker and waits until another serves in its place. */
async function killWorker(index: number): Promise<void> {
  const victim = await node.worker(index)
  process.kill(victim, 'SIGKILL')
  await until('all workers serve again', async () => {
    const ready = await (await fetch(`${node.ops}/ready`)).text()
    return !node.workers().includes(victim) && ready.includes('2 of 2 serve')
  })
}

/** Puts keys from several clients, until stopped; which of them were acknowledged. */
function startPutting(prefix: string, clients: number) {
  const acknowledged: string[] = []
  let running = true
  async function client(index: number): Promise<void> {
    for (let n = 0; running; n += 1) {
      const key = `${prefix}${index}-${n}`
      const put = await text('keys', { op: 'put', key }, `value of ${key}`).catch(() => null)
      if (put === '0') acknowledged.push(key)
    }
  }
  const done = Promise.all(Array.from({ length: clients }, (_, index) => client(index)))
  return {
    acknowledged,
    async stop() {
      running = false
      await done
    },
  }
}

async function lost(keys: readonly string[]): Promise<string[]> {
  const gone: string[] = []
  for (const key of keys) {
    if ((await text('keys', { op: 'get', key })) !== `value of ${key}`) gone.push(key)
  }
  return gone
}

test('what was acknowledged survives workers that are killed while they write', async () => {
  const putting = startPutting('w', 6)
  // A third death would be blamed on the function, and it would be quarantined.
  for (const round of [1, 2]) {
    await until('keys are stored', () => putting.acknowledged.length > round * 100)
    await killWorker(round - 1)
  }
  await putting.stop()
  expect(putting.acknowledged.length).toBeGreaterThan(200)
  expect(await lost(putting.acknowledged)).toEqual([])
}, 120_000)

test('and an agent that is killed, with its workers, and started again', async () => {
  const putting = startPutting('a', 4)
  await until('keys are stored', () => putting.acknowledged.length > 50)
  const workers = node.workers()
  await node.stop('SIGKILL')
  for (const pid of workers) process.kill(pid, 'SIGKILL')
  await putting.stop()
  await node.start()
  expect(await lost(putting.acknowledged)).toEqual([])
}, 120_000)

test('counters add up over the workers, and stay when one is killed', async () => {
  const counted = async (name: string) => {
    const metrics = await (await fetch(`${node.ops}/metrics`)).text()
    const line = metrics.split('\n').find((each) => {
      return each.startsWith('edgefn_guest_metric_total{') && each.includes(`name="${name}"`)
    })
    return line === undefined ? 0 : Number(line.slice(line.lastIndexOf(' ')))
  }
  const count = (times: number) =>
    Promise.all(
      Array.from({ length: times }, () =>
        // A connection of its own, so that all workers have their share.
        fetch(`${node.url}/keys/?op=count&key=orders&value=2`, {
          method: 'POST',
          body: 'country=jp\n',
          headers: { connection: 'close' },
        }).then((response) => response.text()),
      ),
    )
  expect(new Set(await count(100))).toEqual(new Set(['0']))
  expect(await counted('orders')).toBe(200)
  await killWorker(0)
  expect(await counted('orders')).toBe(200)
  // A connection that the dead worker had not taken yet is reset with it.
  expect(await until('a worker counts', () => count(1).catch(() => null))).toEqual(['0'])
  expect(await counted('orders')).toBe(202)
}, 120_000)

test('keys expire, and are another function’s own', async () => {
  await deploy('sdk-rust', 'others')
  expect(await text('keys', { op: 'put', key: 'short', ttl: '1' }, 'v')).toBe('0')
  expect(await text('others', { op: 'get', key: 'short' })).toBe('-1')
  await until(
    'the key is gone',
    async () => (await text('keys', { op: 'get', key: 'short' })) === '-1',
  )
  expect(await text('keys', { op: 'keys', key: 'short' })).toBe('')
}, 120_000)

test('keys stay through new versions, and go with their function', async () => {
  const dir = join(node.dataDir, 'kv')
  const id = await idOf('keys')
  await text('keys', { op: 'put', key: 'kept' }, 'v')
  expect(await deploy('sdk-rust', 'keys')).toContain('version 2')
  expect(await text('keys', { op: 'get', key: 'kept' })).toBe('v')
  expect(existsSync(join(dir, id))).toBe(true)
  await text('others', { op: 'put', key: 'neighbour' }, 'v')
  await plane.api('DELETE', `/functions/${id}`)
  await until('the keys are gone', () => !readdirSync(dir).some((name) => name.startsWith(id)))
  expect((await call('keys', { op: 'get', key: 'kept' })).status).toBe(404)
  expect(await text('others', { op: 'get', key: 'neighbour' })).toBe('v')
}, 120_000)
