/** The desired state of this node as last applied: the type that sync, cache and workers share. Values are never mutated. */

import { z } from 'zod'

import { revisionSchema } from '../../protocol/ids.ts'
import type { Manifest, Route } from '../../protocol/manifest.ts'
import { armsOf, manifestSchema } from '../../protocol/manifest.ts'
import type { SyncAck } from '../../protocol/plan.ts'
import type { CompiledModule } from '../compiled.ts'
import { armKey, type SplitRow, type WorkerFunction } from '../ipc.ts'
import type { Assignment } from '../table-parts.ts'
import type { SchemaSets } from './schemas/schema-state.ts'
import type { ArmSlots } from './supervise/arms.ts'

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
  /** By function; none of one without schemas. */
  readonly schemas: SchemaSets
  /** Results the control plane has not confirmed yet; kept with the state, so that a crash loses none. */
  readonly unacknowledged: SyncAck | null
  /** The version of edgefn that left out actions it could not read; another one asks for everything anew. */
  readonly unread_by: string | null
}

export const EMPTY_STATE: NodeState = {
  synced: false,
  revision: 0,
  functions: new Map(),
  routes: new Map(),
  schemas: new Map(),
  unacknowledged: null,
  unread_by: null,
}

/** Names one version of a function, and so its cached file; versions are immutable, so the digest is not part of it. */
export const artifactKey = armKey

/** Whether two manifests mean the same to a worker: all but where the bytes come from. */
export function sameManifest(a: Manifest | null, b: Manifest | null): boolean {
  if (a === null || b === null) return a === b
  return Bun.deepEquals(meaningOf(a), meaningOf(b))
}

function meaningOf(manifest: Manifest): unknown {
  const { artifact_url: _url, signature: _signature, split, ...rest } = manifest
  if (split === undefined) return rest
  const arms = split.arms.map((arm) => ({ ...arm, function: meaningOf(arm.function) }))
  return { ...rest, split: { ...split, arms } }
}

/** The manifest a worker is given for an entry: what is served, else what should be (fetched on demand). */
export function visibleManifest(entry: FunctionEntry): Manifest {
  const manifest = entry.serving ?? entry.pending
  if (manifest === null) throw new Error('A function entry has neither serving nor pending.')
  return manifest
}

/** Where a row stands in the table, and what else leads from there; a version by itself unless told otherwise. */
interface RowPlace {
  readonly key: string
  readonly split: SplitRow | null
}

export function workerFunction(
  manifest: Manifest,
  slots: ArmSlots,
  path: string | null,
  compiled: CompiledModule | null,
  place: RowPlace = { key: manifest.function_id, split: null },
): WorkerFunction {
  const { artifact_url: _url, signature: _signature, split: _split, secrets, ...rest } = manifest
  // To a guest a secret is a variable like any other.
  return { ...rest, env: { ...rest.env, ...secrets }, ...slots, ...place, path, compiled }
}

function splitRow({ version, split }: Manifest): SplitRow | null {
  if (split === undefined) return null
  const arms = [
    { version, weight: split.weight },
    ...split.arms.map((arm) => ({ version: arm.function.version, weight: arm.weight })),
  ]
  return { sticky: split.sticky, arms: arms.sort((a, b) => a.version - b.version) }
}

/** Makes the rows of functions, and the same object of a manifest as long as nothing else changes: what changed is what workers are sent. */
export class WorkerRows {
  readonly #rows = new WeakMap<Manifest, WorkerFunction>()

  /** `key` is where in the table the row stands; the split is that of the manifest. */
  of(
    manifest: Manifest,
    key: string,
    slots: ArmSlots,
    path: string | null,
    compiled: CompiledModule | null,
  ): WorkerFunction {
    const known = this.#rows.get(manifest)
    const isSame =
      known?.key === key &&
      known.slot === slots.slot &&
      known.quota_slot === slots.quota_slot &&
      known.path === path &&
      known.compiled === compiled
    if (isSame) return known
    const split = splitRow(manifest)
    const row = workerFunction(manifest, slots, path, compiled, { key, split })
    this.#rows.set(manifest, row)
    return row
  }
}

export interface TableSource {
  /** Null: the node has no record left for it. */
  slotsOf(manifest: Manifest): ArmSlots | null
  pathOf(manifest: Manifest): string | null
  compiledOf(manifest: Manifest): CompiledModule | null
  readonly rows: WorkerRows
  readonly previews: PreviewSource
}

/** What is served for previews, beside the state. */
export interface PreviewSource {
  readonly domain: string | null
  serving(): readonly Manifest[]
  /** Keys of the artifacts that are needed for them, also of those that do not serve yet. */
  keys(): ReadonlySet<string>
}

export const NO_PREVIEWS: PreviewSource = {
  domain: null,
  serving: () => [],
  keys: () => new Set(),
}

/**
 * The table for the workers. A function that could not be loaded yet is in it with `path: null`, so its routes answer 503
 * or fetch on demand [R4.3]; functions without a slot and routes to functions this node does not hold are left out.
 */
export function tableOf(state: NodeState, source: TableSource): Assignment {
  const functions = new Map<string, WorkerFunction>()
  for (const entry of state.functions.values()) {
    for (const row of rowsOf(entry, source) ?? []) functions.set(row.key, row)
  }
  for (const manifest of source.previews.serving()) {
    const key = armKey(manifest)
    const slots = source.slotsOf(manifest)
    // What serves anyway has its row already.
    const isServed = functions.get(manifest.function_id)?.version === manifest.version
    if (slots === null || isServed || functions.has(key)) continue
    const path = source.pathOf(manifest)
    functions.set(key, source.rows.of(manifest, key, slots, path, source.compiledOf(manifest)))
  }
  const routes = new Map<string, Route>()
  for (const [routeId, route] of state.routes) {
    if (functions.has(route.function_id)) routes.set(routeId, route)
  }
  const { domain: preview_domain } = source.previews
  return { revision: state.revision, functions, routes, preview_domain }
}

/** A row for each version of a function; null when there is no record for one of them. */
function rowsOf(entry: FunctionEntry, source: TableSource): WorkerFunction[] | null {
  const rows: WorkerFunction[] = []
  const visible = visibleManifest(entry)
  for (const manifest of armsOf(visible)) {
    const slots = source.slotsOf(manifest)
    if (slots === null) return null
    const path = entry.serving === null ? null : source.pathOf(manifest)
    const key = manifest === visible ? manifest.function_id : armKey(manifest)
    rows.push(source.rows.of(manifest, key, slots, path, source.compiledOf(manifest)))
  }
  return rows
}

/** The versions of a function that are served. */
export function servedArms({ serving }: FunctionEntry): Manifest[] {
  return serving === null ? [] : armsOf(serving)
}

/** Keys of every artifact the state refers to; none of them may be evicted. */
export function keysInUse(state: NodeState): Set<string> {
  const keys = new Set<string>()
  for (const { serving, pending } of state.functions.values()) {
    for (const manifest of [serving, pending]) {
      if (manifest === null) continue
      for (const arm of armsOf(manifest)) keys.add(artifactKey(arm))
    }
  }
  return keys
}
