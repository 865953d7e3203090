/** Commands in the control plane: handed out, answered once, expired, and what they leave on nodes. */

import { expect, test } from 'bun:test'

import type { CommandView, PendingCommands } from '../../../src/protocol/commands.ts'
import type { DeploymentView, NodeCredentials, NodeDetail } from '../../../src/protocol/api.ts'
import type { HeartbeatAnswer } from '../../../src/protocol/messages.ts'
import {
  eventually,
  heartbeatOf,
  testPlane,
  type ErrorAnswer,
  type TestPlane,
} from '../api/test-plane.ts'

const SUCCEEDED = { state: 'succeeded', detail: { running: 0 }, error: null }

function ask(cp: TestPlane, node: NodeCredentials, body: unknown): Promise<CommandView> {
  return cp.must('POST', `/nodes/${node.node_id}/commands`, body)
}

function fetched(cp: TestPlane, node: NodeCredentials): Promise<PendingCommands> {
  return cp.must('GET', `/nodes/${node.node_id}/commands/pending`, undefined, node.token)
}

function answer(cp: TestPlane, node: NodeCredentials, id: string, body: unknown = SUCCEEDED) {
  return cp.call<ErrorAnswer>(
    'POST',
    `/nodes/${node.node_id}/commands/${id}/result`,
    body,
    node.token,
  )
}

const show = (cp: TestPlane, id: string) => cp.must<CommandView>('GET', `/commands/${id}`)
const showNode = (cp: TestPlane, id: string) => cp.must<NodeDetail>('GET', `/nodes/${id}`)

async function beatOf(cp: TestPlane, node: NodeCredentials): Promise<HeartbeatAnswer> {
  const path = `/nodes/${node.node_id}/heartbeat`
  return cp.must('POST', path, heartbeatOf(node.node_id), node.token)
}

test('a command is handed out until it is answered, and the first answer stays', async () => {
  await using cp = await testPlane()
  const node = await cp.addNode('tokyo-1')
  expect((await beatOf(cp, node)).commands).toBe(0)
  const drain = await ask(cp, node, { type: 'drain' })
  expect(drain).toMatchObject({ state: 'pending', type: 'drain', params: {}, delivered_at: null })
  expect((await beatOf(cp, node)).commands).toBe(1)

  for (const _again of [1, 2]) {
    const { commands } = await fetched(cp, node)
    expect(commands.map((item) => [item.command_id, item.command.type])).toEqual([
      [drain.id, 'drain'],
    ])
    expect(commands[0]?.ttl_ms).toBeGreaterThan(890_000)
  }
  expect((await show(cp, drain.id)).state).toBe('delivered')
  expect((await answer(cp, node, drain.id)).status).toBe(204)
  const failed = { state: 'failed', detail: {}, error: { code: 'internal', message: 'x' } }
  expect((await answer(cp, node, drain.id, failed)).status).toBe(204)
  expect(await show(cp, drain.id)).toMatchObject({ state: 'succeeded', detail: { running: 0 } })
  expect((await fetched(cp, node)).commands).toEqual([])
  expect(await showNode(cp, node.node_id)).toMatchObject({
    drained: true,
    last_command: { id: drain.id, type: 'drain', state: 'succeeded' },
  })

  const audit = await cp.must<{ items: { operation: string; resource_id: string }[] }>(
    'GET',
    '/audit-log?limit=10',
  )
  const operations = audit.items.map((item) => item.operation)
  expect(operations).toContain('command')
  expect(operations).toContain('command_result')
})

test('a node whose drain took too long is shown as drained; one that was told to serve again is not', async () => {
  await using cp = await testPlane()
  const failed = (code: string) => ({
    state: 'failed',
    detail: {},
    error: { code, message: 'x' },
  })
  for (const [code, drained] of [
    ['overloaded', true],
    ['conflict', false],
  ] as const) {
    const node = await cp.addNode('tokyo-1')
    const { id } = await ask(cp, node, { type: 'drain' })
    await fetched(cp, node)
    await answer(cp, node, id, failed(code))
    expect(await showNode(cp, node.node_id)).toMatchObject({
      drained,
      last_command: { id, state: 'failed' },
    })
  }
})

test('an answer that a command expired is noted once, however often it comes', async () => {
  await using cp = await testPlane()
  const node = await cp.addNode('tokyo-1')
  const { id } = await ask(cp, node, { type: 'sync' })
  await fetched(cp, node)
  const expired = { state: 'expired', detail: {}, error: { code: 'expired', message: 'x' } }
  for (const _again of [1, 2, 3]) {
    expect((await answer(cp, node, id, expired)).status).toBe(204)
  }
  const { items } = await cp.must<{ items: { operation: string }[] }>('GET', '/audit-log?limit=20')
  expect(items.filter((item) => item.operation === 'command_result')).toHaveLength(1)
})

test("commands are a node's own, for owners to give, and their fields are checked", async () => {
  await using cp = await testPlane()
  const node = await cp.addNode('tokyo-1')
  const other = await cp.addNode('tokyo-1')
  const made = await cp.addFunction('hello')
  const purge = await ask(cp, node, {
    type: 'purge_cache',
    params: { scope: 'function', function: 'hello' },
  })
  expect(purge.params).toEqual({ scope: 'function', function_id: made.id })
  expect((await answer(cp, other, purge.id)).body.error.code).toBe('not_found')
  const path = `/nodes/${node.node_id}/commands`
  const foreign = await cp.call('GET', `${path}/pending`, undefined, other.token)
  expect(foreign.status).toBe(403)

  const past = new Date(Date.now() - 1000).toISOString()
  const refused: [unknown, string][] = [
    [{ type: 'reboot' }, 'Field type of the body must be one of drain, undrain, cordon'],
    [{ type: 'drain', ttl_seconds: 0 }, 'ttl_seconds'],
    [{ type: 'drain', deadline: past }, 'deadline'],
    [{ type: 'drain', ttl_seconds: 9, deadline: past }, 'deadline'],
    [{ type: 'isolate', params: {} }, 'for_seconds'],
    [{ type: 'isolate', params: { for_seconds: 1e9 } }, 'for_seconds'],
    [{ type: 'set_log_level', params: { level: 'loud' } }, 'level'],
    [{ type: 'purge_cache', params: { scope: 'function' } }, 'function'],
  ]
  for (const [body, field] of refused) {
    const { status, body: error } = await cp.call<ErrorAnswer>('POST', path, body)
    expect([status, error.error.message]).toEqual([400, expect.stringContaining(field)])
  }
  const missing = await cp.call<ErrorAnswer>('POST', '/nodes/nobody/commands', { type: 'drain' })
  expect(missing.body.error.code).toBe('node_not_found')
})

test('what nobody fetches in time expires and is never handed out; a late answer still counts', async () => {
  await using cp = await testPlane()
  const node = await cp.addNode('tokyo-1')
  const never = await ask(cp, node, { type: 'sync', ttl_seconds: 1 })
  await eventually(async () => (await show(cp, never.id)).state === 'expired')
  expect((await fetched(cp, node)).commands).toEqual([])

  const late = await ask(cp, node, { type: 'sync', ttl_seconds: 3 })
  expect((await fetched(cp, node)).commands).toHaveLength(1)
  await Bun.sleep(3_100)
  expect((await fetched(cp, node)).commands[0]?.ttl_ms).toBeLessThan(0)
  await answer(cp, node, late.id)
  expect((await show(cp, late.id)).state).toBe('succeeded')

  const { items } = await cp.must<{ items: CommandView[] }>(
    'GET',
    `/nodes/${node.node_id}/commands`,
  )
  expect(items.map((item) => item.state)).toEqual(['succeeded', 'expired'])
}, 120_000)

test('a cordoned node is passed by, and is given what it missed when it is uncordoned', async () => {
  await using cp = await testPlane()
  const cordoned = await cp.addNode('tokyo-1')
  const other = await cp.addNode('tokyo-1')
  await cp.addFunction('hello')
  expect(await ask(cp, cordoned, { type: 'cordon' })).toMatchObject({ state: 'succeeded' })
  expect((await showNode(cp, cordoned.node_id)).cordoned).toBe(true)
  const deployment = await cp.deploy('hello')
  expect(deployment.targets.map((target) => target.node_id)).toEqual([other.node_id])
  await cp.syncNode(other, 0)

  await ask(cp, cordoned, { type: 'uncordon' })
  expect((await showNode(cp, cordoned.node_id)).cordoned).toBe(false)
  const plan = await cp.syncNode(cordoned, 0)
  expect(plan.actions.map((action) => action.action)).toEqual(['put_function'])
  const after = await cp.must<DeploymentView>('GET', `/deployments/${deployment.id}`)
  expect(after.status).toBe('completed')
  expect(after.targets.map((target) => target.state)).toEqual(['deployed', 'deployed'])
})

test('an isolated node is shown as one until it answers', async () => {
  await using cp = await testPlane()
  const node = await cp.addNode('tokyo-1')
  const isolate = await ask(cp, node, { type: 'isolate', params: { for_seconds: 60 } })
  expect((await showNode(cp, node.node_id)).isolated_until).toBeNull()
  await fetched(cp, node)
  const until = (await showNode(cp, node.node_id)).isolated_until ?? ''
  expect(Date.parse(until)).toBeGreaterThan(Date.now() + 50_000)
  await answer(cp, node, isolate.id)
  expect((await showNode(cp, node.node_id)).isolated_until).toBeNull()
})

test('a node is removed with its answer, at once when it is offline, and without an answer at the deadline', async () => {
  await using cp = await testPlane()
  const [offline, willing, silent] = [
    await cp.addNode('tokyo-1'),
    await cp.addNode('tokyo-1'),
    await cp.addNode('tokyo-1'),
  ]
  const gone = async (node: NodeCredentials) =>
    (await cp.call('GET', `/nodes/${node.node_id}`)).status === 404
  const waiting = await ask(cp, offline, { type: 'sync' })
  expect((await ask(cp, offline, { type: 'remove' })).state).toBe('succeeded')
  expect(await gone(offline)).toBe(true)
  expect((await show(cp, waiting.id)).error?.code).toBe('node_not_found')

  await beatOf(cp, willing)
  const remove = await ask(cp, willing, { type: 'remove' })
  expect([remove.state, await gone(willing)]).toEqual(['pending', false])
  await fetched(cp, willing)
  expect((await answer(cp, willing, remove.id)).status).toBe(204)
  expect(await gone(willing)).toBe(true)
  expect((await show(cp, remove.id)).state).toBe('succeeded')

  await beatOf(cp, silent)
  const unanswered = await ask(cp, silent, { type: 'remove', ttl_seconds: 1 })
  await eventually(() => gone(silent))
  expect((await show(cp, unanswered.id)).state).toBe('succeeded')
})

test('commands outlive the control plane', async () => {
  await using cp = await testPlane()
  const node = await cp.addNode('tokyo-1')
  const { id } = await ask(cp, node, { type: 'undrain' })
  await cp.restart()
  expect((await fetched(cp, node)).commands.map((item) => item.command_id as string)).toEqual([id])
  await cp.restart()
  await answer(cp, node, id)
  expect((await show(cp, id)).state).toBe('succeeded')
})
