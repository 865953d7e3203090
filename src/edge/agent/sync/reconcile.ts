/** From a state and a plan to the next state: pure and idempotent, so a plan that arrives twice changes nothing (DESIGN 7). */

import { LIMITS } from '../../../protocol/limits.ts'
import type { Manifest } from '../../../protocol/manifest.ts'
import type { PlanAsRead } from '../../../protocol/lenient.ts'
import type { FunctionResult, SyncAck } from '../../../protocol/plan.ts'
import type { SchemaResult } from '../../../protocol/schemas.ts'
import { VERSION } from '../../../version.ts'
import type { EdgefnError } from '../../../errors.ts'
import type { FunctionEntry, NodeState } from '../node-state.ts'
import { sameManifest } from '../node-state.ts'
import { keepNamed, putSchema } from '../schemas/schema-state.ts'

/** `stale`: the node is further already. `gap`: the plan starts after where the node is; it needs a full one. */
export type Reconciled =
  { readonly outcome: 'next'; readonly state: NodeState } | { readonly outcome: 'stale' | 'gap' }

/**
 * Applies a plan to a state. Never goes a step backwards, except by a full plan, which is the whole truth (a control plane
 * restored from a backup). Functions that must be loaded become `pending` beside what is served.
 */
export function reconcile(state: NodeState, plan: PlanAsRead): Reconciled {
  if (!plan.full && plan.revision < state.revision) return { outcome: 'stale' }
  if (!plan.full && plan.base_revision > state.revision) return { outcome: 'gap' }
  const functions = new Map(state.functions)
  const routes = new Map(state.routes)
  const schemas = plan.full ? keepNamed(state.schemas, plan) : new Map(state.schemas)
  if (plan.full) dropUnnamed(plan, functions, routes)
  for (const action of plan.actions) {
    switch (action.action) {
      case 'put_schema': {
        const { function_id } = action.schema
        schemas.set(function_id, putSchema(schemas.get(function_id) ?? [], action.schema))
        break
      }
      case 'put_function': {
        const { function_id } = action.function
        functions.set(function_id, putFunction(functions.get(function_id), action.function))
        break
      }
      case 'put_route': {
        const { route } = action
        if (!Bun.deepEquals(routes.get(route.route_id), route)) routes.set(route.route_id, route)
        break
      }
      case 'remove_route':
        routes.delete(action.route_id)
        break
      case 'remove_function':
        functions.delete(action.function_id)
        schemas.delete(action.function_id)
        break
    }
  }
  const unread = (plan.unread ?? []).length > 0
  const unread_by = unread ? VERSION : plan.full ? null : state.unread_by
  const { revision } = plan
  const next = { ...state, synced: true, revision, functions, routes, schemas, unread_by }
  return { outcome: 'next', state: next }
}

/** What an action that could not be read is about is named as well: it stays as it is. */
function dropUnnamed(
  plan: PlanAsRead,
  functions: Map<string, unknown>,
  routes: Map<string, unknown>,
): void {
  const named = new Set<string>()
  for (const action of plan.actions) {
    if (action.action === 'put_function') named.add(action.function.function_id)
    if (action.action === 'put_route') named.add(action.route.route_id)
  }
  for (const { subject } of plan.unread ?? []) if (subject !== null) named.add(subject)
  for (const id of functions.keys()) if (!named.has(id)) functions.delete(id)
  for (const id of routes.keys()) if (!named.has(id)) routes.delete(id)
}

function putFunction(entry: FunctionEntry | undefined, manifest: Manifest): FunctionEntry {
  if (entry === undefined) return { serving: null, pending: manifest, failure: null }
  if (sameManifest(entry.serving, manifest)) {
    // Only the URL is news; kept for a later fetch of the same bytes.
    return { serving: manifest, pending: null, failure: null }
  }
  // Asked for again while it is being tried, or after it failed: the tries and their count go on.
  const same = sameManifest(entry.pending, manifest)
  return { serving: entry.serving, pending: manifest, failure: same ? entry.failure : null }
}

/** What became of a try to bring a pending manifest into service: null, or why not. */
export type Outcomes = ReadonlyMap<string, EdgefnError | null>

/** The state after tries: what worked is served now, what did not leaves the old version in place (SPEC 2, E11.2). */
export function settle(state: NodeState, outcomes: Outcomes): NodeState {
  if (outcomes.size === 0) return state
  const functions = new Map(state.functions)
  for (const [functionId, error] of outcomes) {
    const entry = functions.get(functionId)
    if (entry?.pending == null) continue
    if (error === null) {
      functions.set(functionId, { serving: entry.pending, pending: null, failure: null })
      continue
    }
    const { code, message, retryable } = error
    const attempts = (entry.failure?.attempts ?? 0) + 1
    functions.set(functionId, { ...entry, failure: { code, message, retryable, attempts } })
  }
  return { ...state, functions }
}

/** Whether the tries for this entry are over for now, so that its result can be reported [R3.5]. */
export function isSettled(entry: FunctionEntry): boolean {
  if (entry.pending === null) return true
  if (entry.failure === null) return false
  return !entry.failure.retryable || entry.failure.attempts >= LIMITS.fetchAttemptsMax
}

/** The result to report for an entry; null while it is not settled. */
export function resultOf(entry: FunctionEntry): FunctionResult | null {
  if (!isSettled(entry)) return null
  const manifest = entry.pending ?? entry.serving
  if (manifest === null) return null
  const { function_id, version, deployment_id } = manifest
  const of = { function_id, version, deployment_id }
  if (entry.failure === null) return { ...of, state: 'deployed', error: null }
  const error = {
    code: entry.failure.code.slice(0, 100) || 'internal',
    message: entry.failure.message.slice(0, 2000),
  }
  return { ...of, state: 'failed', error }
}

/** Kinds of actions in one acknowledgement. */
export const skippedMax = 100

/** Adds results to those not yet confirmed; the newer result of a function replaces the older. */
export function mergeAck(earlier: SyncAck | null, later: SyncAck): SyncAck {
  if (earlier === null) return later
  const results = new Map<string, FunctionResult>()
  for (const result of [...earlier.results, ...later.results]) {
    results.set(result.function_id, result)
  }
  const skipped = [...new Set([...(earlier.skipped ?? []), ...(later.skipped ?? [])])]
  return {
    base_revision: Math.min(earlier.base_revision, later.base_revision),
    revision: later.revision,
    results: [...results.values()],
    ...(skipped.length === 0 ? {} : { skipped: skipped.slice(0, skippedMax) }),
    ...mergedSchemas(earlier, later),
    duration_ms: Math.min(LIMITS.syncMsMax, earlier.duration_ms + later.duration_ms),
  }
}

function mergedSchemas(earlier: SyncAck, later: SyncAck): Pick<SyncAck, 'schemas'> {
  const schemas = new Map<string, SchemaResult>()
  for (const result of [...(earlier.schemas ?? []), ...(later.schemas ?? [])]) {
    schemas.set(`${result.function_id}/${result.number}`, result)
  }
  return schemas.size === 0 ? {} : { schemas: [...schemas.values()] }
}

/** Splits an acknowledgement whose body would be over `bytesMax` into several of the same revision. */
export function splitAck(ack: SyncAck, bytesMax: number): SyncAck[] {
  interface Part {
    readonly results: FunctionResult[]
    readonly schemas: SchemaResult[]
  }
  const parts: Part[] = [{ results: [], schemas: [] }]
  let bytes = 0
  const room = (result: unknown): Part => {
    const size = Buffer.byteLength(JSON.stringify(result)) + 1
    if (bytes + size > bytesMax && bytes > 0) {
      parts.push({ results: [], schemas: [] })
      bytes = 0
    }
    bytes += size
    return parts.at(-1) as Part
  }
  for (const result of ack.results) room(result).results.push(result)
  for (const result of ack.schemas ?? []) room(result).schemas.push(result)
  const { schemas: _schemas, ...head } = ack
  return parts.map(({ results, schemas }) => {
    return { ...head, results, ...(schemas.length === 0 ? {} : { schemas }) }
  })
}
