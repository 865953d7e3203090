/** Statements on nodes. */

import type { FunctionId, NodeId, PopId } from '../../protocol/ids.ts'
import type { NodeStatus } from '../../protocol/messages.ts'
import type { Sql, SqlValue, Transaction } from '../db/database.ts'
import type { SplitView } from '../../protocol/split.ts'
import { readSplit } from '../split-column.ts'
import type { NodeRow, ShownNodeRow } from './schema.ts'

/** Everything but the token's hash, which leaves the database only by comparison. */
const COLUMNS = `id, pop_id, ip, status, last_heartbeat, desired_revision, applied_revision, version, os, arch,
  http_port, cpu_percent, mem_bytes, cordoned, drained, isolated_until, created_at, updated_at`
/** The newest command of a node, as JSON. */
const LAST_COMMAND = `(SELECT json_object('id', c.id, 'type', c.type, 'state', c.state) FROM commands c
  WHERE c.node_id = nodes.id ORDER BY c.rowid DESC LIMIT 1) AS last_command`

export async function getNode(sql: Sql, id: NodeId): Promise<NodeRow | null> {
  return (await sql.get(`SELECT ${COLUMNS} FROM nodes WHERE id = ?`, [
    id,
  ])) as unknown as NodeRow | null
}

/** The same with what people are shown besides. */
export async function showNode(sql: Sql, id: NodeId): Promise<ShownNodeRow | null> {
  const row = await sql.get(`SELECT ${COLUMNS}, ${LAST_COMMAND} FROM nodes WHERE id = ?`, [id])
  return row as unknown as ShownNodeRow | null
}

/** In order of id, which is also the cursor. */
export async function listNodes(
  sql: Sql,
  filter: {
    readonly pop_id: PopId | null
    readonly status: NodeStatus | null
    /** 0 or 1. */
    readonly cordoned: number | null
    readonly after: string | null
    readonly rows_max: number
  },
): Promise<ShownNodeRow[]> {
  const where: string[] = ['true']
  const parameters: SqlValue[] = []
  const add = (condition: string, value: string | number | null) => {
    if (value === null) return
    where.push(condition)
    parameters.push(value)
  }
  add('pop_id = ?', filter.pop_id)
  add('status = ?', filter.status)
  add('cordoned = ?', filter.cordoned)
  add('id > ?', filter.after)
  const rows = await sql.all(
    `SELECT ${COLUMNS}, ${LAST_COMMAND} FROM nodes WHERE ${where.join(' AND ')} ORDER BY id LIMIT ?`,
    [...parameters, filter.rows_max],
  )
  return rows as unknown as ShownNodeRow[]
}

export async function allNodes(sql: Sql): Promise<NodeRow[]> {
  return (await sql.all(`SELECT ${COLUMNS} FROM nodes ORDER BY id`)) as unknown as NodeRow[]
}

/**
 * Inserts a node, or gives an existing one new credentials. It comes back as if new: whatever it held may be gone, so
 * nothing counts as applied and its next plan is full.
 */
export async function putNode(
  tx: Transaction,
  node: Pick<NodeRow, 'id' | 'pop_id' | 'ip' | 'version' | 'os' | 'arch' | 'http_port'>,
  tokenHash: string,
  now: string,
): Promise<void> {
  await tx.run(
    `INSERT INTO nodes (id, pop_id, ip, status, version, os, arch, http_port, token_hash, created_at, updated_at)
     VALUES (?, ?, ?, 'offline', ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET ip = excluded.ip, version = excluded.version, os = excluded.os,
       arch = excluded.arch, http_port = excluded.http_port, token_hash = excluded.token_hash,
       next_token_hash = NULL, applied_revision = 0, drained = 0, isolated_until = NULL, updated_at = excluded.updated_at`,
    [
      node.id,
      node.pop_id,
      node.ip,
      node.version,
      node.os,
      node.arch,
      node.http_port,
      tokenHash,
      now,
      now,
    ],
  )
}

/** Notes a token that was issued; it replaces the node's own with its first use (`auth/authenticate.ts`). */
export async function setNextTokenHash(
  tx: Transaction,
  id: NodeId,
  tokenHash: string,
  now: string,
): Promise<void> {
  await tx.run('UPDATE nodes SET next_token_hash = ?, updated_at = ? WHERE id = ?', [
    tokenHash,
    now,
    id,
  ])
}

/** Assignments, targets, notices and records of the node go with it. */
export async function deleteNode(tx: Transaction, id: NodeId): Promise<void> {
  // Its join token may not be answered again: the node would come back by itself.
  await tx.run('UPDATE join_tokens SET nonce_hash = NULL WHERE used_by_node = ?', [id])
  await tx.run('DELETE FROM nodes WHERE id = ?', [id])
}

/** Of a node's life, as the control plane that heard it last has written it. */
export interface LifeRow {
  readonly id: NodeId
  readonly pop_id: PopId
  readonly status: NodeStatus
  readonly last_heartbeat: string | null
}

export async function lifeRows(sql: Sql, ids: readonly NodeId[]): Promise<LifeRow[]> {
  const rows = await sql.all(
    `SELECT id, pop_id, status, last_heartbeat FROM nodes WHERE id IN (SELECT value FROM json_each(?))`,
    [JSON.stringify(ids)],
  )
  return rows as unknown as LifeRow[]
}

/** What is known of a node's life since the last write. */
export interface LifeSigns {
  readonly id: NodeId
  readonly status: NodeStatus
  readonly last_heartbeat: string | null
  readonly version: string | null
  readonly cpu_percent: number | null
  readonly mem_bytes: number | null
}

/** One statement for all nodes that gave a sign; nulls leave what is there. */
export async function writeLifeSigns(
  tx: Transaction,
  signs: readonly LifeSigns[],
  now: string,
): Promise<void> {
  await tx.run(
    `UPDATE nodes SET status = s.value ->> 'status',
       last_heartbeat = coalesce(s.value ->> 'last_heartbeat', last_heartbeat),
       version = coalesce(s.value ->> 'version', version),
       cpu_percent = coalesce(s.value ->> 'cpu_percent', cpu_percent),
       mem_bytes = coalesce(s.value ->> 'mem_bytes', mem_bytes),
       updated_at = ?
     FROM json_each(?) AS s WHERE nodes.id = s.value ->> 'id'`,
    [now, JSON.stringify(signs)],
  )
}

export interface AssignedFunctionRow {
  readonly function_id: FunctionId
  readonly function_name: string
  readonly version: number
  readonly split: SplitView | null
}

/** What the node should serve. */
export async function assignedFunctions(sql: Sql, id: NodeId): Promise<AssignedFunctionRow[]> {
  const rows = await sql.all(
    `SELECT a.function_id, f.name AS function_name, a.version, a.split FROM assignments a
     JOIN functions f ON f.id = a.function_id
     WHERE a.node_id = ? AND a.removed = 0 ORDER BY f.name`,
    [id],
  )
  return rows.map(
    (row) => ({ ...row, split: readSplit(row['split']) }) as unknown as AssignedFunctionRow,
  )
}

/** Names of functions by id, deleted ones too: a node may still report them. */
export async function functionNames(
  sql: Sql,
  ids: readonly FunctionId[],
): Promise<Map<FunctionId, string>> {
  const rows = await sql.all(
    'SELECT id, name FROM functions WHERE id IN (SELECT value FROM json_each(?))',
    [JSON.stringify(ids)],
  )
  return new Map(rows.map((row) => [row['id'] as FunctionId, String(row['name'])]))
}
