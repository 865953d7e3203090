/** The worker process under an agent: tables, fetches, drains, signals, the death of the agent. */

import { afterEach, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import {
  type ToAgent,
  toAgentSchema,
  type ToWorker,
  type WorkerFunction,
  type WorkerOptions,
} from '../../../../src/edge/ipc.ts'
import { StatsFile } from '../../../../src/edge/stats.ts'
import { type Assignment, partsOf } from '../../../../src/edge/table-parts.ts'
import type { Route } from '../../../../src/protocol/manifest.ts'
import { TestCompiler } from '../../compile/test-compiler.ts'
import { aFunction, aRoute, raw, until } from './harness.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

/** Starts a worker process and waits until it listens. */
async function startWorker(port = 0) {
  const directory = mkdtempSync(join(tmpdir(), 'edgefn-worker-'))
  const statsPath = join(directory, 'stats')
  const options: WorkerOptions = {
    node_id: 'n1',
    index: 0,
    spare: false,
    listen: { host: '127.0.0.1', port },
    stats_path: statsPath,
    quotas_path: join(directory, 'quotas'),
    kv_dir: join(directory, 'kv'),
    sql_dir: join(directory, 'sql'),
    guest_metrics_dir: directory,
    workers: 1,
    running_path: join(directory, 'running'),
    verdicts_path: join(directory, 'verdicts'),
    breakers_path: join(directory, 'breakers'),
    log_level: 'info',
    log_pretty: false,
    request_body_bytes_max: 1000,
    fetch_allow_private: [],
    executor_threads_max: 1,
    compile_key: new TestCompiler('').publicKey,
    // Of previews, which nobody asks for here.
    signing_key: Buffer.alloc(32).toString('base64url'),
    pool_bytes_max: 2 ** 30,
  }
  const inbox: ToAgent[] = []
  const child = Bun.spawn(
    [process.execPath, join(import.meta.dir, 'worker-fixture.ts'), JSON.stringify(options)],
    {
      ipc: (message) => void inbox.push(toAgentSchema.parse(message)),
      stdout: 'pipe',
      stderr: 'inherit',
    },
  )
  closers.push(() => {
    child.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
  })
  const find = <T extends ToAgent['type']>(type: T) =>
    inbox.find((message): message is ToAgent & { type: T } => message.type === type)
  await until(() => find('ready') !== undefined)
  const ready = find('ready')
  return {
    child,
    inbox,
    find,
    port: ready?.port ?? 0,
    url: `http://127.0.0.1:${ready?.port}`,
    stats: new StatsFile(statsPath),
    send: (message: ToWorker) => child.send(message),
  }
}

function tableOf(
  revision: number,
  functions: readonly WorkerFunction[],
  routes: readonly Route[],
): Assignment {
  return {
    revision,
    preview_domain: null,
    functions: new Map(functions.map((fn) => [fn.function_id, fn])),
    routes: new Map(routes.map((route) => [route.route_id, route])),
  }
}

type Worker = Awaited<ReturnType<typeof startWorker>>

/** Gives a worker one function at `/`. */
async function serving(worker: Worker, fn = aFunction()) {
  for (const part of partsOf(null, tableOf(7, [fn], [aRoute(fn)]))) worker.send(part)
  await until(() => worker.find('assigned') !== undefined)
  return fn
}

test('says that it listens, holds requests until its first table, then serves it', async () => {
  const worker = await startWorker()
  expect(worker.find('ready')).toMatchObject({ pid: worker.child.pid, engine: 'in-memory' })
  const early = fetch(worker.url)
  await until(() => worker.stats.getWorker('requests') === 1)
  await serving(worker)
  expect(worker.find('assigned')?.revision).toBe(7)
  expect((await early).status).toBe(200)
  expect(await (await fetch(worker.url)).text()).toBe(`${worker.child.pid} /nowhere/1.wasm`)
})

test('takes a table in parts, answers each, and serves the old one until the new one is whole', async () => {
  const worker = await startWorker()
  const fn = aFunction()
  const old = tableOf(7, [fn], [aRoute(fn)])
  for (const part of partsOf(null, old)) worker.send(part)
  await until(() => worker.find('assigned') !== undefined)
  const routes = Array.from({ length: 3000 }, (_, index) =>
    aRoute(fn, { path: `/r${index}`, path_type: 'exact' }),
  )
  const parts = [...partsOf(old, tableOf(8, [fn], routes))]
  const taken = () => worker.inbox.filter(({ type }) => type === 'taken').length
  const statuses = (paths: readonly string[]) =>
    Promise.all(paths.map(async (path) => (await fetch(worker.url + path)).status))
  for (const part of parts.slice(0, -1)) worker.send(part)
  await until(() => taken() === parts.length - 1)
  expect(taken()).toBeGreaterThan(1)
  expect(await statuses(['/r0', '/other'])).toEqual([200, 200])
  worker.send(parts.at(-1) as ToWorker)
  await until(() => worker.inbox.some((each) => each.type === 'assigned' && each.revision === 8))
  expect(await statuses(['/r0', '/r2999', '/other'])).toEqual([200, 200, 404])
})

test('a module that came while a table was being sent is not forgotten with it', async () => {
  const worker = await startWorker()
  const fn = await serving(worker, aFunction({ path: null }))
  const table = tableOf(
    8,
    [fn],
    Array.from({ length: 1000 }, () => aRoute(fn)),
  )
  const [first, ...rest] = partsOf(null, table)
  worker.send(first as ToWorker)
  await until(() => worker.find('taken') !== undefined)
  const { function_id } = fn
  worker.send({ type: 'fetched', function_id, version: 1, path: '/got', error: null })
  for (const part of rest) worker.send(part)
  await until(() => worker.inbox.some((each) => each.type === 'assigned' && each.revision === 8))
  expect(await (await fetch(worker.url)).text()).toEndWith('/got')
})

test('gauges of a worker that was killed start again, counters go on', async () => {
  const worker = await startWorker()
  worker.stats.add(3, 'in_flight', 5)
  worker.stats.add(3, 'invocations', 5)
  await serving(worker, aFunction({ slot: 3 }))
  await fetch(worker.url)
  expect(worker.stats.get(3, 'in_flight')).toBe(0)
  expect(worker.stats.get(3, 'invocations')).toBe(6)
})

test('prepares a function and says when it cannot', async () => {
  const worker = await startWorker()
  worker.send({ type: 'prepare', function: aFunction() })
  worker.send({ type: 'prepare', function: aFunction({ entrypoint: 'missing' }) })
  await until(() => worker.inbox.filter((message) => message.type === 'prepared').length === 2)
  const errors = worker.inbox.flatMap((message) =>
    message.type === 'prepared' ? [message.error] : [],
  )
  expect(errors).toEqual([null, { code: 'function_load_failed', message: 'No such export.' }])
})

test('asks for a module that is not at hand and remembers where it is', async () => {
  const worker = await startWorker()
  const fn = await serving(worker, aFunction({ path: null }))
  const answers = Promise.all([fetch(worker.url), fetch(worker.url)])
  await until(() => worker.find('fetch') !== undefined)
  expect(worker.find('fetch')).toMatchObject({ function_id: fn.function_id, damaged: false })
  worker.send({
    type: 'fetched',
    function_id: fn.function_id,
    version: 1,
    path: '/got',
    error: null,
  })
  for (const answer of await answers) expect(await answer.text()).toEndWith('/got')
  expect(await (await fetch(worker.url)).text()).toEndWith('/got')
  expect(worker.inbox.filter((message) => message.type === 'fetch')).toHaveLength(1)
})

test('a message that is none is dropped and the worker serves on', async () => {
  const worker = await startWorker()
  worker.child.send({ type: 'nonsense' })
  worker.child.send('x')
  await serving(worker)
  expect((await fetch(worker.url)).status).toBe(200)
})

/** Asks on one connection until that is closed; says how often it was answered, and whether the last one was announced as such. */
async function askUntilClosed(port: number): Promise<{ answers: number; announced: boolean }> {
  const socket = connect(port, '127.0.0.1')
  const { promise, resolve } = Promise.withResolvers<void>()
  let [answers, announced, received] = [0, false, '']
  const ask = () => socket.write('GET / HTTP/1.1\r\nhost: h\r\n\r\n')
  socket.on('connect', ask)
  socket.on('error', () => resolve())
  socket.on('close', () => resolve())
  socket.on('data', (data) => {
    received += data.toString('latin1')
    const length = /content-length: (\d+)/i.exec(received)?.[1]
    const head = received.indexOf('\r\n\r\n')
    if (head < 0 || received.length < head + 4 + Number(length)) return
    answers += 1
    announced = /connection: close/i.test(received)
    received = ''
    if (announced) socket.end()
    else ask()
  })
  await promise
  return { answers, announced }
}

test.each(['drain', 'SIGTERM'] as const)(
  'told to end (%s), no request is lost on a connection that is kept',
  async (how) => {
    const worker = await startWorker()
    await serving(worker)
    const clients = Array.from({ length: 8 }, () => askUntilClosed(worker.port))
    await until(() => worker.stats.getWorker('requests') > 100)
    if (how === 'drain') worker.send({ type: 'drain' })
    else worker.child.kill('SIGTERM')
    for (const { answers, announced } of await Promise.all(clients)) {
      expect(answers).toBeGreaterThan(0)
      expect(announced).toBe(true)
    }
    expect(await worker.child.exited).toBe(0)
  },
  120_000,
)

test.each(['drain', 'SIGTERM'] as const)(
  '%s: running calls end, then the process does, with 0',
  async (how) => {
    const worker = await startWorker()
    const fn = await serving(worker)
    const slow = fetch(`${worker.url}/slow`)
    await until(() => worker.stats.get(fn.slot, 'in_flight') === 1)
    if (how === 'drain') worker.send({ type: 'drain' })
    else worker.child.kill('SIGTERM')
    expect((await slow).status).toBe(200)
    expect(await worker.child.exited).toBe(0)
    expect(await raw(worker.port, 'GET / HTTP/1.1\r\nHost: h\r\n\r\n')).toBe('')
  },
)

test('SIGINT is left to the agent', async () => {
  const worker = await startWorker()
  await serving(worker)
  worker.child.kill('SIGINT')
  await Bun.sleep(100)
  expect((await fetch(worker.url)).status).toBe(200)
})

test('serves on when its agent is gone, until SIGTERM', async () => {
  const worker = await startWorker()
  await serving(worker)
  worker.child.disconnect()
  const reader = worker.child.stdout.getReader()
  let printed = ''
  while (!printed.includes('The agent is gone')) {
    printed += new TextDecoder().decode((await reader.read()).value)
  }
  expect((await fetch(worker.url)).status).toBe(200)
  worker.child.kill('SIGTERM')
  expect(await worker.child.exited).toBe(0)
})

test('ends at once when its agent is gone before the first table, and refuses what waited for it', async () => {
  const worker = await startWorker()
  const early = fetch(worker.url)
  await until(() => worker.stats.getWorker('requests') === 1)
  worker.child.disconnect()
  expect((await early).status).toBe(503)
  expect(await worker.child.exited).toBe(0)
})

test('two workers share one port, and one can leave without a failed request', async () => {
  const first = await startWorker()
  const second = await startWorker(first.port)
  const fn = aFunction()
  await serving(first, fn)
  await serving(second, fn)
  const pids = new Set<string>()
  for (let call = 0; call < 60; call += 1) {
    const answer = await fetch(first.url, { keepalive: false })
    expect(answer.status).toBe(200)
    pids.add((await answer.text()).split(' ')[0] ?? '')
  }
  expect(pids.size).toBe(2)
  first.send({ type: 'drain' })
  expect(await first.child.exited).toBe(0)
  for (let call = 0; call < 20; call += 1) {
    expect((await fetch(first.url, { keepalive: false })).status).toBe(200)
  }
})
