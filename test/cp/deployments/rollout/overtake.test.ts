/** Rollouts that meet others: newer deployments, roll-backs, nodes that join, and control planes that share a database. */

import { expect, test } from 'bun:test'
import fc from 'fast-check'

import { deploymentCreationSchema } from '../../../../src/protocol/api.ts'
import type { NodeId } from '../../../../src/protocol/ids.ts'
import { rollbackSchema } from '../../../../src/protocol/rollout.ts'
import { codeOf } from '../../auth/stack.ts'
import { developer } from '../slices.ts'
import { stage, type Stage } from './stage.ts'

const rolling = { strategy: 'rolling', rolling: { batch: 1 } }

async function served(s: Stage, letters: string): Promise<NodeId[]> {
  const nodes: NodeId[] = []
  for (const letter of letters) nodes.push(await s.addNode(letter, `pop-${letter}`))
  await s.addFunction('f', 5)
  await s.deploy({ version: 1 })
  await s.sync(nodes)
  return nodes
}

const functionId = async (s: Stage) =>
  (await s.deployments.list({ limit: 1 })).items[0]!.function_id

test('a newer deployment takes the place of a rollout: what that changed is as it was before, and nothing of it begins', async () => {
  await using s = await stage()
  const nodes = await served(s, 'abcd')
  const id = await functionId(s)
  const older = await s.deploy({ ...rolling, version: 2 })
  await s.sync(nodes)
  await s.pass(1)
  expect(await s.assigned(id)).toEqual(['a v2', 'b v2', 'c v1', 'd v1'])
  const newer = await s.deploy({ ...rolling, version: 3, target: 'pop-b,pop-c,pop-d' })
  expect(await s.assigned(id)).toEqual(['a v1', 'b v3', 'c v1', 'd v1'])
  expect(await s.show(older.id)).toMatchObject({
    status: 'superseded',
    rollout: { phase: 'ended', superseded_by: newer.id },
    targets: Array.from({ length: 4 }, () => ({ state: 'superseded' })),
  })
  await s.sync(nodes)
  await s.pass(20)
  await s.sync(nodes)
  await s.pass(1)
  await s.sync(nodes)
  await s.pass(1)
  expect(await s.assigned(id)).toEqual(['a v1', 'b v3', 'c v3', 'd v3'])
  expect((await s.show(newer.id)).status).toBe('completed')
  expect((await s.show(older.id)).status).toBe('superseded')
  const third = await s.deploy({ ...rolling, version: 4 })
  const whole = await s.deploy({ version: 5 })
  expect(await s.assigned(id)).toEqual(['a v5', 'b v5', 'c v5', 'd v5'])
  expect((await s.show(third.id)).rollout.superseded_by).toBe(whole.id)
})

test('a function that is deleted ends its rollout', async () => {
  await using s = await stage()
  const nodes = await served(s, 'ab')
  const id = await functionId(s)
  const begun = await s.deploy({ ...rolling, version: 2 })
  await s.db.write((tx) => s.hooks.removed(tx, developer, id))
  await s.sync(nodes)
  await s.pass(2)
  expect(await s.assigned(id)).toEqual([])
  expect((await s.show(begun.id)).status).toBe('superseded')
})

test('a node that joins belongs to the last step, and until then has what was in force before', async () => {
  await using s = await stage()
  const nodes = await served(s, 'ab')
  const id = await functionId(s)
  const begun = await s.deploy({ ...rolling, version: 2 })
  const joined = await s.addNode('c', 'pop-c')
  expect(await s.assigned(id)).toEqual(['a v2', 'b v1', 'c v1'])
  await s.sync([...nodes, joined])
  await s.pass(1)
  expect(await s.assigned(id)).toEqual(['a v2', 'b v2', 'c v2'])
  const late = await s.addNode('d', 'pop-d')
  expect(await s.assigned(id)).toEqual(['a v2', 'b v2', 'c v2', 'd v2'])
  await s.deployments.order(developer, begun.id, 'abort', '')
  expect(await s.assigned(id)).toEqual(['a v1', 'b v1', 'c v1', 'd v1'])
  await s.sync([...nodes, joined, late])
  await s.addNode('e', 'pop-e')
  expect((await s.assigned(id)).at(-1)).toBe('e v1')
})

test('a cordoned node is passed by, and catches up when it is not any more', async () => {
  await using s = await stage()
  const nodes = await served(s, 'abc')
  const id = await functionId(s)
  const begun = await s.deploy({ ...rolling, version: 2 })
  await s.db.run(`UPDATE nodes SET cordoned = 1 WHERE id = 'b'`)
  await s.sync(nodes)
  await s.pass(2)
  await s.sync(nodes)
  await s.pass(2)
  expect(await s.assigned(id)).toEqual(['a v2', 'b v1', 'c v2'])
  expect((await s.show(begun.id)).status).toBe('completed')
  await s.db.run(`UPDATE nodes SET cordoned = 0 WHERE id = 'b'`)
  await s.db.write((tx) => s.hooks.nodeUncordoned(tx, nodes[1]!, 'pop-b'))
  expect(await s.assigned(id)).toEqual(['a v2', 'b v2', 'c v2'])
  expect((await s.show(begun.id)).targets[1]?.state).toBe('pending')
})

test('P27: a roll-back is a deployment of the version before, or of one that is named, with its own history', async () => {
  await using s = await stage()
  const nodes = await served(s, 'ab')
  const id = await functionId(s)
  const back = (fields: Record<string, unknown> = {}) =>
    s.deployments.rollback(developer, 'f', rollbackSchema.parse(fields))
  expect(await codeOf(back())).toBe('conflict')
  await s.deploy({ version: 2 })
  await s.sync(nodes)
  const stopped = await s.deploy({ ...rolling, version: 3 })
  await s.deployments.order(developer, stopped.id, 'abort', '')
  const rolled = await back({ message: 'v2 is slow' })
  expect(rolled).toMatchObject({ version: 1, message: 'v2 is slow', rollout: { kind: 'rollback' } })
  expect(await s.assigned(id)).toEqual(['a v1', 'b v1'])
  await s.sync(nodes)
  expect((await s.show(rolled.id)).status).toBe('completed')
  // Again: before v1 there was nothing, and v2 is what was gone back from.
  expect(await codeOf(back())).toBe('conflict')
  expect((await back({ to: 2 })).version).toBe(2)
  expect((await back({ to: 4, target: 'pop-a' })).version).toBe(4)
  expect(await s.assigned(id)).toEqual(['a v4', 'b v2'])
  expect(await codeOf(back({ to: 9 }))).toBe('version_not_found')
  const kinds = (await s.deployments.list({ limit: 9, function: 'f' })).items.map(
    (item) => `${item.rollout.kind} v${item.version}`,
  )
  expect(kinds.slice(0, 4)).toEqual(['rollback v4', 'rollback v2', 'rollback v1', 'deploy v3'])
})

test('a roll-back that is repeated goes on backwards, past what it was rolled back from', async () => {
  await using s = await stage()
  const nodes = await served(s, 'ab')
  const back = async (fields: Record<string, unknown> = {}) => {
    const { version } = await s.deployments.rollback(developer, 'f', rollbackSchema.parse(fields))
    await s.sync(nodes)
    return version
  }
  for (const version of [2, 3, 4]) {
    await s.deploy({ version })
    await s.sync(nodes)
  }
  expect(await back()).toBe(3)
  expect(await back()).toBe(2)
  await s.deploy({ version: 5 })
  await s.sync(nodes)
  expect(await back()).toBe(2)
  expect(await back()).toBe(1)
  expect(await codeOf(back())).toBe('conflict')
  expect(await back({ to: 4 })).toBe(4)
  expect(await back()).toBe(3)
})

test('a rollout that was stopped halfway is the present deployment: a roll-back goes to what was before it', async () => {
  await using s = await stage()
  const nodes = await served(s, 'ab')
  const id = await functionId(s)
  const back = () => s.deployments.rollback(developer, 'f', rollbackSchema.parse({}))
  const stopped = { ...rolling, on_failure: 'stop', rolling: { batch: 1 } }
  const stopHalfway = async (version: number) => {
    const begun = await s.deploy({ ...stopped, version })
    await s.sync([nodes[0]!])
    await s.pass(1)
    await s.sync([nodes[1]!], 'failed')
    await s.pass(1)
    expect((await s.show(begun.id)).status).toBe('failed')
  }
  await stopHalfway(2)
  expect((await back()).version).toBe(1)
  expect(await s.assigned(id)).toEqual(['a v1', 'b v1'])
  await s.sync(nodes)
  await s.deploy({ version: 3 })
  await s.sync(nodes)
  await stopHalfway(4)
  expect((await back()).version).toBe(3)
})

test('a deployment planned on what has changed since is refused', async () => {
  await using s = await stage()
  await served(s, 'ab')
  const body = deploymentCreationSchema.parse({ version: 2 })
  const { index } = await s.deployments.plan('f', body)
  expect(await codeOf(s.deploy({ version: 2, check_index: index - 1 }))).toBe('conflict')
  expect(await codeOf(s.deploy({ version: 2, check_index: index + 1_000_000 }))).toBe('conflict')
  const done = await s.deploy({ version: 2, check_index: index })
  expect(await codeOf(s.deploy({ version: 3, check_index: index }))).toBe('conflict')
  expect((await s.deployments.plan('f', body)).index).toBe(done.revision)
  await s.deploy({ ...rolling, version: 3, check_index: done.revision })
})

test('a plan says which nodes have not acknowledged what they are to serve now', async () => {
  await using s = await stage()
  const nodes = await served(s, 'abc')
  await s.addNode('d', 'pop-d')
  await s.deploy({ version: 2 })
  await s.sync(nodes.slice(0, 1))
  await s.sync(nodes.slice(1, 2), 'failed')
  const plan = await s.deployments.plan('f', deploymentCreationSchema.parse({ version: 3 }))
  const said = plan.nodes.map(
    (node) => `${node.node_id} ${node.from?.version} ${node.acknowledged}`,
  )
  expect(said).toEqual(['a 2 true', 'b 2 false', 'c 2 false', 'd 2 false'])
})

test('a POP that has no node of the target is refused in the order, by its place', async () => {
  await using s = await stage()
  await served(s, 'abc')
  await s.db.run(`UPDATE nodes SET cordoned = 1 WHERE id = 'b'`)
  const planned = (target: string, pop_order: string[]) =>
    s.deployments.plan(
      'f',
      deploymentCreationSchema.parse({ ...rolling, target, rolling: { batch: 1, pop_order } }),
    )
  const order = (await planned('all', ['pop-c', 'pop-b', '*'])).nodes.map((node) => node.node_id)
  expect(order).toEqual(['c', 'a'] as NodeId[])
  for (const target of ['all', 'pop-a']) {
    const refused = planned(target, ['pop-a', target === 'all' ? 'tokio' : 'pop-c'])
    expect(await codeOf(refused)).toBe('invalid_field')
    await expect(refused).rejects.toThrow('rolling.pop_order.1 selects no node of the target')
  }
})

test('setting the clock neither ends a window early nor lets it count what came before', async () => {
  await using s = await stage()
  const nodes = await served(s, 'ab')
  const body = { ...rolling, version: 2, gates: { window_seconds: 20 } }
  const begun = await s.deploy(body)
  await s.sync(nodes)
  await s.pass(10)
  s.clock.wall_ms += 3_600_000
  await s.pass(1)
  const { rollout } = await s.show(begun.id)
  expect(rollout.window_ms).toBeLessThan(2_000)
  s.clock.wall_ms -= 7_200_000
  await s.pass(15)
  expect((await s.show(begun.id)).rollout.step).toBe(1)
  await s.pass(6)
  expect((await s.show(begun.id)).rollout.step).toBe(2)
})

const bodies = fc.record({
  version: fc.integer({ min: 1, max: 5 }),
  target: fc.constantFrom('all', 'pop-a', 'pop-b,pop-c', '!pop-a'),
  shape: fc.constantFrom(
    {},
    { max_failed: 1 },
    rolling,
    { strategy: 'rolling', rolling: { batch: '50%', pop_order: ['pop-c,pop-a'] } },
    { strategy: 'canary', gates: { min_samples: 0, window_seconds: 3 } },
  ),
})
const moves = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant('deploy' as const), body: bodies }),
    fc.record({ do: fc.constant('pass' as const), seconds: fc.integer({ min: 1, max: 4 }) }),
    fc.record({ do: fc.constant('sync' as const), nodes: fc.subarray(['a', 'b', 'c', 'd']) }),
    fc.record({ do: fc.constant('fail' as const), nodes: fc.subarray(['a', 'b', 'c', 'd']) }),
    fc.record({ do: fc.constant('abort' as const) }),
  ),
  { minLength: 3, maxLength: 10 },
)

/** Runs one move on the function; of a deployment it checks that it does what its plan said. */
async function make(
  s: Stage,
  name: string,
  move: typeof moves extends fc.Arbitrary<(infer M)[]> ? M : never,
) {
  const newest = (await s.deployments.list({ limit: 1, function: name })).items[0]
  switch (move.do) {
    case 'deploy': {
      const { shape, ...rest } = move.body
      const body = deploymentCreationSchema.parse({ ...rest, ...shape })
      const plan = await s.deployments.plan(name, body)
      const view = await s.deployments.deploy(developer, name, { ...body, check_index: plan.index })
      const planned = plan.nodes.filter((node) => node.step !== null)
      expect(
        planned
          .map(({ node_id, step, back_to }) => ({ node_id, step, previous: back_to }))
          .sort(byNode),
      ).toEqual(
        view.targets
          .map(({ node_id, step, previous }) => ({ node_id, step, previous }))
          .sort(byNode),
      )
      const assigned = new Set(await s.assigned(view.function_id))
      for (const node of plan.nodes) {
        const version = node.step === 1 ? node.to?.version : node.back_to?.version
        if (version !== undefined) expect(assigned).toContain(`${node.node_id} v${version}`)
      }
      return
    }
    case 'pass':
      return s.pass(move.seconds)
    case 'sync':
      return s.sync(move.nodes as NodeId[])
    case 'fail':
      return s.sync(move.nodes as NodeId[], 'failed')
    case 'abort':
      if (newest?.rollout.phase !== 'running') return
      await s.deployments.order(developer, newest.id, 'abort', '')
  }
}

const byNode = (a: { node_id: string }, b: { node_id: string }) => (a.node_id < b.node_id ? -1 : 1)

test('P27: whatever happens, a deployment does what its plan said, and what was taken back holds no node', async () => {
  await using s = await stage()
  for (const letter of 'abcd') await s.addNode(letter, `pop-${letter}`)
  let count = 0
  const run = async (course: Parameters<typeof make>[2][]) => {
    const name = `f${(count += 1)}`
    const id = await s.addFunction(name, 5)
    for (const move of course) {
      await make(s, name, move)
      const { items } = await s.deployments.list({ limit: 20, function: name })
      const rows = await s.db.all(
        'SELECT node_id, deployment_id, version FROM assignments WHERE function_id = ? AND removed = 0',
        [id],
      )
      const active = items.filter((item) => item.rollout.phase !== 'ended')
      expect(active.length).toBeLessThanOrEqual(1)
      for (const { node_id, deployment_id, version } of rows) {
        const holder = items.find((item) => item.id === deployment_id)
        expect(version).toBe(holder?.version ?? null)
        expect(holder?.status).not.toBe('rolled_back')
        if (holder?.status === 'superseded') expect(holder.rollout.superseded_by).toBeNull()
        const target = holder?.targets.find((item) => item.node_id === node_id)
        expect(target?.step).toBeLessThanOrEqual(holder?.rollout.step ?? 0)
        expect(['waiting', 'skipped', 'rolled_back']).not.toContain(target?.state ?? 'none')
      }
    }
    await s.db.run(`DELETE FROM outbox`)
    const [open] = (await s.deployments.list({ limit: 1, function: name })).items
    if (open?.rollout.phase !== 'ended' && open !== undefined)
      await s.deployments.order(developer, open.id, 'abort', '')
  }
  await fc.assert(fc.asyncProperty(moves, run), { numRuns: 100 })
}, 120_000)
