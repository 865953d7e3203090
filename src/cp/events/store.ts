/** The table of events: appended to in transactions, read in order, cut off at its old end. */

import { eventKind } from '../../protocol/events.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { EventMessage } from '../../protocol/messages.ts'
import type { Sql, SqlValue, Transaction } from '../db/database.ts'

export interface EventRow {
  readonly seq: number
  readonly kind: string
  /** JSON of an EventMessage. */
  readonly payload: string
}

/** Which events a reader wants; null is not looked at. */
export interface EventFilter {
  /** Types (`rollout`) and kinds (`rollout.gate_failed`). */
  readonly kinds: readonly string[] | null
  readonly function_id: string | null
  readonly deployment_id: string | null
}

/** Writes events and returns their numbers, in their order. */
export async function appendEvents(
  tx: Transaction,
  events: readonly EventMessage[],
): Promise<number[]> {
  const now = new Date().toISOString()
  const seqs: number[] = []
  for (const event of events) {
    const row = await tx.get(
      `INSERT INTO events (kind, function_id, deployment_id, payload, created_at)
       VALUES (?, ?, ?, ?, ?) RETURNING seq`,
      [
        eventKind(event),
        'function_id' in event ? event.function_id : null,
        'deployment_id' in event ? event.deployment_id : null,
        JSON.stringify(event),
        now,
      ],
    )
    seqs.push(Number(row?.['seq']))
  }
  return seqs
}

/**
 * The next events after `seq` that the filter lets through, at most `rowsMax`, and the number up to which that has been
 * looked at. A number is always committed after those below it, because one transaction writes at a time.
 */
export async function eventsAfter(
  sql: Sql,
  seq: number,
  filter: EventFilter,
  rowsMax: number,
): Promise<{ readonly rows: readonly EventRow[]; readonly seq: number }> {
  // Read first: what is committed in between is above it, and found the next time.
  const newest = await newestSeq(sql)
  const conditions: string[] = []
  const values: SqlValue[] = []
  const { kinds, function_id, deployment_id } = filter
  if (kinds !== null) {
    conditions.push(
      `EXISTS (SELECT 1 FROM json_each(?) WHERE value = kind OR value || '.' = substr(kind, 1, length(value) + 1))`,
    )
    values.push(JSON.stringify(kinds))
  }
  if (function_id !== null) {
    conditions.push('function_id = ?')
    values.push(function_id)
  }
  if (deployment_id !== null) {
    conditions.push('deployment_id = ?')
    values.push(deployment_id)
  }
  const rows = (await sql.all(
    `SELECT seq, kind, payload FROM events WHERE seq > ? AND seq <= ?
     ${conditions.map((condition) => `AND ${condition}`).join(' ')} ORDER BY seq LIMIT ?`,
    [seq, newest, ...values, rowsMax],
  )) as unknown as EventRow[]
  const last = rows.length === rowsMax ? rows.at(-1)?.seq : undefined
  return { rows, seq: last ?? Math.max(newest, seq) }
}

/** Number of the newest event; 0 before the first. */
export async function newestSeq(sql: Sql): Promise<number> {
  return Number((await sql.get('SELECT max(seq) AS seq FROM events'))?.['seq'] ?? 0)
}

/** Number of the oldest event that is kept; 1 before the first. */
export async function oldestSeq(sql: Sql): Promise<number> {
  return Number((await sql.get('SELECT min(seq) AS seq FROM events'))?.['seq'] ?? 1)
}

/** Deletes what is too old or too many, a part at a time; the newest stays, so that the numbers are known. Returns how many. */
export async function pruneEvents(tx: Transaction, nowMs: number): Promise<number> {
  const oldest = new Date(nowMs - LIMITS.eventsKeptMsMax).toISOString()
  return tx.run(
    `DELETE FROM events WHERE seq IN (
       SELECT seq FROM events
       WHERE seq < (SELECT max(seq) FROM events)
         AND (created_at < ? OR seq <= (SELECT max(seq) FROM events) - ?)
       ORDER BY seq LIMIT ?)`,
    [oldest, LIMITS.eventsKeptMax, pruneRowsMax],
  )
}

/** Events deleted in one transaction: others must not wait for it. */
export const pruneRowsMax = 5_000
