/** Routes: what is accepted, what collides, and whom a change reaches. */

import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'

import { checkPath } from '../../../src/cp/routes/path.ts'
import type { RouteCreation, RouteView } from '../../../src/protocol/api.ts'
import type { NodeId } from '../../../src/protocol/ids.ts'
import { compilePattern } from '../../../src/protocol/pattern.ts'
import { selectsPop } from '../../../src/protocol/selector.ts'
import { testPlane, type ErrorAnswer } from '../api/test-plane.ts'
import { developer, slices } from '../deployments/slices.ts'

const prefix: Omit<RouteCreation, 'path' | 'function'> = {
  host: '*',
  path_type: 'prefix',
  methods: [],
  pop_selector: null,
  priority: 0,
}

describe('paths', () => {
  const validatePattern = (source: string) => void compilePattern(source)

  test.each([
    '/',
    '/a',
    '/a/',
    '/a/b.c',
    '/%C3%BC',
    '/a%20b',
    "/~user/(x);y=1,2'",
    '//a',
    '/a//b',
    '/*',
  ])('%s is taken', (path) => {
    for (const type of ['exact', 'prefix'] as const) checkPath(path, type, validatePattern)
  })

  test.each([
    'a',
    '',
    '/a?b',
    '/a#b',
    '/a/../b',
    '/./a',
    '/a/%2e%2e/b',
    '/ü',
    '/a b',
    '/a\\b',
    '/%',
    '/%zz',
    '/a\t',
    '/a\n',
  ])('%j is refused', (path) => {
    for (const type of ['exact', 'prefix'] as const) {
      expect(() => checkPath(path, type, validatePattern)).toThrow('Field path of the body')
    }
  })

  test('a path that is taken is what a URL parser leaves of it', () => {
    fc.assert(
      fc.property(fc.webUrl({ withQueryParameters: true, withFragments: true }), (url) => {
        const { pathname } = new URL(url)
        expect(() => checkPath(pathname, 'prefix', validatePattern)).not.toThrow()
        expect(new URL(`http://x${pathname}`).pathname).toBe(pathname)
      }),
      { numRuns: 300 },
    )
  })

  test('a pattern must be one that the linear engine takes', async () => {
    await using cp = await testPlane()
    await cp.addFunction('hello')
    const body = { function: 'hello', path_type: 'regex' }
    expect((await cp.call('POST', '/routes', { ...body, path: '/u/[0-9]+' })).status).toBe(201)
    const refused = await cp.call<ErrorAnswer>('POST', '/routes', { ...body, path: '/(a)\\1' })
    expect([refused.status, refused.body.error.code]).toEqual([400, 'invalid_field'])
    expect(refused.body.error.message).toStartWith('Field path of the body: ')
    expect(refused.body.error.details).toMatchObject({ field: 'path', position: 4 })
  })
})

describe('the API', () => {
  test('creates, lists by page and function, shows, changes and deletes', async () => {
    await using cp = await testPlane()
    const made = await cp.addFunction('one')
    await cp.addFunction('two')
    const route = await cp.addRoute({
      host: 'API.Example.com',
      path: '/a',
      methods: ['POST', 'GET', 'GET'],
      function: 'one',
      pop_selector: 'tokyo-*',
      priority: 5,
    })
    expect(route).toMatchObject({
      host: 'api.example.com',
      path_type: 'prefix',
      methods: ['GET', 'POST'],
      function_id: made.id,
      function_name: 'one',
      pop_selector: 'tokyo-*',
      priority: 5,
    })
    const other = await cp.addRoute({ path: '/b', function: 'two' })
    type Page = { items: RouteView[]; next_cursor: string | null }
    const first = await cp.must<Page>('GET', '/routes?limit=1')
    expect(first.items).toEqual([route])
    const rest = await cp.must<Page>('GET', `/routes?limit=1&cursor=${first.next_cursor}`)
    expect(rest).toEqual({ items: [other], next_cursor: null })
    const ofOne = await cp.must<Page>('GET', '/routes?function=one&host=api.example.com')
    expect(ofOne.items).toEqual([route])
    const changed = await cp.must<RouteView>('PUT', `/routes/${route.id}`, { pop_selector: null })
    expect(changed).toEqual({
      ...route,
      pop_selector: null,
      revision: changed.revision,
      updated_at: changed.updated_at,
    })
    expect(changed.revision).toBeGreaterThan(route.revision)
    expect((await cp.call('DELETE', `/routes/${route.id}`)).status).toBe(204)
    for (const [method, body] of [
      ['GET', undefined],
      ['DELETE', undefined],
      ['PUT', { priority: 1 }],
    ] as const) {
      const answer = await cp.call<ErrorAnswer>(method, `/routes/${route.id}`, body)
      expect([answer.status, answer.body.error.code]).toEqual([404, 'route_not_found'])
    }
    expect((await cp.call('PUT', `/routes/${other.id}`, {})).status).toBe(400)
  })

  test('takes all as a selector for every POP', async () => {
    await using cp = await testPlane()
    await cp.addFunction('hello')
    const route = await cp.addRoute({ function: 'hello', path: '/a', pop_selector: 'all' })
    expect(route.pop_selector).toBeNull()
    const path = `/routes/${route.id}`
    await cp.must('PUT', path, { pop_selector: 'tokyo-*' })
    expect(await cp.must('PUT', path, { pop_selector: 'all' })).toMatchObject({
      pop_selector: null,
    })
    const schema = { function: 'hello', sql: 'CREATE TABLE t (a)', pop_selector: 'all' }
    expect(await cp.must('POST', '/schemas', schema)).toMatchObject({ pop_selector: null })
  })

  test('refuses two functions for the same requests, and names the other route', async () => {
    await using cp = await testPlane()
    await cp.addFunction('one')
    await cp.addFunction('two')
    const route = await cp.addRoute({ path: '/a', function: 'one', methods: ['GET'] })
    const clash = await cp.call<ErrorAnswer>('POST', '/routes', { path: '/a', function: 'two' })
    expect([clash.status, clash.body.error.code]).toEqual([409, 'conflict'])
    expect(clash.body.error.message).toContain(route.id)
    const fields = [{ methods: ['POST'] }, { priority: 1 }, { path_type: 'exact' }, { host: 'a.b' }]
    for (const field of fields) {
      await cp.addRoute({ path: '/a', function: 'two', ...field })
    }
    const moved = await cp.call<ErrorAnswer>('PUT', `/routes/${route.id}`, { methods: [] })
    expect(moved.status).toBe(409)
    await cp.must('DELETE', `/routes/${route.id}`)
    await cp.addRoute({ path: '/a', function: 'two', methods: ['GET'] })
  })
})

describe('whom a change reaches', () => {
  test('P22: every change of a route is announced to the nodes that serve its function and are selected before or after, and to no other', async () => {
    await using s = await slices()
    const pops = ['tokyo-1', 'tokyo-2', 'osaka-1']
    const nodes = new Map<NodeId, string>()
    for (const pop of pops) nodes.set(await s.addNode(`n-${pop}`, pop), pop)
    for (const name of ['f', 'g']) await s.addFunction(name)
    const deploy = { strategy: 'immediate', message: '' } as const
    await s.deployments.deploy(developer, 'f', { ...deploy, target: 'all' })
    await s.deployments.deploy(developer, 'g', { ...deploy, target: 'tokyo-*' })
    const serving = { f: pops, g: ['tokyo-1', 'tokyo-2'] }
    const selector = fc.constantFrom(
      null,
      'tokyo-*',
      'osaka-1',
      '!tokyo-1',
      'kobe-*',
      'tokyo-2,osaka-*',
    )
    const side = fc.record({ function: fc.constantFrom('f' as const, 'g' as const), selector })
    let path = 0
    const reached = async () => {
      const rows = (await s.notices()).filter((row) => row.type === 'routes')
      await s.db.run('DELETE FROM outbox')
      return rows.map((row) => row.node_id).sort()
    }
    const affected = (...sides: { function: 'f' | 'g'; selector: string | null }[]) =>
      [...nodes]
        .filter(([, pop]) =>
          sides.some((one) => serving[one.function].includes(pop) && selectsPop(one.selector, pop)),
        )
        .map(([id]) => id)
        .sort()
    await s.db.run('DELETE FROM outbox')
    await fc.assert(
      fc.asyncProperty(side, side, async (before, after) => {
        path += 1
        const made = await s.routes.create(developer, {
          ...prefix,
          path: `/${path}`,
          function: before.function,
          pop_selector: before.selector,
        })
        expect(await reached()).toEqual(affected(before))
        await s.routes.update(developer, made.id, {
          function: after.function,
          pop_selector: after.selector,
        })
        expect(await reached()).toEqual(affected(before, after))
        await s.routes.remove(developer, made.id)
        expect(await reached()).toEqual(affected(after))
      }),
      { numRuns: 100 },
    )
    expect(await s.audit.verify(s.db)).toMatchObject({ intact: true })
  }, 120_000)

  test('P21: a node is given exactly the routes whose selector names its POP', async () => {
    await using s = await slices()
    const pops = ['tokyo-1', 'tokyo-2', 'osaka-1']
    for (const pop of pops) await s.addNode(pop, pop)
    await s.addFunction('f')
    await s.deployments.deploy(developer, 'f', {
      target: 'all',
      strategy: 'immediate',
      message: '',
    })
    const item = fc.constantFrom(
      'tokyo-1',
      'tokyo-*',
      'osaka-1',
      '*-1',
      '!tokyo-2',
      '!osaka-*',
      'kobe-1',
    )
    const selectors = fc.array(
      fc.option(
        fc.uniqueArray(item, { minLength: 1, maxLength: 3 }).map((items) => items.join(',')),
      ),
      { minLength: 1, maxLength: 4 },
    )
    let path = 0
    await fc.assert(
      fc.asyncProperty(selectors, async (chosen) => {
        const ids: { id: string; selector: string | null }[] = []
        for (const selector of chosen) {
          path += 1
          const made = await s.routes.create(developer, {
            ...prefix,
            path: `/${path}`,
            function: 'f',
            pop_selector: selector,
          })
          ids.push({ id: made.id, selector })
        }
        for (const pop of pops) {
          const plan = await s.sync.plan(pop as NodeId, 0)
          const given = plan.actions.flatMap((action) =>
            action.action === 'put_route' ? [action.route.route_id as string] : [],
          )
          const expected = ids.filter(({ selector }) => selectsPop(selector, pop))
          expect(given.sort()).toEqual(expected.map(({ id }) => id).sort())
        }
        for (const { id } of ids) await s.routes.remove(developer, id as RouteView['id'])
      }),
      { numRuns: 100 },
    )
  }, 120_000)
})
