/** What slices may ask of each other, as types; `cp/compose.ts` hands the functions across (DESIGN section 8). */

import type { FunctionView, VersionView } from '../protocol/api.ts'
import type { FunctionId, NodeId, Sha256 } from '../protocol/ids.ts'
import type { Abi } from '../protocol/manifest.ts'
import type { RequestContext } from './context.ts'
import type { Sql, Transaction } from './db/database.ts'

/** Given by the functions slice. */
export interface FunctionLookup {
  /** By id or name; throws `function_not_found`. */
  resolve(sql: Sql, idOrName: string): Promise<FunctionView>
  /** Null takes the newest ready version. Throws `version_not_found`, or `module_missing` when it has no module yet. */
  version(sql: Sql, functionId: FunctionId, version: number | null): Promise<ReadyVersion>
}

/** A version whose module is stored, with what a manifest needs besides its URL. */
export interface ReadyVersion extends VersionView {
  readonly abi: Abi
  readonly sha256: Sha256
  readonly size_bytes: number
  readonly signature: string
}

/** Given by the secrets slice to the functions slice, called inside its transactions. */
export interface SecretLinks {
  /**
   * Records which secret each variable of a new version is, the newest number unless one is named; answers `NAME@NUMBER`
   * for each. Throws `invalid_field` for a secret or a number that is not there.
   */
  bind(
    tx: Transaction,
    functionId: FunctionId,
    version: number,
    references: Readonly<Record<string, string>>,
  ): Promise<Record<string, string>>
  /** The function is being deleted: the values of its own secrets go. */
  functionRemoved(tx: Transaction, context: RequestContext, functionId: FunctionId): Promise<void>
}

/** Given by the artifacts slice: a URL good for an hour from which nodes fetch a module. */
export type PresignDownload = (
  sha256: Sha256,
) => Promise<{ readonly url: string; readonly expires_at: string }>

/** Given by the deployments slice to the functions slice, called inside its transactions. */
export interface FunctionHooks {
  /** The function is being deleted: take it and its routes off every node. Run the result after the commit. */
  removed(tx: Transaction, context: RequestContext, functionId: FunctionId): Promise<() => void>
  /** Something in its manifests changed (its name): nodes must get them again. */
  changed(tx: Transaction, context: RequestContext, functionId: FunctionId): Promise<void>
}

/** What a node reported of a version. */
export interface VersionSample {
  readonly node_id: NodeId
  readonly requests: number
  /** Those that failed for no fault of the client: traps, limits, timeouts, load failures, answers of 500 and above. */
  readonly errors: number
  /** Counts by LATENCY_BUCKETS, not cumulative, one more for +Inf. */
  readonly buckets: readonly number[]
}

/** Given by the telemetry slice, for gates: only what was reported of the time from `since` on (RFC 3339). */
export type VersionSamples = (
  sql: Sql,
  query: {
    readonly function_id: FunctionId
    readonly version: number
    readonly node_ids: readonly NodeId[]
    readonly since: string
  },
) => Promise<VersionSample[]>
