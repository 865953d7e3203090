/**
 * A table on its way from the agent to a worker: what changed since the last one, in parts that each take about a millisecond.
 * The worker answers every part before it gets the next, and serves requests in between. 100 000 routes in one message
 * held up its listener for 200 ms.
 */

import type { Route } from '../protocol/manifest.ts'
import type { TablePart, WorkerFunction } from './ipc.ts'

/** What a worker is to serve: functions by their place in the table (`WorkerFunction.key`), routes by their id. */
export interface Assignment {
  readonly revision: number
  readonly functions: ReadonlyMap<string, WorkerFunction>
  readonly routes: ReadonlyMap<string, Route>
  /** Domain below which hosts name a version to preview; null: none. */
  readonly preview_domain: string | null
}

/** Rows of one part; a function counts for more, and for each of its variables, which may have 4 KiB. */
const rowsMax = 200
const functionRows = 4

/**
 * The parts that make `table` of `known`, the table that the worker has; at least one. Null: it has none. A function that gets
 * another form meanwhile goes as it is when its part is made: of an earlier change the worker has been told already.
 */
export function* partsOf(known: Assignment | null, table: Assignment): Generator<TablePart> {
  // Written down at once: the parts are sent over a time in which the maps may change.
  const functions = changed(known?.functions, table.functions)
  const routes = changed(known?.routes, table.routes)
  const goneFunctions = gone(known?.functions, table.functions).map((fn) => fn.key)
  const goneRoutes = gone(known?.routes, table.routes).map((route) => route.route_id)
  const base = known === null ? 'nothing' : 'last'
  for (;;) {
    let room = rowsMax
    const take = <Row>(rows: Row[], weight: (row: Row) => number): Row[] => {
      let count = 0
      for (; count < rows.length && room > 0; count += 1) room -= weight(rows[count] as Row)
      return rows.splice(0, count)
    }
    const one = () => 1
    const weightOf = ({ env }: WorkerFunction) => functionRows + Object.keys(env).length
    const part = {
      gone_functions: take(goneFunctions, one),
      gone_routes: take(goneRoutes, one),
      functions: take(functions, weightOf).map((fn) => table.functions.get(fn.key) ?? fn),
      routes: take(routes, one),
    }
    const last = room > 0 || [goneFunctions, goneRoutes, functions, routes].every(isEmpty)
    const { revision, preview_domain } = table
    yield { type: 'assign', revision, base, ...part, preview_domain, last }
    if (last) return
  }
}

/** The rows of a worker, as parts make them. */
export class TableRows {
  readonly functions = new Map<string, WorkerFunction>()
  readonly routes = new Map<string, Route>()
  preview_domain: string | null = null
  readonly #hosts = new Map<string, string>()
  #between = true

  /** Takes a part in. Whether it was the last one of a table is in the part. */
  take(part: TablePart): void {
    if (this.#between && part.base === 'nothing') {
      this.functions.clear()
      this.routes.clear()
    }
    // Hosts that no route has any more would stay for ever.
    if (this.#between && this.#hosts.size > this.routes.size) this.#hosts.clear()
    this.#between = part.last
    this.preview_domain = part.preview_domain
    for (const id of part.gone_functions) this.functions.delete(id)
    for (const id of part.gone_routes) this.routes.delete(id)
    for (const fn of part.functions) this.functions.set(fn.key, fn)
    for (const route of part.routes) this.routes.set(route.route_id, this.#small(route))
  }

  /** The route with what it shares with others as one object, instead of one from each message: half of what it takes. */
  #small(route: Route): Route {
    const methods = route.methods.length === 0 ? noMethods : route.methods
    const { function_id } = this.functions.get(route.function_id) ?? route
    const earlier = this.#hosts.get(route.host)
    if (earlier === undefined) this.#hosts.set(route.host, route.host)
    return { ...route, host: earlier ?? route.host, function_id, methods }
  }
}

const noMethods: Route['methods'] = []

type Rows<Row> = ReadonlyMap<string, Row>

/** Rows are never mutated, so one that is the same object has not changed. */
function changed<Row>(known: Rows<Row> | undefined, rows: Rows<Row>): Row[] {
  const found: Row[] = []
  if (known === rows) return found
  for (const [id, row] of rows) if (known?.get(id) !== row) found.push(row)
  return found
}

function gone<Row>(known: Rows<Row> | undefined, rows: Rows<Row>): Row[] {
  const found: Row[] = []
  if (known === undefined || known === rows) return found
  for (const [id, row] of known) if (!rows.has(id)) found.push(row)
  return found
}

function isEmpty(rows: readonly unknown[]): boolean {
  return rows.length === 0
}
