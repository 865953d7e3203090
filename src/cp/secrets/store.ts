/** Secrets, their numbers and who refers to them, in SQL. */

import type { FunctionId } from '../../protocol/ids.ts'
import type { SecretView } from '../../protocol/secrets.ts'
import type { Row, Sql, Transaction } from '../db/database.ts'

/** Users of a secret that are told. */
const usersMax = 100

export interface SecretRow {
  readonly id: string
  readonly name: string
  readonly function_id: FunctionId | null
  readonly number: number
}

const SECRET = `SELECT s.id, s.name, s.function_id, f.name AS function_name, s.created_at, s.updated_at,
  (SELECT max(number) FROM secret_versions WHERE secret_id = s.id) AS number
  FROM secrets s LEFT JOIN functions f ON f.id = s.function_id WHERE s.deleted_at IS NULL`

/** The one of this very scope. */
export async function findSecret(
  sql: Sql,
  name: string,
  functionId: FunctionId | null,
): Promise<SecretRow | null> {
  const row = await sql.get(`${SECRET} AND s.name = ? AND s.function_id IS ?`, [name, functionId])
  return row as unknown as SecretRow | null
}

/** In the order of their making, after `cursor`, with their users. */
export async function listSecrets(
  sql: Sql,
  filter: { cursor: string | undefined; rows: number },
): Promise<SecretView[]> {
  const rows = await sql.all(`${SECRET} AND s.id > ? ORDER BY s.id LIMIT ?`, [
    filter.cursor ?? '',
    filter.rows,
  ])
  const views: SecretView[] = []
  for (const row of rows) views.push(await viewOf(sql, row))
  return views
}

export async function showSecret(sql: Sql, id: string): Promise<SecretView> {
  const row = await sql.get(`${SECRET} AND s.id = ?`, [id])
  if (row === null) throw new Error('The secret is not there.')
  return viewOf(sql, row)
}

async function viewOf(sql: Sql, row: Row): Promise<SecretView> {
  return { ...row, users: await usersOf(sql, String(row['id'])) } as unknown as SecretView
}

export async function insertSecret(
  tx: Transaction,
  secret: { id: string; name: string; function_id: FunctionId | null },
  at: string,
): Promise<void> {
  await tx.run(
    'INSERT INTO secrets (id, name, function_id, created_at, updated_at) VALUES (?, ?, ?, ?, ?)',
    [secret.id, secret.name, secret.function_id, at, at],
  )
}

export async function insertNumber(
  tx: Transaction,
  key: { secret_id: string; number: number },
  sealed: string,
  createdBy: string,
  at: string,
): Promise<void> {
  await tx.run(
    'INSERT INTO secret_versions (secret_id, number, sealed, created_by, created_at) VALUES (?, ?, ?, ?, ?)',
    [key.secret_id, key.number, sealed, createdBy, at],
  )
  await tx.run('UPDATE secrets SET updated_at = ? WHERE id = ?', [at, key.secret_id])
}

export async function hasNumber(sql: Sql, secretId: string, number: number): Promise<boolean> {
  const row = await sql.get('SELECT 1 FROM secret_versions WHERE secret_id = ? AND number = ?', [
    secretId,
    number,
  ])
  return row !== null
}

/** The name stays for the versions that refer to it; the values go. */
export async function eraseSecret(tx: Transaction, secretId: string, at: string): Promise<void> {
  await tx.run('UPDATE secrets SET deleted_at = ?, updated_at = ? WHERE id = ?', [at, at, secretId])
  await tx.run(`UPDATE secret_versions SET sealed = '' WHERE secret_id = ?`, [secretId])
}

/** The secrets that are a function's own. */
export async function ownSecrets(
  sql: Sql,
  functionId: FunctionId,
): Promise<{ readonly id: string; readonly name: string }[]> {
  const rows = await sql.all(
    'SELECT id, name FROM secrets WHERE function_id = ? AND deleted_at IS NULL',
    [functionId],
  )
  return rows.map((row) => ({ id: String(row['id']), name: String(row['name']) }))
}

/**
 * Versions that refer to a secret, the live ones first. Live is what nodes are to serve; while a deployment is under way all
 * versions of its function are, because it may go back to any of them.
 */
export async function usersOf(sql: Sql, secretId: string): Promise<SecretView['users']> {
  const rows = await sql.all(
    `SELECT f.name AS function_name, u.version, u.variable, u.number,
       (EXISTS (SELECT 1 FROM assignments a WHERE a.function_id = u.function_id AND a.removed = 0
          AND (a.version = u.version OR (a.split IS NOT NULL AND EXISTS (
            SELECT 1 FROM json_each(a.split, '$.versions') e WHERE json_extract(e.value, '$.version') = u.version))))
        OR EXISTS (SELECT 1 FROM deployments d WHERE d.function_id = u.function_id
          AND d.status IN ('pending', 'in_progress'))) AS live
     FROM version_secrets u JOIN functions f ON f.id = u.function_id
     WHERE u.secret_id = ? AND f.deleted_at IS NULL
     ORDER BY live DESC, f.name, u.version DESC LIMIT ?`,
    [secretId, usersMax],
  )
  return rows.map((row) => ({ ...row, live: row['live'] === 1 }) as SecretView['users'][number])
}

/** What was sealed for a variable of a version. */
export interface LinkedValue {
  readonly function_id: string
  readonly version: number
  readonly variable: string
  readonly secret_id: string
  readonly name: string
  readonly number: number
  readonly sealed: string
}

/** The sealed values of all versions of the functions. */
export async function linkedValues(
  sql: Sql,
  functionIds: readonly string[],
): Promise<LinkedValue[]> {
  const rows: Row[] = await sql.all(
    `SELECT u.function_id, u.version, u.variable, u.secret_id, s.name, u.number, n.sealed
     FROM version_secrets u JOIN secrets s ON s.id = u.secret_id
     JOIN secret_versions n ON n.secret_id = u.secret_id AND n.number = u.number
     WHERE u.function_id IN (SELECT value FROM json_each(?))`,
    [JSON.stringify(functionIds)],
  )
  return rows as unknown as LinkedValue[]
}
