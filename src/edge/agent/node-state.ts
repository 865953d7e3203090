/** The desired state of this node as last applied: the type that sync, cache and workers share. Values are never mutated. */

import { z } from 'zod'

import { revisionSchema } from '../../protocol/ids.ts'
import type { Manifest, Route } from '../../protocol/manifest.ts'
import { manifestSchema } from '../../protocol/manifest.ts'
import type { SyncAck } from '../../protocol/plan.ts'
import type { CompiledModule } from '../compiled.ts'
import type { WorkerFunction } from '../ipc.ts'
import type { Assignment } from '../table-parts.ts'

/** Why a manifest is not served. `attempts` counts tries since the control plane last asked for it. */
const failureSchema = z.strictObject({
  code: z.string(),
  message: z.string(),
  retryable: z.boolean(),
  attempts: z.int().min(1),
})

/** Invariants: `serving` or `pending` is present; `failure` is about `pending`, so it is null without one. */
export const functionEntrySchema = z.strictObject({
  /** What the workers serve; null until a first version could be loaded. */
  serving: manifestSchema.nullable(),
  /** What the control plane wants instead; null when that is `serving`. */
  pending: manifestSchema.nullable(),
  failure: failureSchema.nullable(),
})
export type FunctionEntry = z.infer<typeof functionEntrySchema>

export interface NodeState {
  /** False until the first plan was applied; a restarted node has it from its database. */
  readonly synced: boolean
  readonly revision: z.infer<typeof revisionSchema>
  readonly functions: ReadonlyMap<string, FunctionEntry>
  readonly routes: ReadonlyMap<string, Route>
  /** Results the control plane has not confirmed yet; kept with the state, so that a crash loses none. */
  readonly unacknowledged: SyncAck | null
}

export const EMPTY_STATE: NodeState = {
  synced: false,
  revision: 0,
  functions: new Map(),
  routes: new Map(),
  unacknowledged: null,
}

/** Names one cached file; versions are immutable, so the digest is not part of it. */
export function artifactKey(artifact: { function_id: string; version: number }): string {
  return `${artifact.function_id}/${artifact.version}`
}

/** Whether two manifests mean the same to a worker: all but where the bytes come from. */
export function sameManifest(a: Manifest | null, b: Manifest | null): boolean {
  if (a === null || b === null) return a === b
  return Bun.deepEquals(
    { ...a, artifact_url: '', signature: '' },
    { ...b, artifact_url: '', signature: '' },
  )
}

/** The manifest a worker is given for an entry: what is served, else what should be (fetched on demand). */
export function visibleManifest(entry: FunctionEntry): Manifest {
  const manifest = entry.serving ?? entry.pending
  if (manifest === null) throw new Error('A function entry has neither serving nor pending.')
  return manifest
}

export function workerFunction(
  manifest: Manifest,
  slot: number,
  path: string | null,
  compiled: CompiledModule | null,
): WorkerFunction {
  const { artifact_url: _url, signature: _signature, ...rest } = manifest
  return { ...rest, slot, path, compiled }
}

/** Makes the rows of functions, and the same object of a manifest as long as nothing else changes: what changed is what workers are sent. */
export class WorkerRows {
  readonly #rows = new WeakMap<Manifest, WorkerFunction>()

  of(
    manifest: Manifest,
    slot: number,
    path: string | null,
    compiled: CompiledModule | null,
  ): WorkerFunction {
    const known = this.#rows.get(manifest)
    if (known?.slot === slot && known.path === path && known.compiled === compiled) return known
    const row = workerFunction(manifest, slot, path, compiled)
    this.#rows.set(manifest, row)
    return row
  }
}

/**
 * The table for the workers. A function that could not be loaded yet is in it with `path: null`, so its routes answer 503
 * or fetch on demand [R4.3]; functions without a slot and routes to functions this node does not hold are left out.
 */
export function tableOf(
  state: NodeState,
  slotOf: (functionId: string) => number | null,
  pathOf: (manifest: Manifest) => string | null,
  compiledOf: (manifest: Manifest) => CompiledModule | null,
  rows = new WorkerRows(),
): Assignment {
  const functions = new Map<string, WorkerFunction>()
  for (const [functionId, entry] of state.functions) {
    const slot = slotOf(functionId)
    if (slot === null) continue
    const path = entry.serving === null ? null : pathOf(entry.serving)
    const manifest = visibleManifest(entry)
    functions.set(functionId, rows.of(manifest, slot, path, compiledOf(manifest)))
  }
  const routes = new Map<string, Route>()
  for (const [routeId, route] of state.routes) {
    if (functions.has(route.function_id)) routes.set(routeId, route)
  }
  return { revision: state.revision, functions, routes }
}

/** Keys of every artifact the state refers to; none of them may be evicted. */
export function keysInUse(state: NodeState): Set<string> {
  const keys = new Set<string>()
  for (const { serving, pending } of state.functions.values()) {
    if (serving !== null) keys.add(artifactKey(serving))
    if (pending !== null) keys.add(artifactKey(pending))
  }
  return keys
}
