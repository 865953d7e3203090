/** A node whose control plane is newer than it is: nothing it does not know keeps it from doing what it knows. */

import { afterEach, beforeEach, expect, test } from 'bun:test'

import type { Agent } from '../../../src/edge/agent/main.ts'
import { startAgent } from '../../../src/edge/agent/main.ts'
import { openCacheIndex } from '../../../src/edge/agent/cache/cache-index.ts'
import { join } from 'node:path'
import { FixtureCp } from './fixtures/cp.ts'
import { uuid } from './fixtures/manifests.ts'
import {
  fixtureCommands,
  get,
  makeConfig,
  makeDir,
  quietLog,
  removeDir,
  until,
} from './fixtures/node.ts'

let dir: string
let cp: FixtureCp
let agent: Agent | null

beforeEach(() => {
  dir = makeDir()
  cp = new FixtureCp()
  cp.start()
  agent = null
})

afterEach(async () => {
  await agent?.close()
  await cp.stop()
  removeDir(dir)
})

async function start(): Promise<Agent> {
  const config = makeConfig(dir, cp.url, { sync_ms: 100, heartbeat_ms: 100 })
  agent = await startAgent(config, quietLog, fixtureCommands)
  return agent
}

async function textAt(path: string): Promise<unknown> {
  const answer = await get(`http://127.0.0.1:${agent?.port}${path}`)
  return answer?.status === 200 ? (JSON.parse(answer.text) as { text: unknown }).text : null
}

function withMore(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withMore)
  if (typeof value !== 'object' || value === null) return value
  const fields = Object.entries(value).map(([name, field]) => [
    name,
    name === 'env' || name === 'secrets' ? field : withMore(field),
  ])
  return { ...(Object.fromEntries(fields) as object), of_a_newer_version: { a: [1] } }
}

test('fields more in every answer, and notices of unknown kinds, change nothing', async () => {
  cp.rewrite = withMore
  cp.notices = [{ type: 'fireworks', notice_id: uuid(1) } as never]
  cp.put({ text: 'hello' })
  cp.route(1, 1, '/hello')
  await start()
  await until('it serves', async () => (await textAt('/hello')) === 'hello')
  await until('it acknowledged', () => cp.acks.find((ack) => ack.revision === 2))
  expect(cp.acks[0]?.results).toMatchObject([{ state: 'deployed' }])
  expect(cp.acks[0]?.skipped).toBeUndefined()
  await until('its heartbeats are answered', () => cp.beats.length > 2)
})

test('actions it cannot read are left out and reported; the rest is done, and a newer program asks for all of it', async () => {
  cp.put({ id: 1, text: 'one' })
  cp.put({ id: 2, text: 'two' })
  cp.route(1, 1, '/one')
  cp.route(2, 2, '/two')
  await start()
  await until('it serves', async () => (await textAt('/one')) === 'one')
  // A full plan from now on, in which function 1 is of a kind that is not known, and something else altogether.
  cp.rewrite = (answer) => {
    const plan = answer as { actions?: { action: string; function?: { function_id: string } }[] }
    if (plan.actions === undefined) return answer
    const actions = plan.actions.map((action) =>
      action.function?.function_id === uuid(1)
        ? { ...action, function: { ...action.function, abi: 'of-tomorrow' } }
        : action,
    )
    return { ...plan, actions: [{ action: 'put_weather', is: 'rain' }, ...actions] }
  }
  cp.applied = 0
  cp.put({ id: 1, version: 2, text: 'one of tomorrow' })
  cp.put({ id: 2, version: 2, text: 'two, newer' })
  await until('what it can read is done', async () => (await textAt('/two')) === 'two, newer')
  expect(await textAt('/one')).toBe('one')
  const ack = await until('it says so', () => cp.acks.find((one) => one.revision === cp.revision))
  expect(ack.skipped?.toSorted()).toEqual(['put_function', 'put_weather'])
  expect(ack.results.find((result) => result.function_id === uuid(1))).toMatchObject({
    state: 'failed',
    version: 2,
    error: { code: 'unsupported' },
  })

  // Upgraded: what the older version left out is asked for again, although the revision has been reached.
  await agent?.close()
  cp.rewrite = (answer) => answer
  const index = openCacheIndex(join(dir, 'index.db'), quietLog)
  index.run("UPDATE node_state SET unread_by = 'an older version'")
  index.close()
  await start()
  await until('it has all', async () => (await textAt('/one')) === 'one of tomorrow')
})

test('a command it does not know is answered, and holds up no other', async () => {
  await start()
  cp.commands = [
    { command_id: uuid(1), ttl_ms: 60_000, command: { type: 'make_coffee', params: {} } },
    { command_id: uuid(2), ttl_ms: 60_000, command: { type: 'sync', params: {}, more: 1 } },
  ]
  await until('both are answered', () => cp.results.size === 2)
  expect(cp.results.get(uuid(1))).toMatchObject({
    state: 'failed',
    error: { code: 'unsupported' },
  })
  expect(cp.results.get(uuid(2))).toMatchObject({ state: 'succeeded', error: null })
})
