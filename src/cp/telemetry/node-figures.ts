/** What is answered about nodes: how they were, and what they served, step by step. */

import type { NodeId } from '../../protocol/ids.ts'
import type { NodeMetrics } from '../../protocol/telemetry.ts'
import type { Row, Sql } from '../db/database.ts'
import { stepStart, type Range } from './range.ts'

const MEANS = [
  'mem_bytes',
  'disk_total_bytes',
  'cache_bytes',
  'cache_files',
  'pool_instances',
  'pool_bytes',
]
  .map((name) => `CAST(round(sum(CAST(${name} AS REAL)) / sum(samples)) AS INTEGER) AS ${name}`)
  .join(', ')

type Point = NodeMetrics['points'][number]

/** The steps of which the node reported something, oldest first. */
export async function nodeFigures(
  sql: Sql,
  nodeId: NodeId,
  range: Range,
): Promise<Pick<NodeMetrics, 'points' | 'dropped_batches'>> {
  const stepMs = range.step_seconds * 1000
  const own = await sql.all(
    `SELECT ${stepStart('at')} AS step_at, sum(dropped_batches) AS dropped_batches,
       round(sum(cpu_percent) / sum(samples), 1) AS cpu_percent, max(cpu_percent_max) AS cpu_percent_max,
       max(mem_bytes_max) AS mem_bytes_max, min(disk_free_bytes_min) AS disk_free_bytes_min,
       max(queue_max) AS queue_max, min(workers_min) AS workers_min, ${MEANS}
     FROM telemetry_nodes WHERE node_id = ? AND step = ? AND at >= ? AND at < ? GROUP BY step_at`,
    [stepMs, stepMs, nodeId, range.kept, range.from_ms, range.to_ms],
  )
  const calls = await sql.all(
    `SELECT ${stepStart('c.at')} AS step_at, sum(c.requests) AS requests, sum(c.server_faults) AS server_faults
     FROM telemetry_series s CROSS JOIN telemetry_calls c ON c.series_id = s.id AND c.step = ? AND c.at >= ? AND c.at < ?
     WHERE s.node_id = ? GROUP BY step_at`,
    [stepMs, stepMs, range.kept, range.from_ms, range.to_ms, nodeId],
  )
  const callsAt = new Map(calls.map((row) => [Number(row['step_at']), row]))
  const ownAt = new Map(own.map((row) => [Number(row['step_at']), row]))
  const times = [...new Set([...ownAt.keys(), ...callsAt.keys()])].toSorted((a, b) => a - b)
  return {
    dropped_batches: own.reduce((sum, row) => sum + Number(row['dropped_batches']), 0),
    points: times.map((at) => pointOf(at, ownAt.get(at) ?? {}, callsAt.get(at) ?? {})),
  }
}

function pointOf(at: number, own: Row, calls: Row): Point {
  const figure = (name: keyof Point) => {
    const value = own[name] ?? null
    return value === null ? null : Number(value)
  }
  return {
    at: new Date(at).toISOString(),
    requests: Number(calls['requests'] ?? 0),
    server_faults: Number(calls['server_faults'] ?? 0),
    cpu_percent: figure('cpu_percent'),
    cpu_percent_max: figure('cpu_percent_max'),
    mem_bytes: figure('mem_bytes'),
    mem_bytes_max: figure('mem_bytes_max'),
    disk_free_bytes_min: figure('disk_free_bytes_min'),
    disk_total_bytes: figure('disk_total_bytes'),
    cache_bytes: figure('cache_bytes'),
    cache_files: figure('cache_files'),
    pool_instances: figure('pool_instances'),
    pool_bytes: figure('pool_bytes'),
    queue_max: figure('queue_max'),
    workers_min: figure('workers_min'),
  }
}
