/** From batches to rows: each is added to three steps, and what falls on the same row is summed before it is written; pure. */

import { ERROR_KINDS, isErrorCode } from '../../errors.ts'
import type { FunctionId, NodeId } from '../../protocol/ids.ts'
import type { CallDeltas, NodeFigures, TelemetryBatch } from '../../protocol/telemetry.ts'

/** Seconds; 0 is a batch as it came. */
export const STEPS = [0, 60, 3600] as const
export type Step = (typeof STEPS)[number]

/** A batch with the node it is of and the Unix milliseconds of its beginning, by the clock of the control plane. */
export interface PlacedBatch {
  readonly node_id: NodeId
  readonly from_ms: number
  readonly batch: TelemetryBatch
}

export interface Series {
  readonly function_id: FunctionId
  readonly version: number
  readonly node_id: NodeId
}

export interface CallRow extends Series {
  readonly step: Step
  readonly at: number
  requests: number
  server_faults: number
  readonly buckets: number[]
  readonly errors: Map<string, number>
}

/** What is summed, and of what the largest or smallest is kept. */
export interface NodeRow {
  readonly node_id: NodeId
  readonly step: Step
  readonly at: number
  samples: number
  dropped_batches: number
  cpu_percent_max: number
  mem_bytes_max: number
  queue_max: number
  disk_free_bytes_min: number
  workers_min: number
  readonly sums: Record<NodeSum, number>
}

export const NODE_SUMS = [
  'cpu_percent',
  'mem_bytes',
  'disk_total_bytes',
  'cache_bytes',
  'cache_files',
  'pool_instances',
  'pool_bytes',
] as const satisfies readonly (keyof NodeFigures)[]
export type NodeSum = (typeof NODE_SUMS)[number]

/** The beginning of the step that a moment falls into; a batch belongs to the step in which it began. */
export function stepOf(ms: number, step: Step): number {
  return step === 0 ? ms : Math.floor(ms / (step * 1000)) * step * 1000
}

/** Requests that failed for no fault of the client. A code that only a newer node knows counts as such. */
export function serverFaults({ errors, server_errors }: CallDeltas): number {
  let faults = server_errors
  for (const [code, count] of Object.entries(errors)) {
    if (!isErrorCode(code) || ERROR_KINDS[code].fault !== 'client') faults += count
  }
  return faults
}

export function rowsOf(batches: readonly PlacedBatch[]): {
  readonly calls: readonly CallRow[]
  readonly nodes: readonly NodeRow[]
} {
  const calls = new Map<string, CallRow>()
  const nodes = new Map<string, NodeRow>()
  for (const placed of batches) {
    for (const step of STEPS) {
      const at = stepOf(placed.from_ms, step)
      for (const deltas of placed.batch.functions) addCalls(calls, placed, step, at, deltas)
      addNode(nodes, placed, step, at)
    }
  }
  return { calls: [...calls.values()], nodes: [...nodes.values()] }
}

function addCalls(
  rows: Map<string, CallRow>,
  { node_id }: PlacedBatch,
  step: Step,
  at: number,
  deltas: CallDeltas,
): void {
  const { function_id, version } = deltas
  const key = `${step} ${at} ${node_id} ${function_id} ${version}`
  let row = rows.get(key)
  if (row === undefined) {
    const buckets = deltas.buckets.map(() => 0)
    row = {
      ...{ function_id, version, node_id, step, at, buckets },
      requests: 0,
      server_faults: 0,
      errors: new Map(),
    }
    rows.set(key, row)
  }
  row.requests += deltas.requests
  row.server_faults += serverFaults(deltas)
  for (const [index, count] of deltas.buckets.entries()) {
    row.buckets[index] = (row.buckets[index] ?? 0) + count
  }
  for (const [code, count] of Object.entries(deltas.errors)) {
    row.errors.set(code, (row.errors.get(code) ?? 0) + count)
  }
}

function addNode(
  rows: Map<string, NodeRow>,
  { node_id, batch }: PlacedBatch,
  step: Step,
  at: number,
): void {
  const { node: figures, dropped_batches } = batch
  if (figures === null) return
  const key = `${step} ${at} ${node_id}`
  const row = rows.get(key)
  if (row === undefined) {
    rows.set(key, {
      ...{ node_id, step, at, samples: 1, dropped_batches },
      cpu_percent_max: figures.cpu_percent,
      mem_bytes_max: figures.mem_bytes,
      queue_max: figures.queue,
      disk_free_bytes_min: figures.disk_free_bytes,
      workers_min: figures.workers,
      sums: sumsOf((name) => figures[name]),
    })
    return
  }
  row.samples += 1
  row.dropped_batches += dropped_batches
  row.cpu_percent_max = Math.max(row.cpu_percent_max, figures.cpu_percent)
  row.mem_bytes_max = Math.max(row.mem_bytes_max, figures.mem_bytes)
  row.queue_max = Math.max(row.queue_max, figures.queue)
  row.disk_free_bytes_min = Math.min(row.disk_free_bytes_min, figures.disk_free_bytes)
  row.workers_min = Math.min(row.workers_min, figures.workers)
  for (const name of NODE_SUMS) row.sums[name] += figures[name]
}

function sumsOf(valueOf: (name: NodeSum) => number): Record<NodeSum, number> {
  // The cast is that of every object made from entries.
  return Object.fromEntries(NODE_SUMS.map((name) => [name, valueOf(name)])) as Record<
    NodeSum,
    number
  >
}
