/** The router against a naive reference, and its rules one by one. */

import { describe, expect, test } from 'bun:test'

import fc from 'fast-check'

import { buildRouter } from '../../../../src/edge/worker/router/router.ts'
import { HTTP_METHODS } from '../../../../src/protocol/http-methods.ts'
import { type Route, routeSchema } from '../../../../src/protocol/manifest.ts'

function route(fields: Partial<Record<keyof Route, unknown>>): Route {
  return routeSchema.parse({
    route_id: Bun.randomUUIDv7(),
    host: '*',
    path: '/',
    path_type: 'prefix',
    methods: [],
    priority: 0,
    function_id: Bun.randomUUIDv7(),
    ...fields,
  })
}

// The reference: every route looked at, rules written out as they are said in SPEC 3.

function hostMatches(pattern: string, host: string): boolean {
  return (
    pattern === '*' ||
    (pattern.startsWith('*.')
      ? host.endsWith(pattern.slice(1)) && host.length > pattern.length - 1
      : pattern === host)
  )
}

function pathMatches({ path_type: type, path: own }: Route, path: string): boolean {
  if (type === 'exact') return path === own
  if (type === 'regex') return new RegExp(`^(?:${own})$`).test(path)
  return path === own || path.startsWith(own.endsWith('/') ? own : `${own}/`)
}

/** Larger is taken first, compared item by item. */
function rank(candidate: Route): number[] {
  const { host, path_type: type, path } = candidate
  const hostRank = host === '*' ? 0 : host.startsWith('*.') ? host.length : 1000
  const pathRank = type === 'exact' ? 10_000 : type === 'prefix' ? 1 + path.length : 0
  return [candidate.priority, hostRank, pathRank]
}

function naive(routes: readonly Route[], host: string, path: string, method: string): Route | null {
  let best: Route | null = null
  for (const candidate of routes) {
    if (!hostMatches(candidate.host, host) || !pathMatches(candidate, path)) continue
    if (candidate.methods.length > 0 && !candidate.methods.some((one) => one === method)) continue
    if (best === null || precedes(candidate, best)) best = candidate
  }
  return best
}

function precedes(a: Route, b: Route): boolean {
  const [ranksA, ranksB] = [rank(a), rank(b)]
  for (const [index, value] of ranksA.entries()) {
    const other = ranksB[index] ?? 0
    if (value !== other) return value > other
  }
  return a.route_id < b.route_id
}

// Small vocabularies, so that many routes of a table match the same request.

const host = fc.constantFrom('*', 'a.test', 'b.a.test', 'test', '*.test', '*.a.test', '*.b.a.test')
const segment = fc.constantFrom('a', 'b', 'ab', '')
const plainPath = fc.array(segment, { maxLength: 4 }).map((parts) => `/${parts.join('/')}`)
const patternPath = fc.constantFrom('/a.*', '/[ab]+', '/a/.*', '/.*b', '/(a|b)/(a|b)', '/.*', '/x')
const methods = fc.subarray([...HTTP_METHODS], { maxLength: 3 })

const aRoute = fc
  .record({
    host,
    methods,
    kind: fc.oneof(
      fc.record({ path_type: fc.constantFrom('exact', 'prefix'), path: plainPath }),
      fc.record({ path_type: fc.constant('regex'), path: patternPath }),
    ),
    priority: fc.integer({ min: -1, max: 2 }),
    id: fc.uuid({ version: 7 }),
  })
  .map(({ kind, id, ...rest }) => route({ ...rest, ...kind, route_id: id }))
const table = fc.uniqueArray(aRoute, { maxLength: 30, selector: (one) => one.route_id })
const aRequest = fc.record({
  host: fc.constantFrom(
    'a.test',
    'b.a.test',
    'c.b.a.test',
    'test',
    'other.test',
    'else',
    'xtest',
    '[::1]',
  ),
  path: plainPath,
  method: fc.constantFrom(...HTTP_METHODS),
})

describe('against a naive reference', () => {
  test('P5: the same table and request always give the same route, whatever order the table came in', () => {
    fc.assert(
      fc.property(
        table.chain((routes) =>
          fc.record({
            routes: fc.constant(routes),
            shuffled: fc.shuffledSubarray(routes, { minLength: routes.length }),
            requests: fc.array(aRequest, { minLength: 5, maxLength: 10 }),
          }),
        ),
        ({ routes, shuffled, requests }) => {
          const [one, other] = [buildRouter(routes), buildRouter(shuffled)]
          for (const request of requests) {
            const found = one.match(request.host, request.path, request.method)
            expect(other.match(request.host, request.path, request.method)).toEqual(found)
            expect(one.match(request.host, request.path, request.method)).toEqual(found)
          }
        },
      ),
      { numRuns: 1000 },
    )
  })

  test('P20: the highest priority is taken, then the most specific, and a route is found when one matches', () => {
    let found = 0
    fc.assert(
      fc.property(
        table,
        fc.array(aRequest, { minLength: 5, maxLength: 10 }),
        (routes, requests) => {
          const router = buildRouter(routes)
          for (const request of requests) {
            const expected = naive(routes, request.host, request.path, request.method)
            const match = router.match(request.host, request.path, request.method)
            if (expected !== null) {
              found += 1
              expect(match).toEqual({ kind: 'found', route: expected })
              continue
            }
            const allow = HTTP_METHODS.filter(
              (method) => naive(routes, request.host, request.path, method) !== null,
            )
            expect(match).toEqual(
              allow.length === 0 ? { kind: 'none' } : { kind: 'other_method', allow },
            )
          }
        },
      ),
      { numRuns: 2000 },
    )
    expect(found).toBeGreaterThan(2000)
  })
})

/** The function of the route taken, by the name a test gave it. */
function taken(
  routes: Record<string, Route>,
  hostName: string,
  path: string,
  method = 'GET',
): string {
  const match = buildRouter(Object.values(routes)).match(hostName, path, method)
  if (match.kind !== 'found') return match.kind
  return Object.entries(routes).find(([, one]) => one === match.route)?.[0] ?? 'unknown'
}

describe('the rules one by one', () => {
  test('a prefix ends at a segment border', () => {
    const routes = { api: route({ path: '/api' }), below: route({ path: '/only/' }) }
    expect(taken(routes, 'h', '/api')).toBe('api')
    expect(taken(routes, 'h', '/api/')).toBe('api')
    expect(taken(routes, 'h', '/api/x/y')).toBe('api')
    expect(taken(routes, 'h', '/apix')).toBe('none')
    expect(taken(routes, 'h', '/only/x')).toBe('below')
    expect(taken(routes, 'h', '/only/')).toBe('below')
    expect(taken(routes, 'h', '/only')).toBe('none')
  })

  test('a wildcard takes one or more labels below, not the name itself', () => {
    const routes = { wild: route({ host: '*.example.com' }) }
    expect(taken(routes, 'a.example.com', '/')).toBe('wild')
    expect(taken(routes, 'a.b.example.com', '/')).toBe('wild')
    expect(taken(routes, 'example.com', '/')).toBe('none')
    expect(taken(routes, 'aexample.com', '/')).toBe('none')
  })

  test('a route for every host and path with a higher priority beats an exact one', () => {
    const routes = {
      all: route({ priority: 1 }),
      exact: route({ host: 'a.test', path: '/x', path_type: 'exact' }),
    }
    expect(taken(routes, 'a.test', '/x')).toBe('all')
  })

  test('a lower route that takes the method is found behind a higher one that does not', () => {
    const routes = {
      high: route({ priority: 9, methods: ['POST'], path: '/x', path_type: 'exact' }),
      low: route({ methods: ['GET'] }),
    }
    expect(taken(routes, 'h', '/x', 'GET')).toBe('low')
    expect(taken(routes, 'h', '/x', 'POST')).toBe('high')
    expect(buildRouter(Object.values(routes)).match('h', '/x', 'PUT')).toEqual({
      kind: 'other_method',
      allow: ['GET', 'POST'],
    })
  })

  test('a route written with other characters matches the encoded path', () => {
    expect(taken({ cafe: route({ path: '/café' }) }, 'h', '/caf%C3%A9/x')).toBe('cafe')
  })

  test('a route with a bad pattern is left out and named, the others serve', () => {
    const bad = route({ path: '/(a', path_type: 'regex' })
    const good = route({})
    const router = buildRouter([bad, good])
    expect(router.match('h', '/a', 'GET')).toEqual({ kind: 'found', route: good })
    expect(router.rejected.map((one) => [one.route, one.error.code])).toEqual([
      [bad, 'invalid_field'],
    ])
  })

  test('100 000 routes are looked up without looking at them all', () => {
    const types = ['exact', 'prefix', 'regex'] as const
    const routes = Array.from({ length: 100_000 }, (_, index) => {
      const path_type = types[index % 3] ?? 'exact'
      const path = path_type === 'regex' ? `/svc${index}/[a-z]+` : `/svc${index}`
      return { ...route({ path: '/x' }), path, path_type }
    })
    const router = buildRouter(routes)
    const startedAt = performance.now()
    for (let index = 0; index < 50_000; index += 1) {
      const path = index % 3 === 2 ? `/svc${index}/x` : `/svc${index}`
      const match = router.match('h', path, 'GET')
      expect(match.kind === 'found' && match.route === routes[index]).toBe(true)
    }
    // A linear scan of 100 000 routes would take minutes.
    expect(performance.now() - startedAt).toBeLessThan(30_000)
  })
})
