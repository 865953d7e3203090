/** The rules of routes: every change is one transaction with its revision, its audit row and its notices [R9 P22]. */

import { EdgefnError } from '../../errors.ts'
import type { RouteCreation, RouteUpdate, RouteView } from '../../protocol/api.ts'
import type { FunctionId, NodeId, RouteId } from '../../protocol/ids.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { HTTP_METHODS } from '../../protocol/http-methods.ts'
import type { Method } from '../../protocol/manifest.ts'
import { overlapsPops, selectsPop } from '../../protocol/selector.ts'
import type { RouteDetail } from '../../protocol/syncs.ts'
import type { RecordAudit } from '../audit/audit.ts'
import type { RequestContext } from '../context.ts'
import type { Database, Sql, Transaction } from '../db/database.ts'
import type { FunctionLookup } from '../lookup.ts'
import type { EnqueueNotices, NextRevision } from '../outbox/notices.ts'
import { nodesServing } from '../serving-nodes.ts'
import { checkPath, type ValidatePattern } from './path.ts'
import { readDelivery } from './delivery.ts'
import type { RouteQuery, StoredRouteRow } from './schema.ts'
import {
  buryRoute,
  countRoutes,
  getRoute,
  listRoutes,
  liveRoutesOf,
  putRoute,
  sameSpot,
  toFields,
} from './store.ts'

export interface RouteDeps {
  readonly db: Database
  readonly functions: FunctionLookup
  readonly audit: RecordAudit
  readonly nextRevision: NextRevision
  readonly enqueueNotices: EnqueueNotices
  readonly validatePattern: ValidatePattern
}

export interface RouteService {
  /** Throws `function_not_found`, `invalid_field` for the path, `conflict` naming the route that is in the way. */
  create(context: RequestContext, body: RouteCreation): Promise<RouteView>
  /** Throws what `create` throws and changes nothing. A function that is not there is taken for one that is yet to be made. */
  check(body: RouteCreation): Promise<void>
  list(query: RouteQuery): Promise<{ items: RouteView[]; next_cursor: string | null }>
  /** Throws `route_not_found`. */
  get(id: RouteId): Promise<RouteDetail>
  update(context: RequestContext, id: RouteId, body: RouteUpdate): Promise<RouteView>
  remove(context: RequestContext, id: RouteId): Promise<void>
  /** For the deletion of a function: buries its routes under a revision; the caller sends the notices. */
  removeOfFunction(
    tx: Transaction,
    context: RequestContext,
    functionId: FunctionId,
    revision: number,
  ): Promise<void>
}

export function createRoutes(deps: RouteDeps): RouteService {
  return {
    create: (context, body) => deps.db.write((tx) => createRoute(deps, tx, context, body)),

    check: (body) => checkRoute(deps, body),

    list: async (query) => {
      const wanted =
        query.function === undefined ? null : await deps.functions.resolve(deps.db, query.function)
      const rows = await listRoutes(deps.db, {
        function_id: wanted?.id ?? null,
        host: query.host ?? null,
        after: query.cursor ?? null,
        rows_max: query.limit + 1,
      })
      const page = rows.slice(0, query.limit)
      return {
        items: await toViews(deps.db, page),
        next_cursor: rows.length > page.length ? (page.at(-1)?.id ?? null) : null,
      }
    },

    get: async (id) => {
      const row = await requireRoute(deps.db, id)
      const delivery = await readDelivery(deps.db, [row.function_id])
      return { ...toFields(row), delivery: delivery.countOf(row), nodes: delivery.nodesOf(row) }
    },

    update: (context, id, body) => deps.db.write((tx) => updateRoute(deps, tx, context, id, body)),

    remove: (context, id) =>
      deps.db.write(async (tx) => {
        const old = await requireRoute(tx, id)
        const revision = await deps.nextRevision(tx)
        await buryRoute(tx, id, revision, new Date().toISOString())
        await record(deps, tx, context, 'delete', old, null)
        await notify(deps, tx, revision, [old])
      }),

    removeOfFunction: async (tx, context, functionId, revision) => {
      for (const route of await liveRoutesOf(tx, functionId)) {
        await buryRoute(tx, route.id, revision, new Date().toISOString())
        await record(deps, tx, context, 'delete', route, null)
      }
    },
  }
}

async function createRoute(
  deps: RouteDeps,
  tx: Transaction,
  context: RequestContext,
  body: RouteCreation,
): Promise<RouteView> {
  await refuseUnfit(deps, tx, body)
  const target = await deps.functions.resolve(tx, body.function)
  const row = newRow(body, target, await deps.nextRevision(tx))
  await refuseConflict(tx, row)
  await putRoute(tx, row)
  await record(deps, tx, context, 'create', null, row)
  await notify(deps, tx, row.revision, [row])
  return toView(tx, row)
}

async function checkRoute(deps: RouteDeps, body: RouteCreation): Promise<void> {
  await refuseUnfit(deps, deps.db, body)
  const target = await deps.functions.resolve(deps.db, body.function).catch((error: unknown) => {
    if (!(error instanceof EdgefnError) || error.code !== 'function_not_found') throw error
    return { id: Bun.randomUUIDv7() as FunctionId, name: body.function }
  })
  await refuseConflict(deps.db, newRow(body, target, 0))
}

/** What a route may not be, whatever others there are. */
async function refuseUnfit(deps: RouteDeps, sql: Sql, body: RouteCreation): Promise<void> {
  checkPath(body.path, body.path_type, deps.validatePattern)
  if ((await countRoutes(sql)) >= LIMITS.routesMax) {
    throw new EdgefnError('conflict', `There are ${LIMITS.routesMax} routes, which is the most.`)
  }
}

function newRow(
  body: RouteCreation,
  target: { readonly id: FunctionId; readonly name: string },
  revision: number,
): StoredRouteRow {
  const now = new Date().toISOString()
  return {
    id: Bun.randomUUIDv7() as RouteId,
    host: body.host,
    path: body.path,
    path_type: body.path_type,
    methods: methodsJson(body.methods),
    function_id: target.id,
    function_name: target.name,
    pop_selector: body.pop_selector,
    priority: body.priority,
    revision,
    created_at: now,
    updated_at: now,
  }
}

async function updateRoute(
  deps: RouteDeps,
  tx: Transaction,
  context: RequestContext,
  id: RouteId,
  body: RouteUpdate,
): Promise<RouteView> {
  const old = await requireRoute(tx, id)
  const target =
    body.function === undefined
      ? { id: old.function_id, name: old.function_name }
      : await deps.functions.resolve(tx, body.function)
  const row: StoredRouteRow = {
    ...old,
    host: body.host ?? old.host,
    path: body.path ?? old.path,
    path_type: body.path_type ?? old.path_type,
    methods: body.methods === undefined ? old.methods : methodsJson(body.methods),
    function_id: target.id,
    function_name: target.name,
    pop_selector: body.pop_selector === undefined ? old.pop_selector : body.pop_selector,
    priority: body.priority ?? old.priority,
    revision: await deps.nextRevision(tx),
    updated_at: new Date().toISOString(),
  }
  checkPath(row.path, row.path_type, deps.validatePattern)
  await refuseConflict(tx, row)
  await putRoute(tx, row)
  await record(deps, tx, context, 'update', old, row)
  await notify(deps, tx, row.revision, [old, row])
  return toView(tx, row)
}

async function toViews(sql: Sql, rows: readonly StoredRouteRow[]): Promise<RouteView[]> {
  const functionIds = rows.map((row) => row.function_id)
  const { countOf } = await readDelivery(sql, functionIds)
  return rows.map((row) => ({ ...toFields(row), delivery: countOf(row) }))
}

async function toView(sql: Sql, row: StoredRouteRow): Promise<RouteView> {
  const { countOf } = await readDelivery(sql, [row.function_id])
  return { ...toFields(row), delivery: countOf(row) }
}

async function requireRoute(sql: Sql, id: RouteId): Promise<StoredRouteRow> {
  const row = await getRoute(sql, id)
  if (row === null) throw new EdgefnError('route_not_found', `No route has the id ${id}.`)
  return row
}

/** In one order and without repeats, so that equal sets are equal text. */
function methodsJson(methods: readonly Method[]): string {
  return JSON.stringify(HTTP_METHODS.filter((method) => methods.includes(method)))
}

/**
 * Two functions for the very same requests on one node would be a matter of chance, and the same route twice would stay when
 * one of them is deleted: refused, naming the other route.
 */
async function refuseConflict(sql: Sql, row: StoredRouteRow): Promise<void> {
  const methods = JSON.parse(row.methods) as Method[]
  for (const other of await sameSpot(sql, row)) {
    if (!overlapsPops(row.pop_selector, other.pop_selector)) continue
    if (other.function_id === row.function_id) {
      const isTwin = other.methods === row.methods && other.pop_selector === row.pop_selector
      if (!isTwin) continue
    }
    const taken = JSON.parse(other.methods) as Method[]
    const overlap =
      methods.length === 0 || taken.length === 0 || methods.some((method) => taken.includes(method))
    if (!overlap) continue
    throw new EdgefnError(
      'conflict',
      `Route ${other.id} sends ${row.host} ${row.path} (${row.path_type}, priority ${row.priority}) to function ` +
        `${other.function_name} already; give this one another priority, or change that one.`,
      { details: { route_id: other.id, function_id: other.function_id } },
    )
  }
}

/** Tells the nodes that serve the function and that the route, as it was or as it is, is meant for. */
async function notify(
  deps: RouteDeps,
  tx: Transaction,
  revision: number,
  routes: readonly StoredRouteRow[],
): Promise<void> {
  const affected = new Set<NodeId>()
  for (const route of routes) {
    for (const node of await nodesServing(tx, route.function_id)) {
      if (selectsPop(route.pop_selector, node.pop_id)) affected.add(node.node_id)
    }
  }
  await deps.enqueueNotices(tx, {
    node_ids: [...affected],
    revision,
    type: 'routes',
    function_id: null,
    deployment_id: null,
  })
}

async function record(
  deps: RouteDeps,
  tx: Transaction,
  context: RequestContext,
  operation: 'create' | 'update' | 'delete',
  before: StoredRouteRow | null,
  after: StoredRouteRow | null,
): Promise<void> {
  await deps.audit(tx, context, {
    resource_type: 'route',
    resource_id: (after ?? before)?.id ?? '',
    operation,
    before: before === null ? null : toFields(before),
    after: after === null ? null : toFields(after),
  })
}
