/** The whole agent over real processes, HTTP and files: enrolment, sync, workers that die, restarts without a control plane. */

import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import type { Agent } from '../../../src/edge/agent/main.ts'
import { startAgent } from '../../../src/edge/agent/main.ts'
import type { EdgeConfig } from '../../../src/config/modes.ts'
import { toEdgefnError } from '../../../src/errors.ts'
import { FixtureCp } from './fixtures/cp.ts'
import { uuid } from './fixtures/manifests.ts'
import {
  fixtureCommands,
  fixtureWorker,
  get,
  makeConfig,
  makeDir,
  quietLog,
  removeDir,
  until,
} from './fixtures/node.ts'

let dir: string
let cp: FixtureCp
let agents: Agent[]

beforeEach(() => {
  dir = makeDir()
  cp = new FixtureCp()
  cp.start()
  agents = []
})

afterEach(async () => {
  for (const agent of agents) await agent.close()
  await cp.stop()
  removeDir(dir)
})

async function start(parts: Partial<EdgeConfig> = {}): Promise<Agent> {
  const agent = await startAgent(makeConfig(dir, cp.url, parts), quietLog, fixtureCommands)
  agents.push(agent)
  return agent
}

async function call(agent: Agent, path: string): Promise<Record<string, unknown> | null> {
  const answer = await get(`http://127.0.0.1:${agent.port}${path}`)
  return answer?.status === 200 ? (JSON.parse(answer.text) as Record<string, unknown>) : null
}

async function metric(agent: Agent, line: string): Promise<number> {
  const answer = await get(`http://127.0.0.1:${agent.metrics_port}/metrics`)
  const found = answer?.text.split('\n').find((text) => text.startsWith(`${line} `))
  return Number(found?.slice(line.length + 1) ?? NaN)
}

async function refused(run: Promise<unknown>): Promise<string> {
  try {
    await run
    return 'nothing was thrown'
  } catch (thrown) {
    return toEdgefnError(thrown).code
  }
}

describe('a new node', () => {
  test('enrols with its join token, keeps the credentials to itself and serves what it is told', async () => {
    cp.put({ text: 'hello' })
    cp.route(1, 1, '/hello')
    const agent = await start()
    expect(agent.node_id).toBe('tokyo-1-a')
    expect(statSync(join(dir, 'credentials.json')).mode & 0o777).toBe(0o600)
    const answer = await until('the route answers', () => call(agent, '/hello'))
    expect(answer['text']).toBe('hello')
    await until('the plan is acknowledged', () => cp.acks.length > 0)
    expect(cp.acks[0]).toMatchObject({ revision: 2, results: [{ state: 'deployed', version: 1 }] })
    const ready = await get(`http://127.0.0.1:${agent.metrics_port}/ready`)
    expect(ready?.status).toBe(200)
  })

  test('is refused with a wrong token and leaves nothing running', async () => {
    const config = makeConfig(dir, cp.url, { token: 'efj_wrong' })
    expect(await refused(startAgent(config, quietLog, fixtureCommands))).toBe('unauthenticated')
    expect(await refused(startAgent({ ...config, token: null }, quietLog, fixtureCommands))).toBe(
      'invalid_config',
    )
  })

  test('waits for a control plane that is away, while /health answers', async () => {
    const url = cp.url
    await cp.stop()
    const starting = start()
    await Bun.sleep(50)
    cp.start()
    expect(cp.url).toBe(url)
    const agent = await starting
    expect((await get(`http://127.0.0.1:${agent.metrics_port}/health`))?.status).toBe(200)
  })

  test('says what is missing when its workers cannot run', async () => {
    const broken = (options: Parameters<typeof fixtureWorker>[0]) => [
      'env',
      'FIXTURE_WORKER_FAILS=install libwasmedge0',
      ...fixtureWorker(options),
    ]
    const starting = startAgent(makeConfig(dir, cp.url), quietLog, {
      ...fixtureCommands,
      worker: broken,
    })
    expect(await refused(starting)).toBe('engine_missing')
  })
})

test('a second agent on the same data directory is refused', async () => {
  await start()
  expect(await refused(start())).toBe('conflict')
})

test('a port that another program listens on is refused before the join token is used', async () => {
  const other = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    reusePort: true,
    fetch: () => new Response(),
  })
  try {
    const listen = { host: '127.0.0.1', port: other.port ?? 0 }
    expect(await refused(start({ listen }))).toBe('invalid_config')
    expect(existsSync(join(dir, 'credentials.json'))).toBe(false)
  } finally {
    await other.stop(true)
  }
})

test('a data directory of another POP is refused', async () => {
  await (await start()).close()
  expect(await refused(start({ pop: 'osaka-1' }))).toBe('invalid_config')
})

test('a deployment replaces the old version, and its removal takes the route away', async () => {
  cp.put({ text: 'one' })
  cp.route(1, 1, '/f')
  const agent = await start()
  await until('version 1 serves', async () => (await call(agent, '/f'))?.['text'] === 'one')
  cp.put({ version: 2, text: 'two' })
  await until('version 2 serves', async () => (await call(agent, '/f'))?.['text'] === 'two')
  expect(existsSync(join(dir, 'cache', uuid(1), '1.wasm'))).toBe(true)
  cp.remove(1)
  await until('nothing serves', async () => {
    return (await get(`http://127.0.0.1:${agent.port}/f`))?.status === 404
  })
})

test('a version that cannot be loaded is reported, and the old one goes on serving', async () => {
  cp.put({ text: 'good' })
  cp.route(1, 1, '/f')
  const agent = await start()
  await until('version 1 serves', () => call(agent, '/f'))
  cp.put({ version: 2, env: { MISBEHAVE: 'refuse' } })
  const ack = await until('the failure is reported', () => cp.acks.find((a) => a.revision === 3))
  expect(ack.results).toMatchObject([
    { version: 2, state: 'failed', error: { code: 'function_load_failed', message: 'It is bad.' } },
  ])
  expect((await call(agent, '/f'))?.['version']).toBe(1)
  cp.put({ version: 3, env: { MISBEHAVE: 'die' } })
  const second = await until('the death is reported', () => cp.acks.find((a) => a.revision === 4))
  expect(second.results).toMatchObject([
    { version: 3, state: 'failed', error: { code: 'function_load_failed' } },
  ])
  const answer = await until('version 1 still serves', () => call(agent, '/f'))
  expect(answer['version']).toBe(1)
  expect(await metric(agent, `edgefn_worker_deaths_blamed_total{function_id="${uuid(1)}"}`)).toBe(2)
})

test('a killed worker is replaced, its siblings serve meanwhile and counters never step back', async () => {
  cp.put({ text: 'x' })
  cp.route(1, 1, '/f')
  const agent = await start()
  await until('it serves', () => call(agent, '/f'))
  const line = `wasm_invoke_count_total{function_id="${uuid(1)}"}`
  let count = await until('it is counted', () => metric(agent, line))
  for (let kill = 0; kill < 3; kill++) {
    const answer = await until('someone answers', () => call(agent, '/f'))
    process.kill(Number(answer['pid']), 'SIGKILL')
    await until('it is replaced', async () => (await metric(agent, 'edgefn_workers')) === 2)
    await until('a call is answered', () => call(agent, '/f'))
    const now = await metric(agent, line)
    expect(now).toBeGreaterThanOrEqual(count + 1)
    count = now
  }
  expect(count).toBeGreaterThanOrEqual(7)
})

test('a worker over its memory limit is replaced', async () => {
  cp.put({ text: 'x', env: { MISBEHAVE: 'hog' } })
  cp.route(1, 1, '/f')
  const agent = await start({ workers: 1, worker_memory_bytes_max: 250_000_000 })
  const first = await until('it serves', () => call(agent, '/f'))
  const next = await until('another process serves', async () => {
    const answer = await call(agent, '/f')
    return answer !== null && answer['pid'] !== first['pid'] ? answer : null
  })
  expect(next['pid']).not.toBe(first['pid'])
})

test('a node that is short of memory says so and goes on', async () => {
  cp.put({ text: 'x' })
  cp.route(1, 1, '/f')
  // More than any machine has.
  const agent = await start({ memory_reserve_bytes: 2 ** 50 })
  await until('it serves', () => call(agent, '/f'))
  await until('a heartbeat says so', () => cp.beats.at(-1)?.status === 'degraded')
  expect(await metric(agent, 'edgefn_memory_pressure')).toBe(2)
  const ready = await get(`http://127.0.0.1:${agent.metrics_port}/ready`)
  expect(ready?.status).toBe(200)
  expect(JSON.parse(ready?.text ?? '').checks.memory).toMatchObject({ ok: false, required: false })
})

test('workers are marked to go before their agent when memory runs out', async () => {
  cp.put({ text: 'x' })
  cp.route(1, 1, '/f')
  const agent = await start({ workers: 1 })
  const answer = await until('it serves', () => call(agent, '/f'))
  expect(readFileSync(`/proc/${answer['pid']}/oom_score_adj`, 'utf8').trim()).toBe('500')
})

describe('without a control plane', () => {
  test('a restarted node serves from its cache, and converges when the control plane is back', async () => {
    cp.put({ text: 'kept' })
    cp.route(1, 1, '/f')
    const first = await start()
    await until('it is acknowledged', () => cp.acks.length > 0)
    await first.close()
    await cp.stop()
    const agent = await start()
    const answer = await until('it serves', () => call(agent, '/f'))
    expect(answer['text']).toBe('kept')
    cp.start()
    cp.put({ version: 2, text: 'newer' })
    await until('it converges', async () => (await call(agent, '/f'))?.['text'] === 'newer')
  })

  test('results that could not be delivered are delivered after a restart', async () => {
    cp.put({ text: 'x' })
    cp.route(1, 1, '/f')
    const first = await start()
    await until('it is acknowledged', () => cp.acks.length > 0)
    await first.close()
    cp.acks.length = 0
    cp.refuseAcks = true
    cp.put({ version: 2, text: 'y' })
    const second = await start()
    await until('it serves', async () => (await call(second, '/f'))?.['version'] === 2)
    await second.close()
    // As if the revision were known, so that the plan names nothing any more.
    cp.applied = cp.revision
    cp.refuseAcks = false
    await start()
    await until('it is acknowledged', () => cp.acks.length > 0)
    expect(cp.acks[0]?.results).toMatchObject([{ version: 2, state: 'deployed' }])
  })
})

describe('artifacts', () => {
  test('a damaged file is found at start, removed and fetched again', async () => {
    const manifest = cp.put({ text: 'whole' })
    cp.route(1, 1, '/f')
    const first = await start()
    await until('it is acknowledged', () => cp.acks.length > 0)
    await first.close()
    const path = join(dir, 'cache', uuid(1), '1.wasm')
    writeFileSync(path, 'w-ole   ')
    const agent = await start()
    await until('the file is whole again', () => {
      return existsSync(path) && readFileSync(path, 'utf8').trim() === 'whole'
    })
    expect((await until('it serves', () => call(agent, '/f')))['text']).toBe('whole')
    expect(cp.downloads.filter((sha256) => sha256 === manifest.sha256).length).toBe(2)
  })

  test('a routed function whose artifact is gone is fetched once for many requests', async () => {
    const manifest = cp.put({ text: 'late' })
    cp.route(1, 1, '/f')
    cp.onDownload = () => new Response('no', { status: 500 })
    const agent = await start({ sync_ms: 60_000, heartbeat_ms: 60_000 })
    await until('the route is there', async () => {
      return (await get(`http://127.0.0.1:${agent.port}/f`))?.status === 503
    })
    cp.onDownload = null
    cp.downloads.length = 0
    await until('it is served', () => call(agent, '/f'))
    await Promise.all(Array.from({ length: 20 }, () => call(agent, '/f')))
    expect(cp.downloads).toEqual([manifest.sha256])
  })

  test('other bytes than announced are never served and the failure is reported', async () => {
    const manifest = cp.put({ text: 'true' })
    cp.route(1, 1, '/f')
    cp.onDownload = () => new Response('fake    ')
    const agent = await start()
    await until('it is reported', () => cp.acks.length > 0)
    expect(cp.acks[0]?.results).toMatchObject([
      { state: 'failed', error: { code: 'artifact_mismatch' } },
    ])
    expect(cp.downloads).toEqual([manifest.sha256, manifest.sha256])
    expect((await get(`http://127.0.0.1:${agent.port}/f`))?.status).toBe(503)
    expect(existsSync(join(dir, 'cache', uuid(1), '1.wasm'))).toBe(false)
  })

  test('an expired URL is renewed with a new plan', async () => {
    const manifest = cp.put({ text: 'x' })
    const fresh = `${cp.url}/artifacts/${manifest.sha256}?n=2`
    cp.onDownload = (_sha256, url) => {
      if (url.searchParams.get('n') === '2') return null
      const entry = cp.functions.get(manifest.function_id)
      if (entry) entry.manifest = { ...manifest, artifact_url: fresh }
      return new Response('expired', { status: 403 })
    }
    await start()
    await until('it is reported', () => cp.acks.length > 0)
    expect(cp.acks[0]?.results).toMatchObject([{ state: 'deployed' }])
  })
})

test('heartbeats carry what the documents ask for', async () => {
  cp.put({ text: 'x' })
  cp.route(1, 1, '/f')
  const agent = await start()
  await until('it serves', () => call(agent, '/f'))
  const beat = await until('a beat shows the call', () => {
    return cp.beats.find((b) => b.functions[0]?.invocation_count === 1 && b.workers === 2)
  })
  expect(beat).toMatchObject({ node_id: 'tokyo-1-a', revision: 2, workers: 2 })
  expect(beat.functions[0]).toMatchObject({ version: 1, state: 'serving', avg_latency_ms: 2 })
  expect(beat.mem_bytes).toBeGreaterThan(1_000_000)
})
