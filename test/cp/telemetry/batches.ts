/** Batches of telemetry for tests. */

import type { FunctionId, NodeId } from '../../../src/protocol/ids.ts'
import { LIMITS } from '../../../src/protocol/limits.ts'
import {
  telemetryBatchSchema,
  type CallDeltas,
  type NodeFigures,
  type TelemetryBatch,
} from '../../../src/protocol/telemetry.ts'

export const FUNCTION = '01900000-0000-7000-8000-000000000001' as FunctionId
export const OTHER_FUNCTION = '01900000-0000-7000-8000-000000000002' as FunctionId
export const BOOT = '01900000-0000-7000-8000-0000000000b1'
export const OTHER_BOOT = '01900000-0000-7000-8000-0000000000b2'
export const nodeId = (name: string) => name as NodeId

/** All calls in one bucket of LATENCY_BUCKETS; 16 is above the last limit. */
export function deltas(requests: number, parts: Partial<CallDeltas> = {}, bucket = 3): CallDeltas {
  const buckets = Array.from({ length: LIMITS.latencyBuckets + 1 }, (_, index) =>
    index === bucket ? requests : 0,
  )
  return {
    function_id: FUNCTION,
    ...{ version: 1, requests, errors: {}, server_errors: 0, buckets },
    ...parts,
  }
}

export const FIGURES: NodeFigures = {
  cpu_percent: 10,
  mem_bytes: 1000,
  disk_free_bytes: 500,
  disk_total_bytes: 900,
  cache_bytes: 70,
  cache_files: 7,
  pool_instances: 3,
  pool_bytes: 300,
  queue: 0,
  workers: 2,
}

export function batchOf(
  seq: number,
  functions: readonly CallDeltas[] = [],
  parts: Partial<TelemetryBatch> = {},
): TelemetryBatch {
  const at = '2026-01-01T00:00:00.000Z'
  return telemetryBatchSchema.parse({
    ...{ boot_id: BOOT, seq, from: at, to: at, duration_ms: 10_000, functions },
    ...{ node: FIGURES, dropped_batches: 0 },
    ...parts,
  })
}
