/** The tables of webhooks and of what is on its way to them. */

import { eventKind } from '../../protocol/events.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { EventMessage } from '../../protocol/messages.ts'
import type { WebhookDelivery, WebhookView } from '../../protocol/webhooks.ts'
import type { Row, Sql, Transaction } from '../db/database.ts'

export interface WebhookRow {
  readonly id: string
  readonly url: string
  readonly events: readonly string[]
  readonly function_id: string | null
  readonly secret_sealed: string
  readonly created_by: string
  readonly created_at: string
}

const VIEW = `SELECT webhooks.id, url, events, webhooks.function_id, functions.name AS function_name,
    functions.deleted_at IS NOT NULL AS function_deleted,
    (SELECT count(*) FROM webhook_deliveries WHERE webhook_id = webhooks.id AND state = 'pending') AS pending,
    (SELECT count(*) FROM webhook_deliveries WHERE webhook_id = webhooks.id AND state = 'failed') AS failed,
    created_by, webhooks.created_at
  FROM webhooks LEFT JOIN functions ON functions.id = webhooks.function_id`

export async function insertWebhook(tx: Transaction, row: WebhookRow): Promise<void> {
  await tx.run(
    `INSERT INTO webhooks (id, url, events, function_id, secret_sealed, created_by, created_at)
     VALUES (?, ?, ?, ?, ?, ?, ?)`,
    [
      row.id,
      row.url,
      JSON.stringify(row.events),
      row.function_id,
      row.secret_sealed,
      row.created_by,
      row.created_at,
    ],
  )
}

export async function countWebhooks(sql: Sql): Promise<number> {
  return Number((await sql.get('SELECT count(*) AS rows FROM webhooks'))?.['rows'])
}

export async function getWebhook(sql: Sql, id: string): Promise<WebhookView | null> {
  const row = await sql.get(`${VIEW} WHERE webhooks.id = ?`, [id])
  return row === null ? null : viewOf(row)
}

/** In the order of their making, after the id `after`. */
export async function listWebhooks(
  sql: Sql,
  after: string | null,
  rowsMax: number,
): Promise<WebhookView[]> {
  const rows = await sql.all(`${VIEW} WHERE webhooks.id > ? ORDER BY webhooks.id LIMIT ?`, [
    after ?? '',
    rowsMax,
  ])
  return rows.map(viewOf)
}

/** With all of its deliveries. */
export async function deleteWebhook(tx: Transaction, id: string): Promise<void> {
  await tx.run('DELETE FROM webhooks WHERE id = ?', [id])
}

function viewOf(row: Row): WebhookView {
  return {
    ...row,
    events: JSON.parse(String(row['events'])),
    function_deleted: row['function_deleted'] === 1,
  } as unknown as WebhookView
}

/** Newest first, before the id `before`. */
export async function listDeliveries(
  sql: Sql,
  webhookId: string,
  query: { readonly state: string | null; readonly before: string | null; readonly limit: number },
): Promise<WebhookDelivery[]> {
  const rows = await sql.all(
    `SELECT id, event_seq, kind, state, attempts,
       CASE state WHEN 'pending' THEN next_attempt_at END AS next_attempt_at,
       last_status, last_error, last_ms, created_at, updated_at
     FROM webhook_deliveries
     WHERE webhook_id = ? AND (? IS NULL OR state = ?) AND (? IS NULL OR
       rowid < (SELECT rowid FROM webhook_deliveries WHERE id = ?))
     ORDER BY rowid DESC LIMIT ?`,
    [webhookId, query.state, query.state, query.before, query.before, query.limit],
  )
  return rows as unknown as WebhookDelivery[]
}

/** Writes a delivery for each webhook that wants the event; returns whether there was one. */
export async function enqueueDeliveries(
  tx: Transaction,
  seq: number,
  event: EventMessage,
): Promise<boolean> {
  const kind = eventKind(event)
  const wanting = await tx.all(
    `SELECT id FROM webhooks
     WHERE (function_id IS NULL OR function_id = ?)
       AND (events = '[]' OR EXISTS (SELECT 1 FROM json_each(events) WHERE value = ? OR value = ?))`,
    ['function_id' in event ? event.function_id : null, event.type, kind],
  )
  const now = new Date().toISOString()
  for (const { id } of wanting) {
    await tx.run(
      `INSERT INTO webhook_deliveries
         (id, webhook_id, event_seq, kind, payload, state, next_attempt_at, created_at, updated_at)
       VALUES (?, ?, ?, ?, ?, 'pending', ?, ?, ?)`,
      [Bun.randomUUIDv7(), id ?? null, seq, kind, JSON.stringify(event), now, now, now],
    )
  }
  return wanting.length > 0
}

/**
 * Deletes deliveries that ended and are too many or too old to be remembered, and gives up the oldest of those that wait when
 * they are too many: an endpoint that is away for long must not fill the disk.
 */
export async function pruneDeliveries(tx: Transaction, nowMs: number): Promise<void> {
  const now = new Date(nowMs).toISOString()
  await tx.run(
    `UPDATE webhook_deliveries SET state = 'failed', updated_at = ?,
       last_error = 'Given up: more than ${LIMITS.webhookPendingMax} newer deliveries wait.'
     WHERE id IN (
       SELECT id FROM (
         SELECT id, row_number() OVER (PARTITION BY webhook_id ORDER BY event_seq DESC) AS place
         FROM webhook_deliveries WHERE state = 'pending'
       ) WHERE place > ?)`,
    [now, LIMITS.webhookPendingMax],
  )
  await tx.run(
    `DELETE FROM webhook_deliveries WHERE id IN (
       SELECT id FROM (
         SELECT id, updated_at,
           row_number() OVER (PARTITION BY webhook_id ORDER BY event_seq DESC) AS place
         FROM webhook_deliveries WHERE state <> 'pending'
       ) WHERE place > ? OR updated_at < ?)`,
    [LIMITS.webhookHistoryMax, new Date(nowMs - LIMITS.webhookHistoryMsMax).toISOString()],
  )
}
