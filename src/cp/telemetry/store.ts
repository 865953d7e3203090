/** Statements that take batches: what was taken before is not taken again, and every step is written with it. */

import { LIMITS } from '../../protocol/limits.ts'
import type { NodeId } from '../../protocol/ids.ts'
import type { Sql, SqlValue, Transaction } from '../db/database.ts'
import {
  NODE_SUMS,
  rowsOf,
  type CallRow,
  type NodeRow,
  type PlacedBatch,
  type Series,
} from './rows.ts'

/**
 * Rows of one statement, so that the texts of statements are few and kept prepared: bound values took a quarter of the time that rows
 * took which the database had to find in JSON.
 */
const ROWS_PER_STATEMENT = [64, 8, 1] as const

export const BUCKET_COLUMNS = Array.from(
  { length: LIMITS.latencyBuckets + 1 },
  (_, index) => `b${index}`,
)

/** `value ->> first`, … for `count` fields of a row that came as a JSON array. */
const fields = (first: number, count: number) =>
  Array.from({ length: count }, (_, index) => `value ->> ${first + index}`).join(', ')
const added = (table: string, columns: readonly string[]) =>
  columns.map((name) => `${name} = ${table}.${name} + excluded.${name}`).join(', ')
const kept = (table: string, how: 'min' | 'max', columns: readonly string[]) =>
  columns.map((name) => `${name} = ${how}(${table}.${name}, excluded.${name})`).join(', ')

/** The statement that writes or adds so many rows. */
type Upsert = (rows: number) => string

function upsert(table: string, columns: readonly string[], update: string): Upsert {
  const row = `(${columns.map(() => '?').join(', ')})`
  const texts = new Map<number, string>()
  return function textFor(rows) {
    let text = texts.get(rows)
    if (text === undefined) {
      const values = Array.from({ length: rows }, () => row).join(', ')
      text = `INSERT INTO ${table} (${columns.join(', ')}) VALUES ${values} ON CONFLICT DO UPDATE SET ${update}`
      texts.set(rows, text)
    }
    return text
  }
}

const CALL_COUNTS = ['requests', 'server_faults', ...BUCKET_COLUMNS]
const PUT_CALLS = upsert(
  'telemetry_calls',
  ['series_id', 'step', 'at', ...CALL_COUNTS],
  added('telemetry_calls', CALL_COUNTS),
)

const PUT_ERRORS = upsert(
  'telemetry_errors',
  ['series_id', 'step', 'at', 'code', 'count'],
  added('telemetry_errors', ['count']),
)

const NODE_ADDED = ['samples', 'dropped_batches', ...NODE_SUMS]
const NODE_LARGEST = ['cpu_percent_max', 'mem_bytes_max', 'queue_max']
const NODE_SMALLEST = ['disk_free_bytes_min', 'workers_min']
const NODE_COLUMNS = [...NODE_ADDED, ...NODE_LARGEST, ...NODE_SMALLEST]
const PUT_NODES = upsert(
  'telemetry_nodes',
  ['node_id', 'step', 'at', ...NODE_COLUMNS],
  [
    added('telemetry_nodes', NODE_ADDED),
    kept('telemetry_nodes', 'max', NODE_LARGEST),
    kept('telemetry_nodes', 'min', NODE_SMALLEST),
  ].join(', '),
)

export interface Taken {
  readonly batches: number
  readonly duplicates: number
  readonly rows: number
}

/** Writes those of the batches that were not taken before, which must come in the order of their numbers. */
export async function takeBatches(
  tx: Transaction,
  batches: readonly PlacedBatch[],
  nowMs: number,
): Promise<Taken> {
  const seen = await seenBatches(tx, batches)
  const fresh: PlacedBatch[] = []
  for (const placed of batches) {
    const { boot_id, seq } = placed.batch
    const key = `${placed.node_id} ${boot_id}`
    if (seq <= (seen.get(key) ?? 0)) continue
    seen.set(key, seq)
    fresh.push(placed)
  }
  if (fresh.length > 0) await putBoots(tx, fresh, nowMs)
  const rows = await putRows(tx, fresh)
  return { batches: fresh.length, duplicates: batches.length - fresh.length, rows }
}

async function seenBatches(
  sql: Sql,
  batches: readonly PlacedBatch[],
): Promise<Map<string, number>> {
  const keys = new Map(
    batches.map(({ node_id, batch: { boot_id } }) => [`${node_id} ${boot_id}`, [node_id, boot_id]]),
  )
  const rows = await sql.all(
    `SELECT b.node_id, b.boot_id, b.seq FROM json_each(?) k
     JOIN telemetry_boots b ON b.node_id = k.value ->> 0 AND b.boot_id = k.value ->> 1`,
    [JSON.stringify([...keys.values()])],
  )
  return new Map(rows.map((row) => [`${row['node_id']} ${row['boot_id']}`, Number(row['seq'])]))
}

async function putBoots(
  tx: Transaction,
  fresh: readonly PlacedBatch[],
  nowMs: number,
): Promise<void> {
  const newest = new Map<string, readonly [NodeId, string, number]>()
  for (const { node_id, batch } of fresh) {
    newest.set(`${node_id} ${batch.boot_id}`, [node_id, batch.boot_id, batch.seq])
  }
  await tx.run(
    `INSERT INTO telemetry_boots (node_id, boot_id, seq, taken_at)
     SELECT ${fields(0, 3)}, ? FROM json_each(?) WHERE true
     ON CONFLICT DO UPDATE SET seq = excluded.seq, taken_at = excluded.taken_at`,
    [nowMs, JSON.stringify([...newest.values()])],
  )
}

async function putRows(tx: Transaction, fresh: readonly PlacedBatch[]): Promise<number> {
  const { calls, nodes } = rowsOf(fresh)
  const ids = await seriesIds(tx, calls)
  const idOf = (row: CallRow) => ids.get(seriesKey(row)) ?? null
  const counts = calls.map((row) => [
    ...[idOf(row), row.step, row.at, row.requests, row.server_faults],
    ...row.buckets,
  ])
  const errors = calls.flatMap((row) =>
    [...row.errors].map(([code, count]) => [idOf(row), row.step, row.at, code, count]),
  )
  await put(tx, PUT_CALLS, counts)
  await put(tx, PUT_ERRORS, errors)
  await put(tx, PUT_NODES, nodes.map(nodeValues))
  return counts.length + errors.length + nodes.length
}

function nodeValues(row: NodeRow): (string | number)[] {
  return [
    ...[row.node_id, row.step, row.at, row.samples, row.dropped_batches],
    ...NODE_SUMS.map((name) => row.sums[name]),
    ...[row.cpu_percent_max, row.mem_bytes_max, row.queue_max],
    ...[row.disk_free_bytes_min, row.workers_min],
  ]
}

async function put(
  tx: Transaction,
  textFor: Upsert,
  rows: readonly (readonly SqlValue[])[],
): Promise<void> {
  let at = 0
  for (const size of ROWS_PER_STATEMENT) {
    for (; at + size <= rows.length; at += size) {
      await tx.run(textFor(size), rows.slice(at, at + size).flat())
    }
  }
}

const seriesKey = (series: Series) => `${series.node_id} ${series.function_id} ${series.version}`

/** The numbers of series, given to those that have none. */
async function seriesIds(
  tx: Transaction,
  rows: readonly Series[],
): Promise<ReadonlyMap<string, number>> {
  const wanted = new Map(
    rows.map((row) => [seriesKey(row), [row.function_id, row.version, row.node_id]]),
  )
  if (wanted.size === 0) return new Map()
  const json = JSON.stringify([...wanted.values()])
  await tx.run(
    `INSERT INTO telemetry_series (function_id, version, node_id)
     SELECT ${fields(0, 3)} FROM json_each(?) WHERE true ON CONFLICT DO NOTHING`,
    [json],
  )
  const found = await tx.all(
    `SELECT s.id, s.function_id, s.version, s.node_id FROM json_each(?) w
     JOIN telemetry_series s ON s.function_id = w.value ->> 0 AND s.version = w.value ->> 1
       AND s.node_id = w.value ->> 2`,
    [json],
  )
  // The cast is the border: these are the columns asked for.
  return new Map(found.map((row) => [seriesKey(row as unknown as Series), Number(row['id'])]))
}
