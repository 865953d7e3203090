/** Statements on schemas and on what nodes said of them. */

import type { FunctionId } from '../../protocol/ids.ts'
import type { SchemaBody, SchemaId, SchemaOnNode } from '../../protocol/schemas.ts'
import type { Sql, Transaction } from '../db/database.ts'
import type { SchemaRow } from './schema.ts'

const COLUMNS = `s.id, s.function_id, f.name AS function_name, s.number, s.label, s.sha256, s.size_bytes,
  s.pop_selector, s.created_by, s.created_at`
const FROM = 'FROM schemas s JOIN functions f ON f.id = s.function_id AND f.deleted_at IS NULL'

/** With its text; null when there is none of that id, or its function was deleted. */
export async function getSchema(
  sql: Sql,
  id: SchemaId,
): Promise<(SchemaRow & { readonly sql: string }) | null> {
  const row = await sql.get(`SELECT ${COLUMNS}, s.sql ${FROM} WHERE s.id = ?`, [id])
  return row as unknown as (SchemaRow & { sql: string }) | null
}

/** Oldest first; ids are UUIDv7, so the id of the last row of a page is its cursor. */
export async function listSchemas(
  sql: Sql,
  filter: {
    readonly function_id: FunctionId | null
    readonly after: string | null
    readonly rows_max: number
  },
): Promise<SchemaRow[]> {
  const rows = await sql.all(
    `SELECT ${COLUMNS} ${FROM} WHERE (?1 IS NULL OR s.function_id = ?1) AND (?2 IS NULL OR s.id > ?2)
     ORDER BY s.id LIMIT ?3`,
    [filter.function_id, filter.after, filter.rows_max],
  )
  return rows as unknown as SchemaRow[]
}

/** All of a function, in order. */
export async function bodiesOf(sql: Sql, functionId: FunctionId): Promise<SchemaBody[]> {
  const rows = await sql.all(
    'SELECT number, sha256, sql FROM schemas WHERE function_id = ? ORDER BY number',
    [functionId],
  )
  return rows as unknown as SchemaBody[]
}

/** Of the newest schema of a function; 0 before the first. */
export async function lastNumber(sql: Sql, functionId: FunctionId): Promise<number> {
  const row = await sql.get('SELECT max(number) AS number FROM schemas WHERE function_id = ?', [
    functionId,
  ])
  return Number(row?.['number'] ?? 0)
}

export async function insertSchema(
  tx: Transaction,
  row: SchemaRow & { readonly sql: string; readonly revision: number },
): Promise<void> {
  await tx.run(
    `INSERT INTO schemas (id, function_id, number, label, sql, sha256, size_bytes, pop_selector, revision,
       created_by, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    [
      row.id,
      row.function_id,
      row.number,
      row.label,
      row.sql,
      row.sha256,
      row.size_bytes,
      row.pop_selector,
      row.revision,
      row.created_by,
      row.created_at,
    ],
  )
}

/** Nodes that should serve the function, each with its word on a schema. */
export async function nodesOf(
  sql: Sql,
  functionId: FunctionId,
  number: number,
): Promise<SchemaOnNode[]> {
  const rows = await sql.all(
    `SELECT a.node_id, n.pop_id, coalesce(r.state, 'pending') AS state, r.error_code, r.error_message, r.updated_at
     FROM assignments a JOIN nodes n ON n.id = a.node_id
     LEFT JOIN schema_results r ON r.node_id = a.node_id AND r.function_id = a.function_id AND r.number = ?2
     WHERE a.function_id = ?1 AND a.removed = 0 ORDER BY n.pop_id, a.node_id`,
    [functionId, number],
  )
  return rows as unknown as SchemaOnNode[]
}
