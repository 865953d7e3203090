/** The outbox table and the counter of revisions: notices wait here until their node has them [R2.4]. */

import { LIMITS } from '../../protocol/limits.ts'
import { backoffMs } from '../../protocol/backoff.ts'
import type { DeploymentId, FunctionId, NodeId } from '../../protocol/ids.ts'
import type { Sql, Transaction } from '../db/database.ts'
import type { EnqueueNotices, NextRevision, NoticeRequest } from './notices.ts'

/** A notice that its node has not acknowledged. */
export interface OutboxRow {
  readonly id: string
  readonly node_id: NodeId
  readonly revision: number
  readonly type: 'deploy' | 'routes' | 'undeploy'
  readonly function_id: FunctionId | null
  readonly deployment_id: DeploymentId | null
  readonly attempts: number
}

export interface ClaimOptions {
  /** Only these nodes' rows. */
  readonly node_ids: readonly NodeId[]
  /** Unix time in milliseconds. */
  readonly now_ms: number
  readonly rows_max: number
  readonly rows_per_node_max: number
  /** In [0, 1), for the jitter of the next attempt. */
  readonly random: () => number
}

export interface Outbox {
  readonly nextRevision: NextRevision
  readonly enqueueNotices: EnqueueNotices
  /**
   * Takes the rows that are due, oldest revision first, counts an attempt for each and sets when the next one is due
   * [P15]. A row stays until it is acknowledged, so a push lost after the commit is made again.
   */
  claimDue(tx: Transaction, options: ClaimOptions): Promise<OutboxRow[]>
  /** Nodes that have rows: of a fleet that is up to date none, or those that are away. */
  nodesWaiting(sql: Sql): Promise<NodeId[]>
  /** Unix milliseconds of the earliest attempt for any of the nodes; null when they have no rows. */
  nextDueMs(sql: Sql, nodeIds: readonly NodeId[]): Promise<number | null>
  /** Makes every row of a node due at once: it has just connected. */
  makeDue(tx: Transaction, nodeId: NodeId, nowMs: number): Promise<void>
  /** Notices the node does not have yet, oldest first, for the answer to a heartbeat [R7.3]. */
  undelivered(sql: Sql, nodeId: NodeId, rowsMax: number): Promise<OutboxRow[]>
  /** Drops one notice of the node; returns it, or null when it was gone. */
  acknowledge(tx: Transaction, nodeId: NodeId, noticeId: string): Promise<OutboxRow | null>
  /** Drops every notice up to a revision that the node has applied. */
  acknowledgeUpTo(tx: Transaction, nodeId: NodeId, revision: number): Promise<void>
  /** Drops notices that mean nothing any more. */
  discard(tx: Transaction, noticeIds: readonly string[]): Promise<void>
  length(sql: Sql): Promise<number>
  /** The newest revision, whichever control plane gave it. */
  revision(sql: Sql): Promise<number>
}

const COLUMNS = 'id, node_id, revision, type, function_id, deployment_id, attempts'

/** `wake` is called from inside transactions that enqueue; it must only arrange for the relay to look soon. */
export function createOutbox(deps: { readonly wake: () => void }): Outbox {
  return {
    nextRevision,
    nodesWaiting: async (sql) =>
      (await sql.all('SELECT DISTINCT node_id FROM outbox')).map((row) => row['node_id'] as NodeId),
    claimDue,
    nextDueMs,
    makeDue,
    acknowledge,
    acknowledgeUpTo,
    discard,
    enqueueNotices: async (tx, request) => {
      if (request.node_ids.length === 0) return
      await enqueue(tx, request)
      deps.wake()
    },
    undelivered: async (sql, nodeId, rowsMax) =>
      (await sql.all(
        `SELECT ${COLUMNS} FROM outbox WHERE node_id = ? ORDER BY revision, id LIMIT ?`,
        [nodeId, rowsMax],
      )) as unknown as OutboxRow[],
    revision: async (sql) =>
      Number((await sql.get('SELECT revision FROM revision_counter WHERE id = 1'))?.['revision']),
    length: async (sql) => Number((await sql.get('SELECT count(*) AS rows FROM outbox'))?.['rows']),
  }
}

async function nextRevision(tx: Transaction): Promise<number> {
  const row = await tx.get(
    'UPDATE revision_counter SET revision = revision + 1 WHERE id = 1 RETURNING revision',
  )
  return Number(row?.['revision'])
}

/** One row per node. A newer notice about the same function (or about routes) overtakes the node's older one. */
async function enqueue(tx: Transaction, request: NoticeRequest): Promise<void> {
  const nodes = JSON.stringify(request.node_ids)
  const now = new Date().toISOString()
  if (request.type === 'routes') {
    await tx.run(
      `DELETE FROM outbox WHERE type = 'routes' AND function_id IS NULL
       AND node_id IN (SELECT value FROM json_each(?))`,
      [nodes],
    )
  } else {
    await tx.run(
      `DELETE FROM outbox WHERE type <> 'routes' AND function_id = ?
       AND node_id IN (SELECT value FROM json_each(?))`,
      [request.function_id, nodes],
    )
  }
  const rows = request.node_ids.map((nodeId) => [Bun.randomUUIDv7(), nodeId])
  await tx.run(
    `INSERT INTO outbox (id, node_id, revision, type, function_id, deployment_id, next_attempt_at, created_at)
     SELECT value ->> 0, value ->> 1, ?, ?, ?, ?, ?, ? FROM json_each(?)`,
    [
      request.revision,
      request.type,
      request.function_id,
      request.deployment_id,
      now,
      now,
      JSON.stringify(rows),
    ],
  )
  await tx.run(
    `UPDATE nodes SET desired_revision = max(desired_revision, ?)
     WHERE id IN (SELECT value FROM json_each(?))`,
    [request.revision, nodes],
  )
}

async function claimDue(tx: Transaction, options: ClaimOptions): Promise<OutboxRow[]> {
  if (options.node_ids.length === 0) return []
  const now = new Date(options.now_ms).toISOString()
  // Due as well: what nobody has tried, perhaps written by a clock that is ahead, and a time further ahead than any backoff, which
  // was written before the clock was set back.
  const beyond = new Date(options.now_ms + LIMITS.backoffMsMax + 1).toISOString()
  const rows = (await tx.all(
    `SELECT ${COLUMNS} FROM (
       SELECT *, row_number() OVER (PARTITION BY node_id ORDER BY revision, id) AS place FROM outbox
       WHERE node_id IN (SELECT value FROM json_each(?))
         AND (attempts = 0 OR next_attempt_at <= ? OR next_attempt_at > ?)
     ) WHERE place <= ? ORDER BY revision, id LIMIT ?`,
    [JSON.stringify(options.node_ids), now, beyond, options.rows_per_node_max, options.rows_max],
  )) as unknown as OutboxRow[]
  const next = rows.map((row) => [
    row.id,
    new Date(options.now_ms + backoffMs(row.attempts + 1, options.random())).toISOString(),
  ])
  await tx.run(
    `UPDATE outbox SET attempts = attempts + 1, next_attempt_at = due.value ->> 1
     FROM json_each(?) AS due WHERE outbox.id = due.value ->> 0`,
    [JSON.stringify(next)],
  )
  return rows
}

async function nextDueMs(sql: Sql, nodeIds: readonly NodeId[]): Promise<number | null> {
  const row = await sql.get(
    `SELECT min(next_attempt_at) AS due FROM outbox
     WHERE node_id IN (SELECT value FROM json_each(?))`,
    [JSON.stringify(nodeIds)],
  )
  const due = row?.['due']
  return typeof due === 'string' ? Date.parse(due) : null
}

async function makeDue(tx: Transaction, nodeId: NodeId, nowMs: number): Promise<void> {
  await tx.run('UPDATE outbox SET next_attempt_at = ? WHERE node_id = ?', [
    new Date(nowMs).toISOString(),
    nodeId,
  ])
}

async function acknowledge(
  tx: Transaction,
  nodeId: NodeId,
  noticeId: string,
): Promise<OutboxRow | null> {
  const row = await tx.get(`DELETE FROM outbox WHERE id = ? AND node_id = ? RETURNING ${COLUMNS}`, [
    noticeId,
    nodeId,
  ])
  return row as unknown as OutboxRow | null
}

async function acknowledgeUpTo(tx: Transaction, nodeId: NodeId, revision: number): Promise<void> {
  await tx.run('DELETE FROM outbox WHERE node_id = ? AND revision <= ?', [nodeId, revision])
}

async function discard(tx: Transaction, noticeIds: readonly string[]): Promise<void> {
  await tx.run('DELETE FROM outbox WHERE id IN (SELECT value FROM json_each(?))', [
    JSON.stringify(noticeIds),
  ])
}
