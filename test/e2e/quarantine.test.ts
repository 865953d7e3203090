/** A function that ends its workers, proven by signals sent to the worker that runs it: blame, quarantine, and what lifts it. */

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

import { RunningFile } from '../../src/edge/running.ts'
import type {
  DeploymentView,
  ErrorBody,
  FunctionDetail,
  FunctionView,
  NodeDetail,
} from '../../src/protocol/api.ts'
import type { Page } from './harness.ts'
import { ControlPlane, GUESTS, jsonOf, Node, startLoad, until, World } from './harness.ts'

const workers = 2
/** With that of the spare. */
const seats = workers + 1
/** The version of the killer, which nothing else here has: how its cell is found in the shared memory. */
const killerVersion = 2

/** A request on a connection of its own: on one that was used before, Bun sends a lost request again. */
const ONCE = { keepalive: false, headers: { connection: 'close' } }

let world: World
let plane: ControlPlane
let node: Node

const guest = (name: string) => join(GUESTS, `${name}.wasm`)
const deploy = (file: string, name: string, ...more: string[]) =>
  plane.run('deploy', guest(file), '--force', '--name', name, '--route', `/${name}/*`, ...more)

beforeAll(async () => {
  world = new World()
  plane = await (await ControlPlane.create(world)).start()
  node = await (await Node.create(world, plane, { id: 'tokyo-1-a', pop: 'tokyo-1' })).start()
  // Long limits: the machine may be busy, and none of their calls is to fail.
  await deploy('hello-c', 'hello', '--max-execution-ms', '5000')
  await deploy('echo-c', 'echo', '--max-execution-ms', '5000')
  await deploy('misbehave-c', 'bad', '--max-execution-ms', '20000')
  await deploy('misbehave-c', 'bad', '--max-execution-ms', '20000', '--message', 'again')
}, 120_000)
afterAll(async () => {
  await world.close()
}, 120_000)

function runningFile(): RunningFile {
  const run = join(node.dataDir, 'run')
  const name = readdirSync(run).find((each) => each.startsWith('running.'))
  return new RunningFile(join(run, name ?? ''), seats)
}

/** Both workers have their warm instance of a function, so that only a call of it is what runs of it. */
async function bothAreWarm(name: string): Promise<boolean> {
  const { items } = await plane.api<Page<FunctionView>>('GET', '/functions')
  const id = items.find((item) => item.name === name)?.id
  return (await node.metric('edgefn_pool_instances', `function_id="${id}"`)) >= workers
}

/** Waits until a death of a worker has been seen and all workers serve. */
async function replaced(restartsBefore: number): Promise<void> {
  await until('it is replaced', async () => {
    const restarts = await node.metric('edgefn_worker_restarts_total')
    return restarts > restartsBefore && (await node.metric('edgefn_workers')) === workers
  })
}

/** The worker in which the killer runs now. */
function killersWorker(file: RunningFile): number | undefined {
  for (let seat = 0; seat < seats; seat += 1) {
    if (file.read(seat).some(({ version }) => version === killerVersion)) return file.pid(seat)
  }
  return undefined
}

/** The worker in which it goes on running: a call, and not a warm-up. */
async function loopingWorker(file: RunningFile): Promise<number | undefined> {
  const pid = killersWorker(file)
  for (const end = performance.now() + 300; performance.now() < end; await Bun.sleep(5)) {
    if (pid === undefined || killersWorker(file) !== pid) return undefined
  }
  return pid
}

async function badStatus(): Promise<[number, string]> {
  const response = await node.get('/bad/status/200')
  if (response.ok) return [response.status, '']
  const { error } = await jsonOf<ErrorBody>(response)
  return [response.status, error.code]
}

test('three deaths quarantine the function that ran in them; its neighbours lose what ran beside it and no more', async () => {
  const file = runningFile()
  const clients = 3
  const loads = [startLoad(`${node.url}/hello`, clients), startLoad(`${node.url}/echo/x`, clients)]
  let deaths = 0
  const signals = ['SIGSEGV', 'SIGKILL', 'SIGSEGV'] as const
  for (; deaths < 8; deaths += 1) {
    await until('both workers are warm', () => bothAreWarm('bad'))
    const call = node.get('/bad/loop', ONCE).catch(() => null)
    const pid = await until('the loop runs', () => loopingWorker(file))
    expect(await badStatus()).toEqual([200, ''])
    process.kill(pid, signals[deaths % signals.length])
    expect(await call).toBeNull()
    // Before the next death, so that the other worker is not alone with the load.
    await replaced(deaths)
    if ((await badStatus())[1] === 'function_quarantined') break
  }
  expect(deaths + 1).toBeGreaterThanOrEqual(3)
  const response = await node.get('/bad/loop')
  const body = await jsonOf<ErrorBody>(response)
  expect([response.status, body.error.code]).toEqual([503, 'function_quarantined'])
  expect(body.error.details).toMatchObject({ version: killerVersion })
  expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(500)
  for (const load of loads) {
    const report = await load.stop()
    // A connection that broke, at most one of each client for each death; no answer that says an error.
    expect(report.failures.filter((failure) => /^\d/.test(failure))).toEqual([])
    expect(report.failures.length).toBeLessThanOrEqual(clients * (deaths + 1))
    expect(report.requests).toBeGreaterThan(20)
  }
  expect((await node.get('/hello')).status).toBe(200)
  expect((await node.get('/echo/x')).status).toBe(200)
}, 120_000)

test('the quarantine is in the metrics, in the node’s status and in what the commands print', async () => {
  expect(await node.metric('edgefn_function_quarantined')).toBe(1)
  expect(await node.metric('edgefn_worker_deaths_total')).toBeGreaterThanOrEqual(3)
  expect(node.output).toContain('"error_type":"function_quarantined"')
  const shown = await until('the heartbeat says it', async () => {
    const detail = await plane.api<NodeDetail>('GET', '/nodes/tokyo-1-a')
    return detail.functions.some(({ state }) => state === 'quarantined') ? detail : null
  })
  expect(shown.status).toBe('degraded')
  const states = shown.functions.map((fn) => [fn.function_name, fn.state]).sort()
  expect(states).toEqual([
    ['bad', 'quarantined'],
    ['echo', 'serving'],
    ['hello', 'serving'],
  ])
  expect(await plane.run('nodes', 'show', 'tokyo-1-a')).toMatch(
    /bad +2 +2 +quarantined .*ended \d worker/,
  )
  expect(await plane.run('functions', 'show', 'bad')).toMatch(
    /tokyo-1-a +2 +quarantined +\S.*ended/,
  )
  const { troubles } = await plane.api<FunctionDetail>('GET', '/functions/bad')
  expect(troubles).toMatchObject([{ node_id: 'tokyo-1-a', version: 2, state: 'quarantined' }])
}, 120_000)

test('an agent that is killed does not forget it', async () => {
  await node.stop('SIGKILL')
  await node.start()
  await until('the new workers serve alone', () => node.workers().length === workers)
  expect(await badStatus()).toEqual([503, 'function_quarantined'])
}, 120_000)

test('another version lifts it, and a deployment of the quarantined one fails', async () => {
  await deploy('misbehave-c', 'bad', '--message', 'better')
  expect(await badStatus()).toEqual([200, ''])
  await until('the node is well', async () => {
    return (await plane.api<NodeDetail>('GET', '/nodes/tokyo-1-a')).status === 'online'
  })
  const back = await plane.api<DeploymentView>('POST', '/functions/bad/deploy', { version: 2 })
  const done = await until('the deployment is over', async () => {
    const found = await plane.api<DeploymentView>('GET', `/deployments/${back.id}`)
    return found.status === 'pending' || found.status === 'in_progress' ? null : found
  })
  expect(done).toMatchObject({
    status: 'failed',
    targets: [{ error: { code: 'function_quarantined' } }],
  })
  expect(await badStatus()).toEqual([200, ''])
}, 120_000)

test('neighbours that run all the time are told from the killer, however often they die together', async () => {
  for (const name of ['nap', 'doze', 'killer', 'killer']) {
    await deploy('misbehave-c', name, '--max-execution-ms', '5000', '--message', Bun.randomUUIDv7())
  }
  const file = runningFile()
  const naps = ['nap', 'doze'].map((name) => startLoad(`${node.url}/${name}/sleep/200`, 4))
  const path = '/killer/sleep/1000'
  let lastCode = ''
  for (let deaths = 0; deaths < 12 && lastCode !== 'function_quarantined'; deaths += 1) {
    const restarts = await node.metric('edgefn_worker_restarts_total')
    await until('both workers are warm', () => bothAreWarm('killer'))
    const call = node.get(path, ONCE).catch(() => null)
    // As a crash would: a moment after it has begun. It may be the warm-up in a new worker that is met; that counts, too.
    process.kill(await until('the killer runs', () => killersWorker(file)), 'SIGKILL')
    await call
    await replaced(restarts)
    const refused = await node.get('/killer/status/200', ONCE)
    lastCode = refused.ok ? '' : (await jsonOf<ErrorBody>(refused)).error.code
  }
  expect(lastCode).toBe('function_quarantined')
  for (const load of naps) {
    const { failures, requests } = await load.stop()
    expect(failures.filter((failure) => /^\d/.test(failure))).toEqual([])
    expect(requests).toBeGreaterThan(10)
  }
  expect((await node.get('/nap/status/200')).status).toBe(200)
  expect((await node.get('/doze/status/200')).status).toBe(200)
}, 120_000)
