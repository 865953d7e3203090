/** What is answered about the calls of functions: sums over nodes and time, and the samples that gates look at. */

import type { FunctionId, NodeId } from '../../protocol/ids.ts'
import type { CallFigures, FunctionMetrics } from '../../protocol/telemetry.ts'
import type { Row, Sql, SqlValue } from '../db/database.ts'
import type { VersionSamples } from '../lookup.ts'
import { quantileMs } from './quantile.ts'
import { finestKept, stepStart, type Range } from './range.ts'
import { BUCKET_COLUMNS } from './store.ts'

const SUMS = ['requests', 'server_faults', ...BUCKET_COLUMNS]
  .map((name) => `sum(c.${name}) AS ${name}`)
  .join(', ')

export interface CallFilter {
  readonly function_id: FunctionId
  readonly version: number | null
  readonly node_id: NodeId | null
}

interface Sums {
  requests: number
  server_faults: number
  readonly buckets: number[]
  readonly errors: Map<string, number>
}

/** What happened to a function's versions, the newest first. */
export async function versionFigures(
  sql: Sql,
  filter: CallFilter,
  range: Range,
): Promise<FunctionMetrics['versions']> {
  const versions = new Map<number, Map<number, Sums>>()
  const sumsOf = (row: Row): Sums => {
    const version = Number(row['version'])
    const at = Number(row['step_at'])
    const points = versions.get(version) ?? new Map<number, Sums>()
    versions.set(version, points)
    const sums = points.get(at) ?? noCalls()
    points.set(at, sums)
    return sums
  }
  for (const row of await grouped(sql, 'telemetry_calls', SUMS, '', filter, range)) {
    add(sumsOf(row), row)
  }
  const codes = 'c.code, sum(c.count) AS count'
  for (const row of await grouped(sql, 'telemetry_errors', codes, ', c.code', filter, range)) {
    sumsOf(row).errors.set(String(row['code']), Number(row['count']))
  }
  return [...versions]
    .toSorted(([one], [other]) => other - one)
    .map(([version, points]) => {
      const inOrder = [...points].toSorted(([one], [other]) => one - other)
      return {
        version,
        totals: figuresOf(summed(inOrder.map(([, sums]) => sums))),
        points: inOrder.map(([at, sums]) => ({
          at: new Date(at).toISOString(),
          ...figuresOf(sums),
        })),
      }
    })
}

/** Sums by version and step of an answer. */
function grouped(
  sql: Sql,
  table: 'telemetry_calls' | 'telemetry_errors',
  columns: string,
  by: string,
  filter: CallFilter,
  range: Range,
): Promise<Row[]> {
  const where = ['s.function_id = ?']
  const parameters: SqlValue[] = [filter.function_id]
  if (filter.version !== null) {
    where.push('s.version = ?')
    parameters.push(filter.version)
  }
  if (filter.node_id !== null) {
    where.push('s.node_id = ?')
    parameters.push(filter.node_id)
  }
  const stepMs = range.step_seconds * 1000
  return sql.all(
    `SELECT s.version, ${stepStart('c.at')} AS step_at, ${columns}
     FROM telemetry_series s CROSS JOIN ${table} c ON c.series_id = s.id AND c.step = ? AND c.at >= ? AND c.at < ?
     WHERE ${where.join(' AND ')} GROUP BY s.version, step_at${by}`,
    [stepMs, stepMs, range.kept, range.from_ms, range.to_ms, ...parameters],
  )
}

function noCalls(): Sums {
  return { requests: 0, server_faults: 0, buckets: BUCKET_COLUMNS.map(() => 0), errors: new Map() }
}

function add(sums: Sums, row: Row): void {
  sums.requests += Number(row['requests'])
  sums.server_faults += Number(row['server_faults'])
  for (const [index, name] of BUCKET_COLUMNS.entries()) {
    sums.buckets[index] = (sums.buckets[index] ?? 0) + Number(row[name])
  }
}

function summed(all: readonly Sums[]): Sums {
  const total = noCalls()
  for (const { requests, server_faults, buckets, errors } of all) {
    total.requests += requests
    total.server_faults += server_faults
    for (const [index, count] of buckets.entries()) {
      total.buckets[index] = (total.buckets[index] ?? 0) + count
    }
    for (const [code, count] of errors) {
      total.errors.set(code, (total.errors.get(code) ?? 0) + count)
    }
  }
  return total
}

function figuresOf({ requests, server_faults, buckets, errors }: Sums): CallFigures {
  return {
    requests,
    server_faults,
    errors: Object.fromEntries([...errors].toSorted()),
    p50_ms: quantileMs(buckets, 0.5),
    p95_ms: quantileMs(buckets, 0.95),
    p99_ms: quantileMs(buckets, 0.99),
  }
}

/**
 * What each of the nodes reported of a version in batches that began at `since` or later: no call from before it is among them. Nodes that
 * reported nothing are left out. The newest call is as old as two intervals of telemetry and one gathering of the intake at most.
 */
export const versionSamples: VersionSamples = async (sql, query) => {
  const since = Date.parse(query.since)
  const rows = await sql.all(
    `SELECT s.node_id, ${SUMS} FROM json_each(?) n
     CROSS JOIN telemetry_series s ON s.function_id = ? AND s.version = ? AND s.node_id = n.value
     CROSS JOIN telemetry_calls c ON c.series_id = s.id AND c.step = ? AND c.at >= ?
     GROUP BY s.node_id`,
    [
      JSON.stringify(query.node_ids),
      query.function_id,
      query.version,
      finestKept(since, Date.now()),
      since,
    ],
  )
  return rows.map((row) => ({
    // The cast is the border: what was asked for are ids of nodes.
    node_id: row['node_id'] as NodeId,
    requests: Number(row['requests']),
    errors: Number(row['server_faults']),
    buckets: BUCKET_COLUMNS.map((name) => Number(row[name])),
  }))
}
