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
import { compiledModuleSchema } from './compiled.ts'

/** A function as workers see it: manifest without what only fetching needs, and its statistics slot. */
export const workerFunctionSchema = manifestSchema
  .omit({ artifact_url: true, signature: true })
  .extend({
    /** Index of the function's record in the shared statistics (`edge/stats.ts`). */
    slot: z.int().min(0),
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
  gone_functions: z.array(functionIdSchema),
  gone_routes: z.array(routeIdSchema),
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
  z.strictObject({
    type: z.literal('set_log_level'),
    level: z.enum(['debug', 'info', 'warn', 'error']),
  }),
  /** Sent when it changes, and again and again while it is not 0. */
  z.strictObject({ type: z.literal('memory_pressure'), level: memoryPressureSchema }),
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
  /** Public key (SPKI, DER, base64) of what the node compiles and signs. */
  compile_key: z.string(),
  /** What all hot instances of a worker may cost together (`worker/pool/instance.ts`). */
  pool_bytes_max: z.int().min(0),
  /** In CIDR notation. */
  fetch_allow_private: z.array(z.string()),
})
export type WorkerOptions = z.infer<typeof workerOptionsSchema>
