/** An agent killed with SIGKILL: its workers go on, the next agent takes over from the cache, with the control plane away. */

import { afterEach, beforeEach, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import type { EdgeConfig } from '../../../src/config/modes.ts'
import { processStart } from '../../../src/edge/agent/supervise/proc.ts'
import { FixtureCp } from './fixtures/cp.ts'
import { get, makeConfig, makeDir, removeDir, until } from './fixtures/node.ts'

interface AgentProcess {
  readonly child: Bun.Subprocess<'ignore', 'pipe', 'inherit'>
  readonly port: number
  readonly metrics_port: number
}

let dir: string
let cp: FixtureCp
let children: Bun.Subprocess[]

beforeEach(() => {
  dir = makeDir()
  cp = new FixtureCp()
  cp.start()
  children = []
})

afterEach(async () => {
  for (const child of children) {
    child.kill('SIGTERM')
    await child.exited
  }
  for (const pid of registered()) if (processStart(pid) !== null) process.kill(pid, 'SIGKILL')
  await cp.stop()
  removeDir(dir)
})

function registered(): number[] {
  try {
    const text = readFileSync(join(dir, 'run', 'workers.json'), 'utf8')
    return (JSON.parse(text) as { pid: number }[]).map(({ pid }) => pid)
  } catch {
    return []
  }
}

async function launch(parts: Partial<EdgeConfig> = {}): Promise<AgentProcess> {
  const config = JSON.stringify(makeConfig(dir, cp.url, parts))
  const child = Bun.spawn(
    [process.execPath, join(import.meta.dir, 'fixtures/agent-process.ts'), config],
    { stdin: 'ignore', stdout: 'pipe', stderr: 'inherit' },
  )
  children.push(child)
  for await (const chunk of child.stdout) {
    const ports = JSON.parse(new TextDecoder().decode(chunk)) as {
      port: number
      metrics_port: number
    }
    return { child, ...ports }
  }
  throw new Error('The agent ended without saying its port.')
}

test('its workers serve on, the next agent serves without the control plane and ends them', async () => {
  cp.put({ text: 'kept' })
  cp.route(1, 1, '/f')
  const first = await launch()
  const url = `http://127.0.0.1:${first.port}/f`
  await until('it is acknowledged', () => cp.acks.length > 0)
  await cp.stop()
  const orphans = await until('both workers are registered', () => {
    const pids = registered()
    return pids.length === 2 ? pids : null
  })
  first.child.kill('SIGKILL')
  await first.child.exited
  expect((await get(url))?.status).toBe(200)

  const second = await launch({ listen: { host: '127.0.0.1', port: first.port } })
  // All listen for a moment; a connection that a closing listener, of which there are two, had not yet accepted is reset.
  const during = (await get(url)) ?? (await get(url)) ?? (await get(url))
  expect(during?.status).toBe(200)
  await until('the orphans are gone', () => orphans.every((pid) => processStart(pid) === null))
  const answer = await until('the new workers serve', () => get(url))
  expect(answer.status).toBe(200)
  const { pid } = JSON.parse(answer.text) as { pid: number }
  expect(orphans).not.toContain(pid)
  const ready = await get(`http://127.0.0.1:${second.metrics_port}/ready`)
  expect(ready?.status).toBe(200)
})

test('killed at any moment of a deployment, the next agent finds a whole cache and converges', async () => {
  cp.put({ text: 'v1' })
  cp.route(1, 1, '/f')
  let listen = { host: '127.0.0.1', port: 0 }
  for (let round = 2; round < 8; round++) {
    const agent = await launch({ listen })
    listen = { ...listen, port: agent.port }
    const url = `http://127.0.0.1:${agent.port}/f`
    await until('something serves', async () => (await get(url))?.status === 200)
    cp.put({ version: round, text: `v${round}` })
    await Bun.sleep(Math.random() * 250)
    agent.child.kill('SIGKILL')
    await agent.child.exited
  }
  const last = await launch({ listen })
  await until('the newest version serves', async () => {
    const answer = await get(`http://127.0.0.1:${last.port}/f`)
    return answer?.status === 200 && (JSON.parse(answer.text) as { version: number }).version === 7
  })
}, 120_000)
