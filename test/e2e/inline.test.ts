/** The inline lane on a real node: functions come and go under load, and who ends a worker from there is named. */

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

import { RunningFile } from '../../src/edge/running.ts'
import type { FunctionView } from '../../src/protocol/api.ts'
import { edgefn } from '../guests/hostile/guest.ts'
import { assemble } from '../wasm/wabt.ts'
import { deployGuest } from './deploy-guest.ts'
import type { Page } from './harness.ts'
import { ControlPlane, GUESTS, Node, startLoad, until, World } from './harness.ts'

/** Counts for some tenths of a millisecond, and answers. */
const COUNTS = edgefn(
  `(loop $again
     (i32.store (i32.const 64) (local.tee $i (i32.add (local.get $i) (i32.const 1))))
     (br_if $again (i32.lt_u (i32.load (i32.const 64)) (i32.const 150000))))
   (i32.store8 (local.get $out) (i32.const 10)) (i32.const 1)`,
)
/** A worker may die at a moment at which the function has just answered. */
const deathsMax = 10
/** Longer than a guest that cannot be stopped may keep the HTTP thread. */
const pauseMs = 2_500
const pauses = 2

let world: World
let plane: ControlPlane
let node: Node

const inlineCalls = () => node.metric('edgefn_inline_calls_total')
const deploy = (file: string, name: string, ...more: string[]) =>
  plane.run(
    'deploy',
    join(GUESTS, `${file}.wasm`),
    '--name',
    name,
    '--route',
    `/${name}/*`,
    ...more,
  )

beforeAll(async () => {
  world = new World()
  plane = await (await ControlPlane.create(world)).start()
  const flags = ['--workers', '1']
  node = await (await Node.create(world, plane, { id: 'inline-1', pop: 'inline', flags })).start()
}, 120_000)
afterAll(() => world.close(), 60_000)

/** What the workers run now, as they write it; the second seat is that of the spare one. */
function running(): RunningFile {
  const run = join(node.dataDir, 'run')
  const file = readdirSync(run).find((name) => name.startsWith('running.')) ?? ''
  return new RunningFile(join(run, file), 2)
}

/** Runs until a thousand more calls were answered inline. */
async function manyInline(): Promise<void> {
  const before = await inlineCalls()
  await until('calls run inline', async () => (await inlineCalls()) > before + 1000, 60_000)
}

test('versions, functions and routes come and go while calls run inline, and none of these fails', async () => {
  const limit = ['--max-execution-ms', '10000']
  await deploy('hello-c', 'hello', ...limit)
  const loads = ['a', 'b'].map((path) => startLoad(`${node.url}/hello/${path}`, 4))
  await manyInline()
  for (const version of ['two', 'three']) {
    await deploy('hello-c', 'hello', ...limit, '--message', version)
    await deploy('echo-c', `echo-${version}`, ...limit)
    const other = startLoad(`${node.url}/echo-${version}/x`, 2)
    await manyInline()
    expect((await other.stop()).failures).toEqual([])
    await plane.api('DELETE', `/functions/echo-${version}`)
    await manyInline()
  }
  for (const load of loads) expect((await load.stop()).failures).toEqual([])
  expect(await node.metric('edgefn_worker_restarts_total')).toBe(0)
}, 120_000)

test('a worker that was stopped for seconds in the middle of such a call goes on', async () => {
  const limits = { memory_pages: 16, max_execution_ms: 10_000 }
  const deployed = await deployGuest(plane, 'pauses', assemble(COUNTS), limits)
  if (!deployed.stored) throw new Error(deployed.error.message)
  const load = startLoad(`${node.url}/pauses/`, 8)
  await manyInline()
  const pid = running().pid(0)
  for (let pause = 0; pause < pauses; pause += 1) {
    await until('it runs a guest', () => running().read(0).length > 0)
    process.kill(pid, 'SIGSTOP')
    await Bun.sleep(pauseMs)
    process.kill(pid, 'SIGCONT')
    await Bun.sleep(100)
  }
  expect((await load.stop()).failures).toEqual([])
  expect(await node.metric('edgefn_worker_restarts_total')).toBe(0)
  await plane.api('DELETE', '/functions/pauses')
}, 120_000)

test('a worker that dies while a guest runs on its HTTP thread is blamed on that guest', async () => {
  const limits = { memory_pages: 16, max_execution_ms: 10_000 }
  const deployed = await deployGuest(plane, 'counts', assemble(COUNTS), limits)
  if (!deployed.stored) throw new Error(deployed.error.message)
  const { items } = await plane.api<Page<FunctionView>>('GET', '/functions')
  const id = items.find(({ name }) => name === 'counts')?.id ?? ''
  const blamed = () => node.metric('edgefn_worker_deaths_blamed_total', `function_id="${id}"`)

  for (let deaths = 0; deaths < deathsMax && (await blamed()) === 0; deaths += 1) {
    const load = startLoad(`${node.url}/counts/`, 8)
    await manyInline()
    const [pid] = await until('a worker runs a guest', () => {
      const seat = [0, 1].find((each) => running().read(each).length > 0)
      return seat === undefined ? null : [running().pid(seat)]
    })
    const restarts = await node.metric('edgefn_worker_restarts_total')
    if (pid !== undefined) process.kill(pid, 'SIGKILL')
    await load.stop()
    await until(
      'it is replaced',
      async () => (await node.metric('edgefn_worker_restarts_total')) > restarts,
    )
  }
  expect(await blamed()).toBeGreaterThan(0)
  // Nobody else was.
  expect(await node.metric('edgefn_worker_deaths_blamed_total')).toBe(await blamed())
}, 120_000)
