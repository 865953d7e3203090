/**
 * Telemetry: what nodes upload of their calls and of themselves, how the control plane acknowledges it, and what it answers
 * when asked [C8]. A batch is made once and never changes; whoever sees it twice knows it by `boot_id` and `seq`.
 */

import { z } from 'zod'

import {
  functionIdSchema,
  nodeIdSchema,
  timestampSchema,
  uuidSchema,
  versionMax,
  versionSchema,
} from './ids.ts'
import { LIMITS } from './limits.ts'

/** Of one batch; sums of them stay whole numbers. */
const countMax = 1e10
const bytesMax = 1e15
/** Milliseconds that a batch may cover, some hundred days. */
export const batchDurationMsMax = countMax

const countSchema = z.int().min(0).max(countMax)
const bytesSchema = z.int().min(0).max(bytesMax)
/** Of an answer. */
const sumSchema = z.int().min(0)

/** Codes of `CALL_ERROR_CODES`; a newer node may know others. */
const errorCodeSchema = z.string().regex(/^[a-z][a-z_]{0,63}$/, 'must be the code of an error')

/** How many calls took how long: those within each limit of LATENCY_BUCKETS, not cumulative, and the slower ones. */
const histogramSchema = z.array(countSchema).length(LIMITS.latencyBuckets + 1)

/** What happened to a version of a function since the batch before. */
export const callDeltasSchema = z.strictObject({
  function_id: functionIdSchema,
  version: versionSchema,
  /** Requests of any outcome, those included that were refused before the function was run. */
  requests: countSchema,
  /** By code, as far as there were any. */
  errors: z.record(errorCodeSchema, z.int().min(1).max(countMax)),
  /** Answers of 500 and above that the guest gave itself; they are in no `errors`. */
  server_errors: countSchema,
  buckets: histogramSchema,
})
export type CallDeltas = z.infer<typeof callDeltasSchema>

/** How the node was when the batch was made. */
export const nodeFiguresSchema = z.strictObject({
  cpu_percent: z.number().min(0).max(100),
  mem_bytes: bytesSchema,
  /** Of the file system of the data directory. */
  disk_free_bytes: bytesSchema,
  disk_total_bytes: bytesSchema,
  cache_bytes: bytesSchema,
  cache_files: countSchema,
  pool_instances: countSchema,
  pool_bytes: bytesSchema,
  /** Calls that wait for an instance. */
  queue: countSchema,
  workers: countSchema,
})
export type NodeFigures = z.infer<typeof nodeFiguresSchema>

export const telemetryBatchSchema = z
  .strictObject({
    /** Of the agent process that made it. */
    boot_id: uuidSchema,
    /** Counts from 1 in each boot; a gap is a batch that was dropped. */
    seq: z.int().min(1),
    /** What it covers, by the node's clock, for people: the control plane goes by `duration_ms` and the age told with it. */
    from: timestampSchema,
    to: timestampSchema,
    duration_ms: countSchema,
    /** Only versions with news. */
    functions: z.array(callDeltasSchema).max(LIMITS.telemetryBatchFunctionsMax),
    /** Null in all parts but the first when there is so much news that it takes several batches. */
    node: nodeFiguresSchema.nullable(),
    /** Batches that the node had to drop, untold before. */
    dropped_batches: countSchema,
  })
  .refine(({ node, dropped_batches }) => node !== null || dropped_batches === 0, {
    message: 'must be 0 in a batch without figures of the node',
    path: ['dropped_batches'],
  })
export type TelemetryBatch = z.infer<typeof telemetryBatchSchema>

/**
 * Node → control plane, `telemetry`, QoS 1, or `POST /api/v1/nodes/:id/telemetry`: the oldest batches that are not acknowledged, in
 * their order. The next upload follows when this one is acknowledged.
 */
export const telemetryUploadSchema = z.strictObject({
  node_id: nodeIdSchema,
  batches: z
    .array(z.strictObject({ age_ms: z.int().min(0), batch: telemetryBatchSchema }))
    .min(1)
    .max(LIMITS.telemetryUploadBatchesMax),
})
export type TelemetryUpload = z.infer<typeof telemetryUploadSchema>

/**
 * Control plane → node, `telemetry-acks`, or the answer over HTTP: the last batch of an upload that is committed, with all before it.
 * What the broker took and the control plane has not committed is not acknowledged, and comes again.
 */
export const telemetryAckSchema = z.strictObject({ boot_id: uuidSchema, seq: z.int().min(1) })
export type TelemetryAck = z.infer<typeof telemetryAckSchema>

/** What was asked for, as it was understood: a step that is finer than what is kept is made coarser. */
const rangeShape = {
  from: timestampSchema,
  to: timestampSchema,
  step_seconds: z.int().min(1),
}

/** Estimated from the histogram, milliseconds; null when there were no calls. */
const latencyShape = {
  p50_ms: z.number().nullable(),
  p95_ms: z.number().nullable(),
  p99_ms: z.number().nullable(),
}

const callFiguresShape = {
  requests: sumSchema,
  /** Of those, how many failed for no fault of the client: traps, limits, timeouts, answers of 500 and above. */
  server_faults: sumSchema,
  errors: z.record(z.string(), sumSchema),
  ...latencyShape,
}
export const callFiguresSchema = z.strictObject(callFiguresShape)
export type CallFigures = z.infer<typeof callFiguresSchema>

/** `GET /functions/:id/metrics`. */
export const functionMetricsSchema = z.strictObject({
  function_id: functionIdSchema,
  ...rangeShape,
  versions: z.array(
    z.strictObject({
      version: versionSchema,
      totals: callFiguresSchema,
      /** Steps with calls only, oldest first. */
      points: z.array(z.strictObject({ at: timestampSchema, ...callFiguresShape })),
    }),
  ),
})
export type FunctionMetrics = z.infer<typeof functionMetricsSchema>

/** `GET /nodes/:id/metrics`: means over each step, and the worst where that says more. */
export const nodeMetricsSchema = z.strictObject({
  node_id: nodeIdSchema,
  ...rangeShape,
  /** Batches that the node dropped in this time because it could keep no more. */
  dropped_batches: sumSchema,
  points: z.array(
    z.strictObject({
      at: timestampSchema,
      requests: sumSchema,
      server_faults: sumSchema,
      cpu_percent: z.number().min(0).nullable(),
      cpu_percent_max: z.number().min(0).nullable(),
      mem_bytes: sumSchema.nullable(),
      mem_bytes_max: sumSchema.nullable(),
      disk_free_bytes_min: sumSchema.nullable(),
      disk_total_bytes: sumSchema.nullable(),
      cache_bytes: sumSchema.nullable(),
      cache_files: sumSchema.nullable(),
      pool_instances: sumSchema.nullable(),
      pool_bytes: sumSchema.nullable(),
      queue_max: sumSchema.nullable(),
      workers_min: sumSchema.nullable(),
    }),
  ),
})
export type NodeMetrics = z.infer<typeof nodeMetricsSchema>

/** Query of both; `step` in seconds. */
export const metricsQuerySchema = z.strictObject({
  from: timestampSchema.optional(),
  to: timestampSchema.optional(),
  /** Seconds before `to`, in place of `from`: whoever asks need not have the right time. */
  since: z.coerce.number().int().min(1).max(LIMITS.telemetryHourSecondsMax).optional(),
  step: z.coerce.number().int().min(1).max(LIMITS.telemetryHourSecondsMax).optional(),
})
export type MetricsQuery = z.infer<typeof metricsQuerySchema>

export const functionMetricsQuerySchema = metricsQuerySchema.extend({
  version: z.coerce.number().int().min(1).max(versionMax).optional(),
  node: nodeIdSchema.optional(),
})
export type FunctionMetricsQuery = z.infer<typeof functionMetricsQuerySchema>
