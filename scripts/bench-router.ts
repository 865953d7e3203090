/**
 * What routing costs by the number of routes: nanoseconds for each look-up and milliseconds to build the table.
 * Usage: bun scripts/bench-router.ts
 *
 * Every table is asked with as many different requests as it has routes, up to 4096, each path cut fresh out of a URL as it is
 * in a request. Rounds of all tables are interleaved; medians are printed.
 */

import { buildRouter, type Router } from '../src/edge/worker/router/router.ts'
import { functionIdSchema, routeIdSchema } from '../src/protocol/ids.ts'
import type { Route } from '../src/protocol/manifest.ts'

const SIZES = [1, 100, 10_000, 100_000] as const
const requestsMax = 4096
const lookupsPerRound = 50_000
const rounds = 15
const buildsPerTable = 5

interface Case {
  readonly host: string
  readonly url: string
  readonly pathAt: number
}

interface Kind {
  route(index: number): Pick<Route, 'host' | 'path' | 'path_type'>
  host(index: number): string
  path(index: number): string
}

const KINDS: Readonly<Record<string, Kind>> = {
  'exact, one host': {
    route: (n) => ({ host: 'api.test', path: `/service/${n}`, path_type: 'exact' }),
    host: () => 'api.test',
    path: (n) => `/service/${n}`,
  },
  'exact, a host each': {
    route: (n) => ({ host: `f${n}.test`, path: '/hello', path_type: 'exact' }),
    host: (n) => `f${n}.test`,
    path: () => '/hello',
  },
  'prefix, any host': {
    route: (n) => ({ host: '*', path: `/service/${n}`, path_type: 'prefix' }),
    host: () => 'api.test',
    path: (n) => `/service/${n}/orders/17`,
  },
  'prefix, a host each': {
    route: (n) => ({ host: `f${n}.test`, path: '/', path_type: 'prefix' }),
    host: (n) => `f${n}.test`,
    path: () => '/orders/17',
  },
  wildcard: {
    route: (n) => ({ host: `*.f${n}.test`, path: '/', path_type: 'prefix' }),
    host: (n) => `www.f${n}.test`,
    path: () => '/orders/17',
  },
  'regex, any host': {
    route: (n) => ({ host: '*', path: `/service/${n}/[a-z]+/[0-9]{1,5}`, path_type: 'regex' }),
    host: () => 'api.test',
    path: (n) => `/service/${n}/orders/17`,
  },
  mixed: {
    route: (n) => mixedKind(n).route(n),
    host: (n) => mixedKind(n).host(n),
    path: (n) => mixedKind(n).path(n),
  },
}

/** Of sixteen routes twelve exact ones, two prefixes, a wildcard and a pattern. */
function mixedKind(index: number): Kind {
  const place = index % 16
  const names = ['prefix, any host', 'prefix, any host', 'wildcard', 'regex, any host']
  const name =
    place >= 12 ? names[place - 12] : place % 2 === 0 ? 'exact, one host' : 'exact, a host each'
  const kind = KINDS[name ?? '']
  if (kind === undefined) throw new Error(`No kind ${name}.`)
  return kind
}

function routesOf(kind: Kind, count: number): Route[] {
  return Array.from({ length: count }, (_, index) => ({
    ...kind.route(index),
    route_id: routeIdSchema.parse(Bun.randomUUIDv7()),
    methods: [],
    priority: 0,
    function_id: functionIdSchema.parse(Bun.randomUUIDv7()),
  }))
}

/** Requests for routes all over the table, in an order that is not that of its memory. */
function casesOf(kind: Kind, count: number): Case[] {
  const length = Math.min(count, requestsMax)
  return Array.from({ length }, (_, at) => {
    const index = (at * 7919 * Math.ceil(count / length)) % count
    const origin = `http://${kind.host(index)}`
    return { host: kind.host(index), url: `${origin}${kind.path(index)}?q`, pathAt: origin.length }
  })
}

function nsPerLookup(router: Router, cases: readonly Case[]): number {
  const startedAt = Bun.nanoseconds()
  let found = 0
  for (let at = 0; at < lookupsPerRound; at += 1) {
    const each = cases[at % cases.length]
    if (each === undefined) break
    const path = each.url.slice(each.pathAt, -2)
    if (router.match(each.host, path, 'GET').kind === 'found') found += 1
  }
  if (found !== lookupsPerRound)
    throw new Error(`${lookupsPerRound - found} look-ups found nothing.`)
  return (Bun.nanoseconds() - startedAt) / lookupsPerRound
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN
}

function buildMs(routes: readonly Route[]): number {
  const times = Array.from({ length: buildsPerTable }, () => {
    const startedAt = performance.now()
    buildRouter(routes)
    return performance.now() - startedAt
  })
  return median(times)
}

console.log(
  `${'ns per look-up'.padEnd(22)}${SIZES.map((n) => String(n).padStart(10)).join('')}   ms to build ${SIZES.at(-1)}`,
)
for (const [name, kind] of Object.entries(KINDS)) {
  const tables = SIZES.map((count) => {
    const routes = routesOf(kind, count)
    return { routes, router: buildRouter(routes), cases: casesOf(kind, count), ns: [] as number[] }
  })
  for (let round = 0; round < rounds; round += 1) {
    for (const table of tables) table.ns.push(nsPerLookup(table.router, table.cases))
  }
  const cells = tables.map(({ ns }) => median(ns).toFixed(0).padStart(10)).join('')
  const largest = tables.at(-1)?.routes ?? []
  console.log(`${name.padEnd(22)}${cells}   ${buildMs(largest).toFixed(0).padStart(8)}`)
}
