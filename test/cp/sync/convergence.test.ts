/** The plans of a real database on one side, the node's own reconciliation on the other, and a network that loses, doubles and reorders. */

import { expect, test } from 'bun:test'
import fc from 'fast-check'

import type { Sql } from '../../../src/cp/db/database.ts'
import { collectTombstones, tombstoneMsMax } from '../../../src/cp/sync/tombstones.ts'
import { EMPTY_STATE, type NodeState } from '../../../src/edge/agent/node-state.ts'
import { reconcile, resultOf, settle } from '../../../src/edge/agent/sync/reconcile.ts'
import type { NodeId, RouteId } from '../../../src/protocol/ids.ts'
import { planSchema, type Plan, type SyncAck } from '../../../src/protocol/plan.ts'
import { selectsPop } from '../../../src/protocol/selector.ts'
import { developer, slices } from '../deployments/slices.ts'

const functionNames = ['f', 'g'] as const
const selectors = [null, 'tokyo-*', 'osaka-1', '!tokyo-1']

type Op =
  | { op: 'deploy'; fn: number; version: number; target: string }
  | { op: 'undeploy'; fn: number; node: number }
  | { op: 'route'; fn: number; selector: number }
  | { op: 'change'; route: number; fn: number; selector: number }
  | { op: 'unroute'; route: number }
  | { op: 'collect'; late: boolean }
  | { op: 'ask'; node: number }
  | { op: 'deliver'; node: number; plan: number; acked: boolean }
  | { op: 'late ack'; node: number; ack: number }
  | { op: 'go back'; node: number; state: number }

const small = fc.nat(5)
const ops: fc.Arbitrary<Op> = fc.oneof(
  fc.record({
    op: fc.constant('deploy' as const),
    fn: fc.nat(1),
    version: fc.integer({ min: 1, max: 2 }),
    target: fc.constantFrom('all', 'tokyo-*', 'osaka-1'),
  }),
  fc.record({ op: fc.constant('undeploy' as const), fn: fc.nat(1), node: fc.nat(1) }),
  fc.record({ op: fc.constant('route' as const), fn: fc.nat(1), selector: fc.nat(3) }),
  fc.record({
    op: fc.constant('change' as const),
    route: small,
    fn: fc.nat(1),
    selector: fc.nat(3),
  }),
  fc.record({ op: fc.constant('unroute' as const), route: small }),
  fc.record({ op: fc.constant('collect' as const), late: fc.boolean() }),
  fc.record({ op: fc.constant('ask' as const), node: fc.nat(1) }),
  fc.record({
    op: fc.constant('deliver' as const),
    node: fc.nat(1),
    plan: small,
    acked: fc.boolean(),
  }),
  fc.record({ op: fc.constant('late ack' as const), node: fc.nat(1), ack: small }),
  fc.record({ op: fc.constant('go back' as const), node: fc.nat(1), state: small }),
)

/** A node as the network sees it: what is under way to it stays there, to come again or out of order. */
interface Node {
  readonly id: NodeId
  state: NodeState
  readonly states: NodeState[]
  readonly plans: Plan[]
  readonly acks: SyncAck[]
}

const settled = (state: NodeState) => {
  const pending = [...state.functions].filter(([, entry]) => entry.pending !== null)
  return settle(state, new Map(pending.map(([id]) => [id, null])))
}

/** Applies a plan as the node does; null when it does not take it. */
function take(node: Node, plan: Plan): SyncAck | null {
  const result = reconcile(node.state, plan)
  if (result.outcome !== 'next') return null
  const before = node.state.revision
  node.state = settled(result.state)
  if (!plan.full) expect(node.state.revision).toBeGreaterThanOrEqual(before)
  node.states.push(node.state)
  const results = plan.actions.flatMap((action) => {
    if (action.action !== 'put_function') return []
    const entry = node.state.functions.get(action.function.function_id)
    return entry === undefined ? [] : (resultOf(entry) ?? [])
  })
  const { base_revision, revision } = plan
  return { base_revision, revision, results, duration_ms: 1 }
}

const holds = (state: NodeState) => ({
  functions: Object.fromEntries(
    [...state.functions].sort().map(([id, { serving }]) => [id, serving?.version]),
  ),
  routes: Object.fromEntries([...state.routes].sort()),
})

/** What a node serves, and what the tables say that it should, read without the planner. */
const served = (state: NodeState) => ({
  functions: [...state.functions].map(([id, { serving }]) => `${id}@${serving?.version}`).sort(),
  routes: [...state.routes.values()]
    .map((route) => `${route.route_id} to ${route.function_id}`)
    .sort(),
})
async function assigned(db: Sql, nodeId: NodeId): Promise<ReturnType<typeof served>> {
  const functions = await db.all(
    'SELECT function_id, version FROM assignments WHERE node_id = ? AND removed = 0',
    [nodeId],
  )
  const routes = await db.all(
    `SELECT r.id, r.function_id, r.pop_selector, n.pop_id FROM routes r, nodes n
     WHERE n.id = ? AND r.deleted_at IS NULL AND r.function_id IN
       (SELECT function_id FROM assignments WHERE node_id = n.id AND removed = 0)`,
    [nodeId],
  )
  return {
    functions: functions.map((row) => `${row['function_id']}@${row['version']}`).sort(),
    routes: routes
      .filter((row) => selectsPop(row['pop_selector'] as string | null, String(row['pop_id'])))
      .map((row) => `${row['id']} to ${row['function_id']}`)
      .sort(),
  }
}

async function world() {
  const s = await slices()
  for (const name of functionNames) await s.addFunction(name, 2)
  const nodes: Node[] = []
  for (const pop of ['tokyo-1', 'osaka-1']) {
    const id = await s.addNode(`n-${pop}`, pop)
    nodes.push({ id, state: EMPTY_STATE, states: [EMPTY_STATE], plans: [], acks: [] })
  }
  const routes: RouteId[] = []
  let paths = 0

  const ask = async (node: Node) => {
    const plan = planSchema.parse(await s.sync.plan(node.id, node.state.revision))
    node.plans.push(plan)
    return plan
  }
  const perform = async (op: Op): Promise<void> => {
    const node = nodes['node' in op ? op.node : 0] as Node
    const named = 'fn' in op ? (functionNames[op.fn] ?? 'f') : 'f'
    const pop_selector = 'selector' in op ? (selectors[op.selector] ?? null) : null
    const route = 'route' in op ? routes[op.route % Math.max(routes.length, 1)] : undefined
    switch (op.op) {
      case 'deploy': {
        const { version, target } = op
        const body = { version, target, strategy: 'immediate', message: '' } as const
        return void (await s.deployments.deploy(developer, named, body).catch(ignoreNobody))
      }
      case 'undeploy':
        return s.db.write(async (tx) => {
          const revision = Number(
            (
              await tx.get('UPDATE revision_counter SET revision = revision + 1 RETURNING revision')
            )?.['revision'],
          )
          await tx.run(
            `UPDATE assignments SET removed = 1, revision = ? WHERE node_id = ?
             AND function_id = (SELECT id FROM functions WHERE name = ?)`,
            [revision, node.id, named],
          )
          await tx.run('UPDATE nodes SET desired_revision = ? WHERE id = ?', [revision, node.id])
        })
      case 'route': {
        paths += 1
        const spot = { host: '*', path_type: 'exact' as const, methods: [], priority: 0 }
        const body = { ...spot, path: `/${paths}`, function: named, pop_selector }
        return void routes.push((await s.routes.create(developer, body)).id)
      }
      case 'change':
        if (route === undefined) return
        return void (await s.routes.update(developer, route, { function: named, pop_selector }))
      case 'unroute':
        if (route === undefined) return
        routes.splice(routes.indexOf(route), 1)
        return s.routes.remove(developer, route)
      case 'collect':
        await collectTombstones(s.db, Date.now() + (op.late ? 2 * tombstoneMsMax : 0))
        return
      case 'ask':
        return void (await ask(node))
      case 'deliver': {
        const plan = node.plans[op.plan % Math.max(node.plans.length, 1)]
        const ack = plan === undefined ? null : take(node, plan)
        if (ack === null) return
        node.acks.push(ack)
        if (op.acked) await s.sync.acknowledge(node.id, ack)
        return
      }
      case 'late ack': {
        const ack = node.acks[op.ack % Math.max(node.acks.length, 1)]
        if (ack !== undefined) await s.sync.acknowledge(node.id, ack)
        return
      }
      case 'go back':
        node.state = node.states[op.state % node.states.length] ?? node.state
    }
  }
  /** What a node does when nothing is in its way: asks, applies, acknowledges; a full plan where its own starts too late. */
  const heal = async (node: Node) => {
    let plan = await ask(node)
    if (reconcile(node.state, plan).outcome === 'gap') {
      plan = planSchema.parse(await s.sync.plan(node.id, 0))
    }
    const ack = take(node, plan)
    if (ack !== null) await s.sync.acknowledge(node.id, ack)
  }
  return { s, nodes, perform, ask, heal, [Symbol.asyncDispose]: () => s[Symbol.asyncDispose]() }
}

/** A deployment to a POP without nodes is refused; the world here has them all. */
function ignoreNobody(thrown: unknown): void {
  throw thrown
}

test('any interleaving of lost, doubled and reordered plans and acknowledgements converges, whatever is collected meanwhile', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(ops, { minLength: 5, maxLength: 40 }), async (history) => {
      await using w = await world()
      for (const op of history) await w.perform(op)
      for (const node of w.nodes) {
        await w.heal(node)
        const full = { ...node, state: EMPTY_STATE, states: [], plans: [], acks: [] }
        take(full, planSchema.parse(await w.s.sync.plan(node.id, 0)))
        expect(holds(node.state)).toEqual(holds(full.state))
        expect(served(node.state)).toEqual(await assigned(w.s.db, node.id))
        // And it stays so: the next plan is empty, and a plan applied once more changes nothing.
        const next = await w.ask(node)
        if (!next.full) expect(next.actions).toEqual([])
        const before = holds(node.state)
        take(node, next)
        expect(holds(node.state)).toEqual(before)
      }
    }),
    { numRuns: 100 },
  )
}, 120_000)

test('tombstones go once every node has passed them, and not before; a node that never comes is not waited for', async () => {
  await using w = await world()
  const tombstones = async () =>
    Number(
      (await w.s.db.get('SELECT count(*) AS n FROM routes WHERE deleted_at IS NOT NULL'))?.['n'],
    )
  const [tokyo, osaka] = w.nodes as [Node, Node]
  await w.perform({ op: 'deploy', fn: 0, version: 1, target: 'all' })
  await w.perform({ op: 'route', fn: 0, selector: 0 })
  await w.heal(tokyo)
  await w.heal(osaka)
  await w.perform({ op: 'unroute', route: 0 })
  expect(await collectTombstones(w.s.db, Date.now())).toBe(0)
  await w.heal(tokyo)
  expect(await collectTombstones(w.s.db, Date.now())).toBe(0)
  expect(await tombstones()).toBe(1)
  const back = osaka.state
  await w.heal(osaka)
  expect(osaka.state.routes.size).toBe(0)
  expect(await collectTombstones(w.s.db, Date.now())).toBe(1)
  expect(await tombstones()).toBe(0)

  // A disk that was set back to before the deletion: the plan is full, for the tombstone is gone.
  osaka.state = back
  expect((await w.ask(osaka)).full).toBe(true)
  await w.heal(osaka)
  expect(osaka.state.routes.size).toBe(0)

  // After a week nobody is waited for; who comes then gets everything, and who was up to date still a delta.
  await w.perform({ op: 'route', fn: 0, selector: 1 })
  await w.heal(tokyo)
  await w.perform({ op: 'unroute', route: 0 })
  expect(await collectTombstones(w.s.db, Date.now() + 2 * tombstoneMsMax)).toBe(1)
  expect((await w.ask(tokyo)).full).toBe(true)
  await w.perform({ op: 'route', fn: 0, selector: 0 })
  const delta = await w.ask(osaka)
  expect([delta.full, delta.actions.map(({ action }) => action)]).toEqual([false, ['put_route']])
  await w.heal(tokyo)
  expect(tokyo.state.routes.size).toBe(1)
})

test('the plan after a change of one route among 20 000 is that change', async () => {
  await using w = await world()
  const node = w.nodes[0] as Node
  await w.perform({ op: 'deploy', fn: 0, version: 1, target: 'all' })
  await w.perform({ op: 'route', fn: 0, selector: 0 })
  await w.s.db.run(
    `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 19999)
     INSERT INTO routes (id, host, path, path_type, methods, function_id, pop_selector, priority, revision, created_at, updated_at)
     SELECT printf('00000000-0000-7000-8000-%012x', i), host, '/many/' || i, path_type, methods, function_id,
       pop_selector, priority, revision, created_at, updated_at FROM routes, n WHERE path = '/1'`,
  )
  await w.heal(node)
  expect(node.state.routes.size).toBe(20_000)
  const id = '00000000-0000-7000-8000-000000000007' as RouteId
  await w.s.routes.update(developer, id, { priority: 9 })
  const plan = await w.ask(node)
  expect(plan.actions).toMatchObject([
    { action: 'put_route', route: { route_id: id, priority: 9 } },
  ])
  expect(plan.actions.length).toBe(1)
  // What a hundred nodes are sent for it: less than a packet each, and not five megabytes.
  const bytes = Buffer.byteLength(JSON.stringify(plan))
  expect(bytes).toBeLessThan(600)
  const whole = Buffer.byteLength(JSON.stringify(await w.s.sync.plan(node.id, 0)))
  expect(whole).toBeGreaterThan(5_000 * bytes)
  await w.heal(node)
  await w.s.routes.remove(developer, id)
  expect((await w.ask(node)).actions).toEqual([{ action: 'remove_route', route_id: id }])
})
