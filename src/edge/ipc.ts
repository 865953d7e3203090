/** Messages between the agent and its workers (Bun.spawn IPC, JSON). Both sides decode with these schemas. */

import { z } from 'zod'

import {
  functionIdSchema,
  revisionSchema,
  routeIdSchema,
  sha256Schema,
  versionSchema,
} from '../protocol/ids.ts'
import { LIMITS } from '../protocol/limits.ts'
import { manifestSchema, routeSchema } from '../protocol/manifest.ts'
import { stickySchema, weightSchema } from '../protocol/split.ts'
import { compiledModuleSchema } from './compiled.ts'

const rowKeySchema = z.string().min(1).max(60)

/** The place in the table of a version beside the one that its function's routes lead to. */
export function armKey(arm: { readonly function_id: string; readonly version: number }): string {
  return `${arm.function_id}/${arm.version}`
}

/** Between which versions the traffic of a function is split; the versions in ascending order, itself among them. */
const splitRowSchema = z.strictObject({
  sticky: stickySchema,
  arms: z.array(z.strictObject({ version: versionSchema, weight: weightSchema })),
})
export type SplitRow = z.infer<typeof splitRowSchema>

/** A function as workers see it: manifest without what only fetching needs, and its records. */
export const workerFunctionSchema = manifestSchema
  .omit({ artifact_url: true, signature: true, split: true, secrets: true })
  .extend({
    /** Its place in the table: the function's id for what its routes lead to, `armKey` for versions that only a split leads to. */
    key: rowKeySchema,
    split: splitRowSchema.nullable(),
    /** Index of the version's record in the shared statistics (`edge/stats.ts`), among the breakers and the verdicts. */
    slot: z.int().min(0),
    /** Index of its function's record in the shared quotas (`edge/quota.ts`). */
    quota_slot: z.int().min(0),
    /** Absolute path of the cached module; null when it is not in the cache and must be fetched first. */
    path: z.string().nullable(),
    /** The module compiled, as far as it is; null while it is interpreted. */
    compiled: compiledModuleSchema.nullable().default(null),
  })
export type WorkerFunction = z.infer<typeof workerFunctionSchema>

/** Errors cross the process border as code and message. */
export const ipcErrorSchema = z.strictObject({ code: z.string(), message: z.string() })
export type IpcError = z.infer<typeof ipcErrorSchema>

/** How hard the node is pressed for memory: 1 gives up hot instances, 2 starts no new ones either. */
export const memoryPressureSchema = z.union([z.literal(0), z.literal(1), z.literal(2)])
export type MemoryPressure = z.infer<typeof memoryPressureSchema>

/**
 * A part of the next table (`edge/table-parts.ts`): rows that it has anew or otherwise than the one before it, and ids of those
 * that it has no longer. Answered by `taken`; the last by `assigned`, when the worker has swapped to the table in one assignment
 * and retired what it no longer names.
 */
export const tablePartSchema = z.strictObject({
  type: z.literal('assign'),
  revision: revisionSchema,
  /** What the parts of a table change. */
  base: z.enum(['nothing', 'last']),
  functions: z.array(workerFunctionSchema),
  routes: z.array(routeSchema),
  gone_functions: z.array(rowKeySchema),
  gone_routes: z.array(routeIdSchema),
  /** Domain below which hosts name a version to preview; null: none. */
  preview_domain: z.string().nullable(),
  last: z.boolean(),
})
export type TablePart = z.infer<typeof tablePartSchema>

/** Agent → worker. */
export const toWorkerSchema = z.discriminatedUnion('type', [
  /** Load, instantiate and keep one warm instance; do not route to it yet. Answered by `prepared`. */
  z.strictObject({ type: z.literal('prepare'), function: workerFunctionSchema }),
  tablePartSchema,
  /** One function of the table has been compiled, and prepared so: calls go to that form from now on. */
  z.strictObject({ type: z.literal('upgrade'), function: workerFunctionSchema }),
  /** Answer to `fetch`. */
  z.strictObject({
    type: z.literal('fetched'),
    function_id: functionIdSchema,
    version: versionSchema,
    path: z.string().nullable(),
    error: ipcErrorSchema.nullable(),
  }),
  /** Answer to `preview`: the version is in the table, or why it is not. */
  z.strictObject({
    type: z.literal('previewed'),
    function_id: functionIdSchema,
    version: versionSchema,
    error: ipcErrorSchema.nullable(),
  }),
  z.strictObject({
    type: z.literal('set_log_level'),
    level: z.enum(['debug', 'info', 'warn', 'error']),
  }),
  /** Answer requests with 503, or serve again. */
  z.strictObject({ type: z.literal('drained'), on: z.boolean() }),
  /** Sent when it changes, and again and again while it is not 0. */
  z.strictObject({ type: z.literal('memory_pressure'), level: memoryPressureSchema }),
  /** Another takes this one's place: end connections with their next answer. `drain` follows. */
  z.strictObject({ type: z.literal('part') }),
  /** Stop accepting, finish what runs, exit 0. */
  z.strictObject({ type: z.literal('drain') }),
  /** To a spare: listen on this port from now on. Answered by `ready`. */
  z.strictObject({ type: z.literal('serve'), port: z.int().min(0) }),
])
export type ToWorker = z.infer<typeof toWorkerSchema>

/** Worker → agent. */
export const toAgentSchema = z.discriminatedUnion('type', [
  /** The worker listens and has no functions yet. */
  z.strictObject({ type: z.literal('ready'), pid: z.int(), port: z.int(), engine: z.string() }),
  /** A spare has done what can be done before it is told to serve. */
  z.strictObject({ type: z.literal('standby') }),
  /** The worker cannot run at all (no libwasmedge, port taken); it exits after this. */
  z.strictObject({ type: z.literal('failed'), error: ipcErrorSchema }),
  z.strictObject({
    type: z.literal('prepared'),
    function_id: functionIdSchema,
    version: versionSchema,
    error: ipcErrorSchema.nullable(),
  }),
  z.strictObject({ type: z.literal('taken'), revision: revisionSchema }),
  z.strictObject({ type: z.literal('assigned'), revision: revisionSchema }),
  /** A routed function is not in the cache, or its file there is damaged (`damaged`: its digest is not `sha256`) [R4.3]. */
  z.strictObject({
    type: z.literal('fetch'),
    function_id: functionIdSchema,
    version: versionSchema,
    sha256: sha256Schema,
    damaged: z.boolean(),
  }),
  /** A request with a token that is good asks for a version that is not in the table. */
  z.strictObject({
    type: z.literal('preview'),
    function_id: functionIdSchema,
    version: versionSchema,
    token: z.string(),
  }),
])
export type ToAgent = z.infer<typeof toAgentSchema>

/** What the agent passes to a worker process on its command line, as one JSON argument after `__worker` or `__spare_`. */
export const workerOptionsSchema = z.strictObject({
  node_id: z.string(),
  /** 0, 1, …: the worker's seat; one that is started later gets the seat, and so the statistics file, of a dead one. */
  index: z.int().min(0),
  /** It listens only when it is told to. */
  spare: z.boolean(),
  listen: z.strictObject({ host: z.string(), port: z.int() }),
  stats_path: z.string(),
  /** Shared by all workers of the node, of which there are at most `workers`, a spare included (`edge/quota.ts`). */
  quotas_path: z.string(),
  /** What guests keep with `kv_put` (`edge/kv-files.ts`), and their counters (`edge/guest-metrics.ts`). */
  kv_dir: z.string(),
  sql_dir: z.string(),
  guest_metrics_dir: z.string(),
  workers: z.int().min(1),
  /** What each thread of the node runs now (`edge/running.ts`), and what was decided about functions (`edge/verdicts.ts`). */
  running_path: z.string(),
  verdicts_path: z.string(),
  /** The functions' circuit breakers (`edge/breaker-file.ts`). */
  breakers_path: z.string(),
  log_level: z.enum(['debug', 'info', 'warn', 'error']),
  log_pretty: z.boolean(),
  request_body_bytes_max: z.int().min(0),
  executor_threads_max: z.int().min(1).max(LIMITS.executorThreadsMax),
  /** The control plane's Ed25519 key, base64url of the raw 32 bytes: it signs preview tokens. */
  signing_key: z.string(),
  /** Public key (SPKI, DER, base64) of what the node compiles and signs. */
  compile_key: z.string(),
  /** What all hot instances of a worker may cost together (`worker/pool/instance.ts`). */
  pool_bytes_max: z.int().min(0),
  /** In CIDR notation. */
  fetch_allow_private: z.array(z.string()),
})
export type WorkerOptions = z.infer<typeof workerOptionsSchema>
