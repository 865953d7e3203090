/** A traffic split on the real binary: shares, users who stay, weights that change, an end, and a version that cannot run. */

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { join } from 'node:path'

import type { RegistrationView } from '../../src/protocol/api.ts'
import { assemble } from '../edge/worker/runtime/wat.ts'
import { ControlPlane, GUESTS, Node, startLoad, until, World } from './harness.ts'

let world: World
let plane: ControlPlane
let nodes: Node[]

const usersCount = 2_000
const users = Array.from({ length: usersCount }, (_, index) => `user-${index}@example.com`)

/** Which of the two modules answered. */
async function versionFor(node: Node, user: string): Promise<1 | 2> {
  const get = () => node.get('/split', { headers: { 'x-user': user } })
  // After a kill the orphans' listeners close, and reset what they had not accepted; each worker has one.
  const response = await get().catch(get).catch(get)
  const text = await response.text()
  if (response.status !== 200) throw new Error(`${response.status} ${text}`)
  return text === 'Hello, edge!\n' ? 1 : 2
}

async function versionsFor(node: Node): Promise<(1 | 2)[]> {
  const found: (1 | 2)[] = []
  for (let at = 0; at < users.length; at += 25) {
    found.push(
      ...(await Promise.all(users.slice(at, at + 25).map((user) => versionFor(node, user)))),
    )
  }
  return found
}

const shareOf = (versions: readonly number[]) =>
  versions.filter((version) => version === 2).length / versions.length

beforeAll(async () => {
  world = new World()
  plane = await (await ControlPlane.create(world)).start()
  const started = ['tokyo-1', 'osaka-1'].map(async (pop) =>
    (await Node.create(world, plane, { id: `${pop}-a`, pop })).start(),
  )
  nodes = await Promise.all(started)
  // A machine that is busy with other tests must not be what ends calls.
  const more = ['--force', '--max-execution-ms', '10000']
  const deploy = (file: string) =>
    plane.run(
      ...['deploy', join(GUESTS, `${file}.wasm`), '--name', 'split', '--route', '/split', ...more],
    )
  await deploy('hello-c')
  await deploy('echo-c')
  await plane.run('versions', 'deploy', 'split', 'v1')
}, 120_000)
afterAll(async () => {
  await world.close()
}, 120_000)

test('each user gets one version on every node and in every worker, and a weight moves no more users than it must', async () => {
  const load = startLoad(`${nodes[0]?.url}/split`, 4)
  const split = (weight: number) =>
    plane.run(
      ...['versions', 'deploy', 'split', `v1@${100 - weight}`, `v2@${weight}`],
      ...['--sticky', 'header:x-user'],
    )
  expect(await split(10)).toContain('split v1@90 v2@10 is in service on 2 nodes')
  const [first, second] = nodes
  if (first === undefined || second === undefined) throw new Error('Two nodes were started.')
  const tenth = await versionsFor(first)
  expect(Math.abs(shareOf(tenth) - 0.1)).toBeLessThan(0.035)
  expect(await versionsFor(first)).toEqual(tenth)
  expect(await versionsFor(second)).toEqual(tenth)
  await split(50)
  const half = await versionsFor(second)
  expect(Math.abs(shareOf(half) - 0.5)).toBeLessThan(0.06)
  // Who had the newer version has it still.
  expect(half.every((version, user) => version === 2 || tenth[user] === 1)).toBe(true)
  // A node that is started again goes on with the split.
  await second.stop('SIGKILL')
  await second.start()
  expect(await versionsFor(second)).toEqual(half)
  await plane.run('versions', 'deploy', 'split', 'v2')
  expect(shareOf(await versionsFor(first))).toBe(1)
  const report = await load.stop()
  expect(report.failures).toEqual([])
}, 120_000)

test('calls are counted by version, and the function’s sum is theirs', async () => {
  const [node] = nodes
  if (node === undefined) throw new Error('Two nodes were started.')
  await plane.run('versions', 'deploy', 'split', 'v1@50', 'v2@50', '--sticky', 'header:x-user')
  await versionsFor(node)
  const of = (version: number) => node.metric('edgefn_version_calls_total', `version="${version}"`)
  const [one, two] = [await of(1), await of(2)]
  expect(one).toBeGreaterThan(usersCount)
  expect(two).toBeGreaterThan(usersCount)
  expect(await node.metric('wasm_invoke_count_total')).toBe(one + two)
}, 120_000)

test('a version of a split that cannot run leaves what was served, and is named', async () => {
  const [node] = nodes
  if (node === undefined) throw new Error('Two nodes were started.')
  const before = await versionsFor(node)
  // It traps when its buffers are allocated, so no instance can be warmed.
  const broken = assemble(`(module (memory (export "memory") 1)
    (func (export "alloc") (param i32) (result i32) unreachable)
    (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const -1)))`)
  const { upload_url } = await plane.api<RegistrationView>('POST', '/functions', {
    name: 'split',
    max_execution_ms: 10_000,
  })
  expect((await fetch(upload_url, { method: 'PUT', body: broken })).ok).toBe(true)
  const failed = await plane.cli('versions', 'deploy', 'split', 'v1@50', 'v3@50')
  expect([failed.code, failed.stderr]).toEqual([
    5,
    expect.stringContaining('Version 3 of the split'),
  ])
  expect(await versionsFor(node)).toEqual(before)
  expect(await plane.run('deployments', 'list', '--function', 'split')).toContain('v1@50 v3@50')
  const unknown = await plane.cli('versions', 'deploy', 'split', 'v1@50', 'v9@50')
  expect([unknown.code, unknown.stderr]).toEqual([4, expect.stringContaining('9')])
}, 120_000)

test('a rollback ends a split with the version that last had all of the traffic, or with another one', async () => {
  const [node] = nodes
  if (node === undefined) throw new Error('Two nodes were started.')
  await plane.run('versions', 'deploy', 'split', 'v1@50', 'v2@50', '--sticky', 'header:x-user')
  expect(shareOf(await versionsFor(node))).toBeWithin(0.4, 0.6)
  const rollback = async (body: { to?: number }, share: number) => {
    await plane.api('POST', '/functions/split/rollback', body)
    await until('it is back', async () => shareOf(await versionsFor(node)) === share)
  }
  await rollback({}, 1)
  await rollback({ to: 1 }, 0)
}, 120_000)
