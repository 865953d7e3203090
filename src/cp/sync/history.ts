/** What became of a node's syncs: the records that are kept, and figures over them. */

import type { NodeId } from '../../protocol/ids.ts'
import type { FunctionResult } from '../../protocol/plan.ts'
import type { SchemaResult } from '../../protocol/schemas.ts'
import {
  syncFailuresShownMax,
  type SyncHistory,
  type SyncRecordView,
  type SyncStatistics,
} from '../../protocol/syncs.ts'
import type { Row, Sql, SqlValue } from '../db/database.ts'

export async function syncHistory(
  sql: Sql,
  nodeId: NodeId,
  page: { readonly limit: number; readonly before: string | null },
): Promise<SyncHistory> {
  // In the order in which they were written: ids follow the clock, which may be set back.
  const rows = await sql.all(
    `SELECT id, base_revision, revision, succeeded, results, schema_failures, skipped, duration_ms, created_at
     FROM sync_records WHERE node_id = ?1 AND (?2 IS NULL OR
       rowid < (SELECT rowid FROM sync_records WHERE id = ?2)) ORDER BY rowid DESC LIMIT ?3`,
    [nodeId, page.before, page.limit + 1],
  )
  const items = rows.slice(0, page.limit).map(toView)
  const more = rows.length > items.length
  return {
    items,
    next_cursor: more ? (items.at(-1)?.id ?? null) : null,
    statistics: await statisticsOf(sql, nodeId),
  }
}

function toView(row: Row): SyncRecordView {
  const results = JSON.parse(String(row['results'])) as FunctionResult[]
  const failures = results.filter((result) => result.state === 'failed')
  return {
    id: String(row['id']),
    base_revision: Number(row['base_revision']),
    revision: Number(row['revision']),
    succeeded: row['succeeded'] === 1,
    deployed: results.length - failures.length,
    failed: failures.length,
    failures: failures.slice(0, syncFailuresShownMax),
    schema_failures: listIn<SchemaResult>(row['schema_failures']),
    skipped: listIn<string>(row['skipped']),
    duration_ms: Number(row['duration_ms']),
    created_at: String(row['created_at']),
  }
}

/** The cast is the border: the columns are JSON arrays that this program wrote, or null. */
function listIn<T>(json: SqlValue | undefined): T[] {
  return typeof json === 'string' ? (JSON.parse(json) as T[]) : []
}

async function statisticsOf(sql: Sql, nodeId: NodeId): Promise<SyncStatistics> {
  const rows = await sql.all(
    'SELECT succeeded, duration_ms FROM sync_records WHERE node_id = ? ORDER BY duration_ms',
    [nodeId],
  )
  const durations = rows.map((row) => Number(row['duration_ms']))
  const succeeded = rows.filter((row) => row['succeeded'] === 1).length
  const syncs = rows.length
  return {
    syncs,
    succeeded,
    success_rate: syncs === 0 ? null : succeeded / syncs,
    duration_ms:
      syncs === 0
        ? null
        : {
            min: quantile(durations, 0),
            median: quantile(durations, 0.5),
            p95: quantile(durations, 0.95),
            max: quantile(durations, 1),
          },
  }
}

/** The smallest of `sorted` that is no less than a share `q` of them: a value that was measured. */
export function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? 0
}
