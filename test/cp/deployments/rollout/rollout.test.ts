/** Rollouts as they are driven: step by step, stopped by gates, ordered about, overtaken, joined. */

import { describe, expect, test } from 'bun:test'

import type { FunctionId, NodeId } from '../../../../src/protocol/ids.ts'
import { codeOf } from '../../auth/stack.ts'
import { developer } from '../slices.ts'
import { stage, type Stage } from './stage.ts'

const quick = { window_seconds: 10, min_samples: 20 }
const canary = {
  version: 2,
  strategy: 'canary',
  canary: { steps: [{ nodes: 1 }, { nodes: '50%' }] },
  gates: quick,
  step_timeout_seconds: 60,
}

/** A function whose version 1 is served by so many nodes, `a`, `b`, …, in one POP each. */
async function served(s: Stage, nodes: number): Promise<{ id: FunctionId; nodes: NodeId[] }> {
  const made: NodeId[] = []
  for (const letter of 'abcdefgh'.slice(0, nodes))
    made.push(await s.addNode(letter, `pop-${letter}`))
  const id = await s.addFunction('f', 4)
  await s.deploy({ version: 1 })
  await s.sync(made)
  return { id, nodes: made }
}

function healthy(s: Stage, nodes: readonly NodeId[], version: number): void {
  for (const node of nodes) s.report(node, version, 100, 1)
}

const rolloutEvents = (s: Stage) =>
  s.events.flatMap((event) => (event.type === 'rollout' ? `${event.change} ${event.step}` : []))

describe('a canary', () => {
  test('P25: begins with one node and goes on in steps while it is healthy', async () => {
    await using s = await stage()
    const { id, nodes } = await served(s, 4)
    healthy(s, nodes, 2)
    const begun = await s.deploy(canary)
    expect(await s.assigned(id)).toEqual(['a v2', 'b v1', 'c v1', 'd v1'])
    expect(begun.rollout.steps.map((step) => step.nodes)).toEqual([1, 1, 2])
    expect(begun.targets.map((t) => t.state)).toEqual(['pending', 'waiting', 'waiting', 'waiting'])
    await s.pass(30)
    expect(await s.assigned(id)).toEqual(['a v2', 'b v1', 'c v1', 'd v1'])
    await s.sync(nodes)
    await s.pass(9)
    expect((await s.show(begun.id)).rollout).toMatchObject({ step: 1, window_ms: 9000 })
    await s.pass(2)
    expect(await s.assigned(id)).toEqual(['a v2', 'b v2', 'c v1', 'd v1'])
    await s.sync(nodes)
    await s.pass(11)
    await s.sync(nodes)
    await s.pass(11)
    expect(await s.assigned(id)).toEqual(['a v2', 'b v2', 'c v2', 'd v2'])
    expect(await s.show(begun.id)).toMatchObject({
      status: 'completed',
      rollout: { phase: 'ended', step: 3, evidence: null },
    })
    expect(rolloutEvents(s)).toEqual([
      ...['step_begun 1', 'window_begun 1', 'step_begun 2', 'window_begun 2'],
      ...['step_begun 3', 'window_begun 3', 'completed 3'],
    ])
    expect(s.complaints).toEqual([])
  })

  test('P26 P27: over the threshold it stops, every node has again what it ran, and the numbers are kept', async () => {
    await using s = await stage()
    const { id, nodes } = await served(s, 4)
    const local = await s.deploy({ version: 3, target: 'pop-b' })
    await s.sync(nodes)
    const before = await s.assigned(id)
    healthy(s, nodes, 2)
    const begun = await s.deploy(canary)
    await s.sync(nodes)
    await s.pass(11)
    expect(await s.assigned(id)).toEqual(['a v2', 'b v2', 'c v1', 'd v1'])
    await s.sync(nodes)
    s.report('b' as NodeId, 2, 30, 10)
    await s.pass(1)
    expect(await s.assigned(id)).toEqual(before)
    const shown = await s.show(begun.id)
    expect(shown.status).toBe('rolled_back')
    expect(shown.targets.map((t) => t.state).join(' ')).toBe(
      'rolled_back rolled_back skipped skipped',
    )
    expect(shown.rollout.evidence).toMatchObject({
      ...{ gate: 'error_rate', step: 2, threshold: 0.05, requests: 130, errors: 11 },
      nodes: [{ node_id: 'b', requests: 30, errors: 10 }, { node_id: 'a' }],
    })
    expect(rolloutEvents(s).slice(-2)).toEqual(['gate_failed 2', 'rolled_back 2'])
    // The deployments that the nodes came from wait for them again, and hear of them.
    const states = async () => (await s.show(local.id)).targets.map((target) => target.state)
    expect(await states()).toEqual(['pending'])
    await s.sync(nodes)
    expect(await states()).toEqual(['deployed'])
    const notices = await s.notices()
    expect(notices.every((notice) => notice.deployment_id !== begun.id)).toBe(true)
  })

  test('waits for samples until its time is over, is paused then, and promoted goes on', async () => {
    await using s = await stage()
    const { id, nodes } = await served(s, 2)
    s.report('a' as NodeId, 2, 19, 19)
    const begun = await s.deploy(canary)
    await s.sync(nodes)
    await s.pass(59)
    expect((await s.show(begun.id)).rollout.phase).toBe('running')
    await s.pass(2)
    expect((await s.show(begun.id)).rollout).toMatchObject({
      ...{ phase: 'paused', pause_reason: 'not_enough_samples' },
      evidence: { gate: 'min_samples', measured: 19, threshold: 20 },
    })
    await s.pass(100)
    expect(await s.assigned(id)).toEqual(['a v2', 'b v1'])
    s.report('a' as NodeId, 2, 19, 0)
    const promoted = await s.deployments.order(developer, begun.id, 'promote', '')
    expect(promoted.rollout).toMatchObject({ phase: 'running', evidence: null })
    await s.pass(1)
    expect(await s.assigned(id)).toEqual(['a v2', 'b v2'])
  })

  test('reads its samples now and then while it waits, and anew before it goes on', async () => {
    await using s = await stage()
    const { id, nodes } = await served(s, 4)
    healthy(s, nodes, 2)
    await s.deploy(canary)
    await s.sync(nodes)
    const driver = s.driver()
    await driver.look()
    const from = s.clock.monotonic_ms
    for (let look = 0; look < 210 && (await s.assigned(id))[1] === 'b v1'; look += 1) {
      s.clock.monotonic_ms += 50
      s.clock.wall_ms += 50
      await driver.look()
    }
    // When the window opened, after 5 s, and when it was over.
    expect(s.reads.map((at) => Math.round((at - from) / 1000))).toEqual([0, 5, 10])
    expect(s.reads.at(-1)).toBe(s.clock.monotonic_ms)
    expect(await s.assigned(id)).toEqual(['a v2', 'b v2', 'c v1', 'd v1'])
  })

  test('a first deployment that fails leaves nothing behind', async () => {
    await using s = await stage()
    const node = await s.addNode('a', 'tokyo')
    await s.addNode('b', 'tokyo')
    const id = await s.addFunction('f', 2)
    const begun = await s.deploy(canary)
    await s.sync([node], 'failed')
    await s.pass(1)
    expect(await s.assigned(id)).toEqual([])
    expect(await s.show(begun.id)).toMatchObject({
      status: 'rolled_back',
      rollout: {
        evidence: { gate: 'max_failed', nodes: [{ node_id: 'a', error: 'It did not load.' }] },
      },
    })
    expect((await s.notices()).map((notice) => notice.type)).toEqual(['undeploy'])
  })
})

test('the time of a target that was given back or left out is that of the end, not of what it answered before', async () => {
  await using s = await stage()
  const { nodes } = await served(s, 2)
  const begun = await s.deploy({ version: 2, strategy: 'rolling' })
  await s.sync(nodes)
  const long = '2026-01-01T00:00:00.000Z'
  await s.db.run('UPDATE deployments SET created_at = ?', [long])
  await s.db.run('UPDATE deployment_targets SET updated_at = ?', [long])
  const times = async () => (await s.show(begun.id)).targets.map((target) => target.updated_at)
  expect(await times()).toEqual([long, long])
  await s.deployments.order(developer, begun.id, 'abort', '')
  const { targets, updated_at } = await s.show(begun.id)
  expect(targets.map((target) => target.state)).toEqual(['rolled_back', 'skipped'])
  for (const time of await times()) {
    expect(Date.parse(updated_at) - Date.parse(time)).toBeLessThan(10_000)
  }
})

describe('nodes that do not answer', () => {
  const rolling = { version: 2, strategy: 'rolling', rolling: { batch: 2 } }

  test('are not waited for when they are offline, and get the version when they return', async () => {
    await using s = await stage()
    const { id, nodes } = await served(s, 4)
    const [a, b, c, d] = nodes as [NodeId, NodeId, NodeId, NodeId]
    await s.setStatus(b, 'offline')
    const begun = await s.deploy({ ...rolling, rolling: { batch: 2, pop_order: ['pop-b'] } })
    expect(await s.assigned(id)).toEqual(['a v2', 'b v2', 'c v1', 'd v1'])
    await s.sync([a])
    await s.pass(1)
    await s.sync([c, d])
    await s.pass(1)
    const done = await s.show(begun.id)
    expect(done.status).toBe('completed')
    expect(done.targets.find((target) => target.node_id === b)?.state).toBe('pending')
    await s.sync([b])
    expect((await s.show(begun.id)).targets.map((target) => target.state)).toEqual(
      nodes.map(() => 'deployed'),
    )
  })

  test('do not make a rollout complete that no node has: it waits for one, and is paused at last', async () => {
    await using s = await stage()
    const { nodes } = await served(s, 2)
    for (const node of nodes) await s.setStatus(node, 'offline')
    const begun = await s.deploy({ ...rolling, step_timeout_seconds: 5 })
    await s.pass(4)
    expect((await s.show(begun.id)).rollout.phase).toBe('running')
    await s.pass(2)
    expect((await s.show(begun.id)).rollout).toMatchObject({
      ...{ phase: 'paused', pause_reason: 'not_enough_samples' },
      evidence: { gate: 'acknowledged', measured: 0, nodes: [] },
    })
    await s.deployments.order(developer, begun.id, 'resume', '')
    await s.sync(nodes.slice(0, 1))
    await s.pass(1)
    expect((await s.show(begun.id)).status).toBe('completed')
  })

  test('count as failed when they are online and the time of the step is over', async () => {
    await using s = await stage()
    const { id, nodes } = await served(s, 3)
    const begun = await s.deploy({ ...rolling, step_timeout_seconds: 5 })
    await s.sync(nodes.slice(0, 1))
    await s.pass(4)
    expect((await s.show(begun.id)).status).toBe('in_progress')
    await s.pass(2)
    expect(await s.assigned(id)).toEqual(['a v1', 'b v1', 'c v1'])
    expect((await s.show(begun.id)).rollout.evidence).toMatchObject({
      ...{ gate: 'acknowledged', measured: 1, threshold: 0, nodes: [{ node_id: 'b' }] },
    })
    const tolerant = await s.deploy({ ...rolling, step_timeout_seconds: 5, max_failed: 1 })
    await s.sync(nodes.slice(0, 1))
    await s.pass(6)
    expect((await s.show(tolerant.id)).rollout.step).toBe(2)
  })

  test('with on_failure stop the nodes are left as they are', async () => {
    await using s = await stage()
    const { id, nodes } = await served(s, 3)
    const begun = await s.deploy({ ...rolling, on_failure: 'stop' })
    await s.sync(nodes, 'failed')
    await s.pass(1)
    expect(await s.assigned(id)).toEqual(['a v2', 'b v2', 'c v1'])
    expect((await s.show(begun.id)).status).toBe('failed')
  })
})

describe('orders', () => {
  test('hold a rollout, let it go on, and end it; what has ended takes none', async () => {
    await using s = await stage()
    const { id, nodes } = await served(s, 3)
    healthy(s, nodes, 2)
    const begun = await s.deploy(canary)
    const order = (name: 'pause' | 'resume' | 'promote' | 'abort', message = '') =>
      s.deployments.order(developer, begun.id, name, message)
    await s.sync(nodes)
    await s.pass(1)
    await order('pause')
    expect(await codeOf(order('pause'))).toBe('conflict')
    await s.pass(100)
    expect((await s.show(begun.id)).rollout).toMatchObject({ phase: 'paused', step: 1 })
    await order('resume')
    expect(await codeOf(order('resume'))).toBe('conflict')
    await order('promote')
    await s.pass(1)
    expect(await s.assigned(id)).toEqual(['a v2', 'b v2', 'c v1'])
    const ended = await order('abort', 'it smells')
    expect(ended.status).toBe('rolled_back')
    expect(ended.rollout.evidence).toMatchObject({ gate: 'aborted', reason: 'Aborted: it smells' })
    expect(await s.assigned(id)).toEqual(['a v1', 'b v1', 'c v1'])
    expect(await codeOf(order('promote'))).toBe('conflict')
    const whole = await s.deploy({ version: 2 })
    expect(await codeOf(s.deployments.order(developer, whole.id, 'abort', ''))).toBe('conflict')
    const audited = await s.db.all(
      `SELECT operation FROM audit_log WHERE resource_id = ? ORDER BY seq`,
      [begun.id],
    )
    expect(audited.map((row) => row['operation'])).toEqual([
      ...['deploy', 'pause', 'resume', 'promote', 'abort'],
    ])
  })
})
