/** What an agent makes of workers that die: blame, quarantine, the spare that takes their place. */

import { afterEach, beforeEach, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import type { EdgeConfig } from '../../../src/config/modes.ts'
import type { Agent } from '../../../src/edge/agent/main.ts'
import { startAgent } from '../../../src/edge/agent/main.ts'
import { processStart } from '../../../src/edge/agent/supervise/proc.ts'
import { FixtureCp } from './fixtures/cp.ts'
import { uuid } from './fixtures/manifests.ts'
import * as fixture from './fixtures/node.ts'

const { get, until } = fixture

let dir: string
let cp: FixtureCp
let agents: Agent[]

beforeEach(() => {
  dir = fixture.makeDir()
  cp = new FixtureCp()
  cp.start()
  agents = []
})

afterEach(async () => {
  for (const agent of agents) await agent.close()
  await cp.stop()
  fixture.removeDir(dir)
})

async function start(parts: Partial<EdgeConfig>): Promise<Agent> {
  const config = fixture.makeConfig(dir, cp.url, parts)
  const agent = await startAgent(config, fixture.quietLog, fixture.fixtureCommands)
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

/** Pids that the agent noted, dead ones too. */
function registered(): number[] {
  const text = readFileSync(join(dir, 'run', 'workers.json'), 'utf8')
  return (JSON.parse(text) as { pid: number }[]).map(({ pid }) => pid)
}

test('a version that takes its worker over the memory limit three times is quarantined and may not be deployed again', async () => {
  cp.put({ text: 'x' })
  cp.route(1, 1, '/f')
  const agent = await start({ workers: 1, worker_memory_bytes_max: 250_000_000 })
  await until('version 1 serves', () => call(agent, '/f'))
  cp.put({ version: 2, text: 'y', env: { MISBEHAVE: 'hog' } })
  const line = `edgefn_function_quarantined{function_id="${uuid(1)}",version="2"}`
  await until('version 2 is quarantined', async () => {
    await call(agent, '/f')
    return (await metric(agent, line)) === 1
  })
  expect(await metric(agent, 'edgefn_worker_deaths_total{reason="memory_limit"}')).toBe(3)
  const beat = await until('the heartbeat says it', () => {
    return cp.beats.find((each) => each.functions[0]?.state === 'quarantined')
  })
  expect(beat).toMatchObject({ status: 'degraded' })
  expect(beat.functions[0]?.reason).toContain('3 worker processes')
  cp.put({ version: 3, text: 'z' })
  await until('version 3 serves', async () => (await call(agent, '/f'))?.['version'] === 3)
  const { revision } = cp
  cp.put({ version: 2, text: 'y', env: { MISBEHAVE: 'hog' } })
  const ack = await until('it is answered', () => cp.acks.find((each) => each.revision > revision))
  expect(ack.results).toMatchObject([{ version: 2, error: { code: 'function_quarantined' } }])
}, 120_000)

test('a spare worker takes the place of one that died, and another spare is started', async () => {
  cp.put({ text: 'x' })
  cp.route(1, 1, '/f')
  const agent = await start({ workers: 1, spare_worker: true })
  const served = new Set<unknown>()
  for (let round = 0; round < 3; round += 1) {
    const answer = await until('it serves', () => call(agent, '/f'))
    const pids = await until('a spare is started', () => {
      const started = registered().filter((pid) => processStart(pid) !== null)
      return started.length === 2 ? started : null
    })
    const spare = pids.find((pid) => pid !== answer['pid'])
    served.add(answer['pid'])
    process.kill(Number(answer['pid']), 'SIGKILL')
    const next = await until('the spare serves', () => call(agent, '/f'))
    expect(next['pid']).toBe(spare)
    expect(served.has(next['pid'])).toBe(false)
  }
  // A spare that dies is replaced, too, and disturbs nobody.
  const { pid } = (await until('it serves', () => call(agent, '/f'))) as { pid: number }
  const spare = await until('a spare is started', () => {
    return registered().find((each) => each !== pid && processStart(each) !== null)
  })
  process.kill(spare, 'SIGKILL')
  await until('there is another', () => {
    return registered().some(
      (each) => each !== pid && each !== spare && processStart(each) !== null,
    )
  })
  expect((await call(agent, '/f'))?.['pid']).toBe(pid)
}, 120_000)
