/** Tables on their way to a worker: whatever changes between them, and however many parts that takes, what arrives is what was sent. */

import { expect, test } from 'bun:test'

import fc from 'fast-check'

import { tablePartSchema, type WorkerFunction } from '../../src/edge/ipc.ts'
import { type Assignment, partsOf, TableRows } from '../../src/edge/table-parts.ts'
import type { Route } from '../../src/protocol/manifest.ts'
import { aFunction, aRoute } from './worker/ingress/harness.ts'

const FUNCTIONS = Array.from({ length: 40 }, (_, slot) => [
  aFunction({ slot }),
  aFunction({ slot }),
])
const forms = FUNCTIONS.map(([one, other]) => {
  const [a, b] = [one as WorkerFunction, other as WorkerFunction]
  return [a, { ...b, function_id: a.function_id, key: a.key, version: 2 }] as const
})
const routes = Array.from({ length: 1500 }, () => aRoute(forms[0]?.[0] as WorkerFunction))

function tableOf(revision: number, picked: readonly WorkerFunction[], lines: readonly Route[]) {
  return {
    revision,
    preview_domain: null,
    functions: new Map(picked.map((fn) => [fn.key, fn])),
    routes: new Map(lines.map((route) => [route.route_id as string, route])),
  }
}

const aTable = fc
  .record({
    functions: fc.subarray(forms.map((_, index) => index)),
    form: fc.nat(1),
    // From none to all of them, so that some tables take several parts.
    from: fc.nat(routes.length),
    until: fc.nat(routes.length),
  })
  .map(({ functions, form, from, until }) =>
    tableOf(
      1 + from,
      functions.map((index) => forms[index]?.[index % 3 === 0 ? form : 0] as WorkerFunction),
      routes.slice(from, until),
    ),
  )

function contents({ functions, routes: lines }: Pick<Assignment, 'functions' | 'routes'>) {
  const inOrder = (ids: Iterable<string>) => [...ids].sort()
  return {
    functions: inOrder([...functions.values()].map((fn) => `${fn.function_id} ${fn.version}`)),
    routes: inOrder(lines.keys()),
  }
}

test('a worker has the table that was sent, after each of a row of tables', () => {
  let several = 0
  fc.assert(
    fc.property(fc.array(aTable, { minLength: 1, maxLength: 4 }), (tables) => {
      const rows = new TableRows()
      let known: Assignment | null = null
      for (const table of tables) {
        const parts = [...partsOf(known, table)]
        if (parts.length > 1) several += 1
        expect(parts.map(({ last }) => last)).toEqual(parts.map((_, at) => at === parts.length - 1))
        for (const part of parts) rows.take(part)
        expect(contents(rows)).toEqual(contents(table))
        known = table
      }
    }),
    { numRuns: 100 },
  )
  expect(several).toBeGreaterThan(50)
})

test('a part is small, whatever a table has, and its message is one of the protocol', () => {
  const env = Object.fromEntries(Array.from({ length: 64 }, (_, n) => [`V${n}`, 'x'.repeat(4096)]))
  const table = tableOf(
    1,
    forms.map(([fn]) => ({ ...fn, env })),
    routes,
  )
  for (const part of partsOf(null, table)) {
    expect(JSON.stringify(tablePartSchema.parse(part)).length).toBeLessThan(3 * 2 ** 20)
  }
})

test('what has not changed is not sent again', () => {
  const fns = forms.map(([fn]) => fn)
  const table = tableOf(1, fns, routes)
  const fewer = tableOf(2, fns.slice(1), routes.slice(2))
  const parts = [...partsOf(table, fewer)]
  expect(parts.map((part) => [part.functions.length, part.routes.length])).toEqual([[0, 0]])
  expect(parts[0]?.gone_functions).toEqual([fns[0]?.function_id as WorkerFunction['function_id']])
  expect(parts[0]?.gone_routes).toHaveLength(2)
})

test('which rows are sent is known at the beginning, whatever becomes of the maps', () => {
  const fns = forms.map(([fn]) => fn)
  const table = tableOf(1, fns, routes)
  const rows = new TableRows()
  for (const part of partsOf(null, table)) {
    rows.take(part)
    table.functions.clear()
  }
  expect(rows.functions.size).toBe(fns.length)
})

test('a function that gets another form while the parts are sent is sent in that one, or was sent before', () => {
  const many = Array.from({ length: 200 }, (_, index) => ({
    ...aFunction(),
    slot: index,
    quota_slot: index,
  }))
  const table = tableOf(1, many, [])
  const upgraded = many.map((fn) => ({ ...fn, path: '/another' }))
  const rows = new TableRows()
  let parts = 0
  for (const part of partsOf(null, table)) {
    rows.take(part)
    parts += 1
    if (parts > 1) continue
    for (const fn of upgraded) {
      table.functions.set(fn.key, fn)
      // As the worker does when it is told.
      if (rows.functions.has(fn.key)) rows.functions.set(fn.key, fn)
    }
  }
  expect(parts).toBeGreaterThan(1)
  expect([...rows.functions.values()]).toEqual(upgraded)
})
