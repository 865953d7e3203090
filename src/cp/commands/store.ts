/** Statements on commands, and on what they leave on nodes. */

import type { CommandId, CommandResult, CommandState } from '../../protocol/commands.ts'
import type { NodeId, PopId } from '../../protocol/ids.ts'
import type { Sql, SqlValue, Transaction } from '../db/database.ts'
import type { CommandRow } from './schema.ts'

const COLUMNS = `id, node_id, type, params, state, created_by, created_at, deadline_at, give_up_at, delivered_at,
  finished_at, result, error_code, error_message`
const OPEN = `state IN ('pending', 'delivered')`
/** Whose time is over: nobody fetched it, or whoever did says nothing. */
const OVERDUE = `((state = 'pending' AND deadline_at <= ?) OR (state = 'delivered' AND give_up_at <= ?))`

export async function insertCommand(tx: Transaction, row: CommandRow): Promise<void> {
  await tx.run(
    `INSERT INTO commands (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    [
      row.id,
      row.node_id,
      row.type,
      row.params,
      row.state,
      row.created_by,
      row.created_at,
      row.deadline_at,
      row.give_up_at,
      row.delivered_at,
      row.finished_at,
      row.result,
      row.error_code,
      row.error_message,
    ],
  )
}

export async function getCommand(sql: Sql, id: CommandId): Promise<CommandRow | null> {
  const row = await sql.get(`SELECT ${COLUMNS} FROM commands WHERE id = ?`, [id])
  return row as unknown as CommandRow | null
}

/**
 * Newest first, as they were written: ids follow the clock, which may be set back. The id of the last row of a page is its cursor.
 */
export async function listCommands(
  sql: Sql,
  filter: {
    readonly node_id: NodeId
    readonly state: CommandState | null
    readonly before: CommandId | null
    readonly rows_max: number
  },
): Promise<CommandRow[]> {
  const where = ['node_id = ?']
  const parameters: SqlValue[] = [filter.node_id]
  if (filter.state !== null) {
    where.push('state = ?')
    parameters.push(filter.state)
  }
  if (filter.before !== null) {
    where.push('rowid < (SELECT rowid FROM commands WHERE id = ?)')
    parameters.push(filter.before)
  }
  const rows = await sql.all(
    `SELECT ${COLUMNS} FROM commands WHERE ${where.join(' AND ')} ORDER BY rowid DESC LIMIT ?`,
    [...parameters, filter.rows_max],
  )
  return rows as unknown as CommandRow[]
}

/** How many commands the node has not answered. */
export async function countOpen(sql: Sql, nodeId: NodeId): Promise<number> {
  const row = await sql.get(`SELECT count(*) AS n FROM commands WHERE node_id = ? AND ${OPEN}`, [
    nodeId,
  ])
  return Number(row?.['n'] ?? 0)
}

/** What the node has not answered, in the order in which it was asked for; without those that nobody may begin any more. */
export async function openCommands(sql: Sql, nodeId: NodeId, now: string): Promise<CommandRow[]> {
  const rows = await sql.all(
    `SELECT ${COLUMNS} FROM commands WHERE node_id = ? AND ${OPEN}
     AND (state = 'delivered' OR deadline_at > ?) ORDER BY rowid`,
    [nodeId, now],
  )
  return rows as unknown as CommandRow[]
}

/** Notes that the node was handed a command. Returns false when it is not pending any more. */
export async function markDelivered(
  tx: Transaction,
  command: CommandRow,
  now: string,
): Promise<boolean> {
  const changed = await tx.run(
    `UPDATE commands SET state = 'delivered', delivered_at = ? WHERE id = ? AND state = 'pending'`,
    [now, command.id],
  )
  return changed > 0
}

export async function finishCommand(
  tx: Transaction,
  id: CommandId,
  result: CommandResult,
  now: string,
): Promise<void> {
  await tx.run(
    `UPDATE commands SET state = ?, finished_at = ?, result = ?, error_code = ?, error_message = ? WHERE id = ?`,
    [
      result.state,
      now,
      JSON.stringify(result.detail),
      result.error?.code ?? null,
      result.error?.message ?? null,
      id,
    ],
  )
}

/** Commands whose time is over and that nobody has closed. */
export async function overdueCommands(sql: Sql, now: string): Promise<CommandRow[]> {
  const rows = await sql.all(
    `SELECT ${COLUMNS} FROM commands WHERE ${OPEN} AND ${OVERDUE} ORDER BY rowid LIMIT 500`,
    [now, now],
  )
  return rows as unknown as CommandRow[]
}

/** Commands that are looked at together. */
export const unfetchedMax = 500

/** Commands that no node has fetched. */
export async function unfetchedCommands(
  sql: Sql,
): Promise<readonly { readonly id: CommandId; readonly node_id: NodeId }[]> {
  const rows = await sql.all(
    `SELECT id, node_id FROM commands WHERE ${OPEN} AND state = 'pending' LIMIT ?`,
    [unfetchedMax],
  )
  return rows as unknown as { id: CommandId; node_id: NodeId }[]
}

/** Fails the open commands of a node: all, or only those that were handed out. */
export async function failOpen(
  tx: Transaction,
  nodeId: NodeId,
  which: 'all' | 'delivered',
  error: { readonly code: string; readonly message: string },
): Promise<void> {
  await tx.run(
    `UPDATE commands SET state = 'failed', finished_at = ?, error_code = ?, error_message = ?
     WHERE node_id = ? AND ${OPEN} AND (state = 'delivered' OR ?)`,
    [new Date().toISOString(), error.code, error.message, nodeId, which === 'all' ? 1 : 0],
  )
}

/** Forgets commands that were finished before a time. */
export async function deleteFinishedBefore(tx: Transaction, time: string): Promise<number> {
  return tx.run('DELETE FROM commands WHERE finished_at < ?', [time])
}

export async function nodeForCommand(
  sql: Sql,
  id: NodeId,
): Promise<{ readonly pop_id: PopId; readonly cordoned: number } | null> {
  const row = await sql.get('SELECT pop_id, cordoned FROM nodes WHERE id = ?', [id])
  return row as unknown as { pop_id: PopId; cordoned: number } | null
}

/** What commands leave on a node. */
export async function setMode(
  tx: Transaction,
  id: NodeId,
  mode: 'cordoned' | 'drained' | 'isolated_until',
  value: 0 | 1 | string | null,
): Promise<void> {
  await tx.run(`UPDATE nodes SET ${mode} = ?, updated_at = ? WHERE id = ?`, [
    value,
    new Date().toISOString(),
    id,
  ])
}
