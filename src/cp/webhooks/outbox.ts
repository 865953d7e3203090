/** Deliveries as they are tried: claimed so that no other process has the same one, put off with backoff, ended. */

import { backoffMs } from '../../protocol/backoff.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { Sql, Transaction } from '../db/database.ts'

/** A delivery that whoever has claimed it may try. */
export interface Claim {
  readonly id: string
  readonly webhook_id: string
  readonly url: string
  readonly secret_sealed: string
  readonly event_seq: number
  readonly kind: string
  /** JSON of the event. */
  readonly payload: string
  /** This one included. */
  readonly attempts: number
  readonly created_at: string
}

/** What came of an attempt. */
export interface Outcome {
  /** Null when there was no answer. */
  readonly status: number | null
  /** Null when it was taken. */
  readonly error: string | null
  readonly ms: number
}

/** Milliseconds for which a claim keeps others away: longer than an attempt may take, its writing included. */
const claimMs = LIMITS.webhookAttemptMsMax + 5_000

/** How due a row is: a time further ahead than any was set was written before the clock was set back. */
const DUE = `state = 'pending' AND (next_attempt_at <= ? OR next_attempt_at > ?)`

/** What waits for a webhook `w`, by the time of its next attempt: thousands may wait for one that does not answer. */
const PENDING = `FROM webhook_deliveries INDEXED BY webhook_deliveries_due
         WHERE webhook_id = w.id AND state = 'pending'`

function dueTimes(nowMs: number): [string, string] {
  const furthestMs = Math.max(claimMs, LIMITS.backoffMsMax)
  return [new Date(nowMs).toISOString(), new Date(nowMs + furthestMs + 1_000).toISOString()]
}

/** Claims the first delivery that is due of each webhook but those of `busy`; counts an attempt for each. */
export async function claimDeliveries(
  tx: Transaction,
  nowMs: number,
  busy: readonly string[],
): Promise<Claim[]> {
  const rows = await tx.all(
    `SELECT id FROM (
       SELECT (SELECT id FROM webhook_deliveries INDEXED BY webhook_deliveries_pending
         WHERE webhook_id = w.id AND ${DUE} ORDER BY event_seq LIMIT 1) AS id
       FROM webhooks w WHERE w.id NOT IN (SELECT value FROM json_each(?))
     ) WHERE id IS NOT NULL`,
    [...dueTimes(nowMs), JSON.stringify(busy)],
  )
  if (rows.length === 0) return []
  const ids = JSON.stringify(rows.map((row) => row['id']))
  await tx.run(
    `UPDATE webhook_deliveries SET attempts = attempts + 1, next_attempt_at = ?
     WHERE id IN (SELECT value FROM json_each(?))`,
    [new Date(nowMs + claimMs).toISOString(), ids],
  )
  return (await tx.all(
    `SELECT webhook_deliveries.id, webhook_id, url, secret_sealed, event_seq, kind, payload, attempts,
       webhook_deliveries.created_at
     FROM webhook_deliveries JOIN webhooks ON webhooks.id = webhook_id
     WHERE webhook_deliveries.id IN (SELECT value FROM json_each(?))`,
    [ids],
  )) as unknown as Claim[]
}

/** Milliseconds until the next delivery of a webhook that is not busy is due; null when none waits. */
export async function nextDueMs(
  sql: Sql,
  nowMs: number,
  busy: readonly string[],
): Promise<number | null> {
  const row = await sql.get(
    `SELECT min(first) AS first, max(last) AS last FROM (
       SELECT (SELECT min(next_attempt_at) ${PENDING}) AS first, (SELECT max(next_attempt_at) ${PENDING}) AS last
       FROM webhooks w WHERE w.id NOT IN (SELECT value FROM json_each(?)))`,
    [JSON.stringify(busy)],
  )
  const { first, last } = row ?? {}
  if (typeof first !== 'string' || typeof last !== 'string') return null
  const [, furthest] = dueTimes(nowMs)
  return last > furthest ? 0 : Math.max(Date.parse(first) - nowMs, 0)
}

/** Writes what came of an attempt, unless somebody has tried since: the claim had run out. `random` is in [0, 1). */
export async function settleDelivery(
  tx: Transaction,
  claim: Claim,
  outcome: Outcome,
  nowMs: number,
  random: number,
): Promise<void> {
  const tooOld = nowMs - Date.parse(claim.created_at) >= LIMITS.webhookRetryMsMax
  const state = outcome.error === null ? 'delivered' : tooOld ? 'failed' : 'pending'
  await tx.run(
    `UPDATE webhook_deliveries
     SET state = ?, last_status = ?, last_error = ?, last_ms = ?, next_attempt_at = ?, updated_at = ?
     WHERE id = ? AND attempts = ? AND state = 'pending'`,
    [
      state,
      outcome.status,
      outcome.error,
      Math.round(outcome.ms),
      new Date(nowMs + backoffMs(claim.attempts, random)).toISOString(),
      new Date(nowMs).toISOString(),
      claim.id,
      claim.attempts,
    ],
  )
}
