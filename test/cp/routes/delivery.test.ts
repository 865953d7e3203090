/** Where a route is live, and which routes are in each other's way. */

import { expect, test } from 'bun:test'
import fc from 'fast-check'

import type { NodeCredentials, RouteView } from '../../../src/protocol/api.ts'
import { selectsPop } from '../../../src/protocol/selector.ts'
import { routeDetailSchema, type RouteDetail } from '../../../src/protocol/syncs.ts'
import { testPlane, type ErrorAnswer, type TestPlane } from '../api/test-plane.ts'

async function liveOn(cp: TestPlane, id: string): Promise<Record<string, boolean>> {
  const route: RouteDetail = routeDetailSchema.parse(await cp.must('GET', `/routes/${id}`))
  expect(route.delivery).toEqual({
    nodes: route.nodes.length,
    live: route.nodes.filter((node) => node.live).length,
  })
  const { items } = await cp.must<{ items: RouteView[] }>('GET', '/routes')
  expect(items.find((item) => item.id === id)?.delivery).toEqual(route.delivery)
  return Object.fromEntries(route.nodes.map(({ node_id, live }) => [node_id, live]))
}

test('a route is live on the selected nodes that have acknowledged it as it is now', async () => {
  await using cp = await testPlane()
  const nodes: Record<string, NodeCredentials> = {}
  for (const [id, pop] of [
    ['a', 'tokyo-1'],
    ['b', 'tokyo-2'],
    ['c', 'osaka-1'],
  ] as const) {
    nodes[id] = await cp.addNode(pop, id)
  }
  const revisions = new Map<string, number>()
  const sync = async (id: string) => {
    const plan = await cp.syncNode(nodes[id] as NodeCredentials, revisions.get(id) ?? 0)
    revisions.set(id, plan.revision)
  }
  await cp.addFunction('hello')
  const route = await cp.addRoute({ path: '/a', function: 'hello', pop_selector: 'tokyo-*' })
  expect(route.delivery).toEqual({ nodes: 0, live: 0 })
  await cp.deploy('hello')
  // The route is older than the deployment: a node that has not the function does not serve it either.
  expect(await liveOn(cp, route.id)).toEqual({ a: false, b: false })
  await sync('a')
  expect(await liveOn(cp, route.id)).toEqual({ a: true, b: false })
  await sync('b')
  expect(await liveOn(cp, route.id)).toEqual({ a: true, b: true })
  // A newer version is on its way; the route goes on leading to the older one.
  await cp.deploy('hello')
  expect(await liveOn(cp, route.id)).toEqual({ a: true, b: true })
  await cp.must('PUT', `/routes/${route.id}`, { pop_selector: null })
  expect(await liveOn(cp, route.id)).toEqual({ a: false, b: false, c: false })
  for (const id of ['a', 'c']) await sync(id)
  expect(await liveOn(cp, route.id)).toEqual({ a: true, b: false, c: true })
})

test('P22: a route is said to be live on exactly the nodes whose state has it', async () => {
  await using cp = await testPlane()
  const pops = ['tokyo-1', 'tokyo-2', 'osaka-1']
  const nodes = await Promise.all(pops.map((pop) => cp.addNode(pop, `n-${pop}`)))
  await cp.addFunction('hello')
  await cp.deploy('hello')
  const held = nodes.map(() => new Map<string, number>())
  const revisions = nodes.map(() => 0)
  const sync = async (index: number) => {
    const plan = await cp.syncNode(nodes[index] as NodeCredentials, revisions[index] ?? 0)
    revisions[index] = plan.revision
    const routes = held[index] as Map<string, number>
    if (plan.full) routes.clear()
    for (const action of plan.actions) {
      if (action.action === 'put_route') routes.set(action.route.route_id, action.route.priority)
      if (action.action === 'remove_route') routes.delete(action.route_id)
    }
  }
  const selector = fc.constantFrom(null, 'tokyo-*', 'osaka-1', '!tokyo-1')
  let path = 0
  await fc.assert(
    fc.asyncProperty(
      selector,
      selector,
      fc.subarray([0, 1, 2]),
      fc.subarray([0, 1, 2]),
      async (before, after, first, second) => {
        path += 1
        const body = { path: `/${path}`, function: 'hello', pop_selector: before }
        const { id } = await cp.addRoute(body)
        for (const index of first) await sync(index)
        await cp.must('PUT', `/routes/${id}`, { pop_selector: after, priority: 1 })
        for (const index of second) await sync(index)
        const route = routeDetailSchema.parse(await cp.must('GET', `/routes/${id}`))
        expect(route.nodes.map(({ pop_id }) => pop_id as string).toSorted()).toEqual(
          pops.filter((pop) => selectsPop(after, pop)).toSorted(),
        )
        for (const { node_id, live } of route.nodes) {
          const index = nodes.findIndex((node) => node.node_id === node_id)
          expect([node_id, live]).toEqual([node_id, held[index]?.get(id) === 1])
        }
        await cp.must('DELETE', `/routes/${id}`)
      },
    ),
    { numRuns: 100 },
  )
}, 120_000)

test('routes for the same requests are refused where a POP may have both, and the other one is named', async () => {
  await using cp = await testPlane()
  for (const name of ['one', 'two']) await cp.addFunction(name)
  const spot = { host: 'shop.example.com', path: '/a', path_type: 'prefix', priority: 3 }
  const tokyo = await cp.addRoute({ ...spot, function: 'one', pop_selector: 'tokyo-*' })
  const create = (fields: Record<string, unknown>) =>
    cp.call<ErrorAnswer & { id: string }>('POST', '/routes', { ...spot, ...fields })
  for (const pop_selector of [null, 'tokyo-3', '*-1', '!osaka-1']) {
    const answer = await create({ function: 'two', pop_selector })
    expect([pop_selector, answer.status]).toEqual([pop_selector, 409])
    expect(answer.body.error.message).toContain(tokyo.id)
    expect(answer.body.error.details).toMatchObject({ route_id: tokyo.id })
  }
  const osaka = await create({ function: 'two', pop_selector: 'osaka-*' })
  const rest = await create({
    function: 'two',
    pop_selector: '!tokyo-*,!osaka-*',
    methods: ['GET'],
  })
  expect([osaka.status, rest.status]).toEqual([201, 201])
  // Changing one into the way of another is refused as well, and changes nothing.
  const moved = { pop_selector: 'osaka-1,tokyo-1' }
  expect((await cp.call('PUT', `/routes/${osaka.body.id}`, moved)).status).toBe(409)
  const still = await cp.must<RouteView>('GET', `/routes/${osaka.body.id}`)
  expect(still.pop_selector).toBe('osaka-*')
  // The same route twice would stay when one of them is deleted.
  expect((await create({ function: 'one', pop_selector: 'tokyo-*' })).status).toBe(409)
})
