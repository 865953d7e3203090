/** Functions, versions and artifacts in SQL. */

import type { Compatibility } from '../../protocol/compatibility.ts'
import type { FunctionView, VersionView } from '../../protocol/api.ts'
import type { FunctionRegistration } from '../../protocol/registration.ts'
import type { FunctionId, Sha256 } from '../../protocol/ids.ts'
import type { Abi } from '../../protocol/manifest.ts'
import type { Row, Sql, SqlValue, Transaction } from '../db/database.ts'

/** A version with what is stored beside its view; `artifact_url` depends on the artifact store and is added later. */
export interface StoredVersion extends Omit<VersionView, 'artifact_url'> {
  readonly signature: string | null
  /** Id of the API key that registered it. */
  readonly created_by: string
  /** Null before the upload, and for versions from before they were kept. */
  readonly facts: ModuleFacts | null
}

/** What a module asks for and offers. */
export interface ModuleFacts {
  /** As `module.name`. */
  readonly imports: readonly string[]
  /** Names; a long list is cut. */
  readonly exports: readonly string[]
  /** Pages of 64 KiB that it starts with. */
  readonly memory_min: number
}

const FUNCTION = `SELECT f.id, f.name, f.description, f.created_at, f.updated_at,
  (SELECT max(v.version) FROM versions v WHERE v.function_id = f.id AND v.state = 'ready') AS latest_version
  FROM functions f WHERE f.deleted_at IS NULL`

const VERSION = `SELECT v.function_id, f.name, v.version, v.state, v.entrypoint, v.memory_pages,
  v.max_execution_ms, v.quotas, v.env, v.http_allow, v.isolation, v.abi, v.artifact_sha256, v.uploaded_sha256, v.message,
  v.created_by, v.created_at,
  v.imports, v.exports,
  (SELECT json_group_object(u.variable, json_object('name', s.name, 'number', u.number,
     'scope', CASE WHEN s.function_id IS NULL THEN 'all' ELSE 'function' END,
     'deleted', json(CASE WHEN s.deleted_at IS NULL THEN 'false' ELSE 'true' END)))
   FROM version_secrets u JOIN secrets s ON s.id = u.secret_id
   WHERE u.function_id = v.function_id AND u.version = v.version) AS secrets,
  v.memory_min, v.forced, v.compatibility, a.size_bytes, a.signature
  FROM versions v JOIN functions f ON f.id = v.function_id LEFT JOIN artifacts a ON a.sha256 = v.artifact_sha256
  WHERE f.deleted_at IS NULL`

/** By id or name; a name never looks like an id. */
export async function findFunction(sql: Sql, idOrName: string): Promise<FunctionView | null> {
  // Not `id = ? OR name = ?`, which looks at every function.
  const named = 'SELECT id FROM functions WHERE name = ?1 AND deleted_at IS NULL'
  const row = await sql.get(`${FUNCTION} AND f.id = coalesce((${named}), ?1)`, [idOrName])
  return row === null ? null : functionFromRow(row)
}

/** In the order of creation, after `cursor`. */
export async function listFunctions(
  sql: Sql,
  filter: { name: string | undefined; cursor: string | undefined; rows: number },
): Promise<FunctionView[]> {
  const conditions: string[] = []
  const parameters: SqlValue[] = []
  if (filter.name !== undefined) {
    conditions.push('AND f.name = ?')
    parameters.push(filter.name)
  }
  if (filter.cursor !== undefined) {
    conditions.push('AND f.id > ?')
    parameters.push(filter.cursor)
  }
  const rows = await sql.all(`${FUNCTION} ${conditions.join(' ')} ORDER BY f.id LIMIT ?`, [
    ...parameters,
    filter.rows,
  ])
  return rows.map(functionFromRow)
}

export async function insertFunction(
  tx: Transaction,
  id: FunctionId,
  name: string,
  description: string,
  at: string,
): Promise<void> {
  await tx.run(
    'INSERT INTO functions (id, name, description, created_at, updated_at) VALUES (?, ?, ?, ?, ?)',
    [id, name, description, at, at],
  )
}

export async function updateFunction(
  tx: Transaction,
  id: FunctionId,
  name: string,
  description: string,
  at: string,
): Promise<void> {
  await tx.run('UPDATE functions SET name = ?, description = ?, updated_at = ? WHERE id = ?', [
    name,
    description,
    at,
    id,
  ])
}

/** The row stays for its history; its name is free at once. */
export async function markFunctionDeleted(
  tx: Transaction,
  id: FunctionId,
  at: string,
): Promise<void> {
  await tx.run('UPDATE functions SET deleted_at = ?, updated_at = ? WHERE id = ?', [at, at, id])
}

/** Removes a function that has no version, no route and no secret of its own; says whether it did. */
export async function deleteEmptyFunction(tx: Transaction, id: FunctionId): Promise<boolean> {
  const deleted = await tx.run(
    `DELETE FROM functions WHERE id = ?
     AND NOT EXISTS (SELECT 1 FROM versions WHERE function_id = functions.id)
     AND NOT EXISTS (SELECT 1 FROM routes WHERE function_id = functions.id)
     AND NOT EXISTS (SELECT 1 FROM secrets WHERE function_id = functions.id)`,
    [id],
  )
  return deleted === 1
}

export async function findVersion(
  sql: Sql,
  functionId: FunctionId,
  version: number,
): Promise<StoredVersion | null> {
  const row = await sql.get(`${VERSION} AND v.function_id = ? AND v.version = ?`, [
    functionId,
    version,
  ])
  return row === null ? null : versionFromRow(row)
}

/** The newest ready version below `version`; null for the first. */
export async function versionBefore(
  sql: Sql,
  functionId: FunctionId,
  version: number,
): Promise<StoredVersion | null> {
  const row = await sql.get(
    `${VERSION} AND v.function_id = ? AND v.version < ? AND v.state = 'ready' ORDER BY v.version DESC LIMIT 1`,
    [functionId, version],
  )
  return row === null ? null : versionFromRow(row)
}

/** Newest first, before `cursor`. */
export async function listVersions(
  sql: Sql,
  functionId: FunctionId,
  filter: { cursor: number | undefined; rows: number },
): Promise<StoredVersion[]> {
  const rows = await sql.all(
    `${VERSION} AND v.function_id = ? AND v.version < ? ORDER BY v.version DESC LIMIT ?`,
    [functionId, filter.cursor ?? Number.MAX_SAFE_INTEGER, filter.rows],
  )
  return rows.map(versionFromRow)
}

/** One more than the highest there is; 1 for the first. */
export async function nextVersion(tx: Transaction, functionId: FunctionId): Promise<number> {
  const row = await tx.get(
    'SELECT coalesce(max(version), 0) + 1 AS next FROM versions WHERE function_id = ?',
    [functionId],
  )
  return Number(row?.['next'])
}

/** The version must be free. */
export async function insertVersion(
  tx: Transaction,
  functionId: FunctionId,
  version: number,
  registration: FunctionRegistration,
  createdBy: string,
  at: string,
): Promise<void> {
  await tx.run(
    `INSERT INTO versions (function_id, version, state, entrypoint, memory_pages, max_execution_ms, quotas, env,
       http_allow, isolation, message, abi, forced, created_by, created_at)
     VALUES (?, ?, 'pending_upload', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    [
      functionId,
      version,
      registration.entrypoint,
      registration.memory_pages,
      registration.max_execution_ms,
      JSON.stringify(registration.quotas),
      JSON.stringify(registration.env),
      JSON.stringify(registration.http_allow),
      registration.isolation,
      registration.message,
      registration.abi,
      Number(registration.force),
      createdBy,
      at,
    ],
  )
}

/** What a checked module adds to its version. */
export interface CheckedModule {
  readonly abi: Abi
  readonly entrypoint: string
  readonly sha256: Sha256
  readonly uploaded_sha256: string
  readonly size_bytes: number
  readonly signature: string
  readonly facts: ModuleFacts
}

/** Makes a waiting version ready; false when it does not wait (any more). */
export async function setVersionReady(
  tx: Transaction,
  functionId: FunctionId,
  version: number,
  module: CheckedModule,
  compatibility: Compatibility,
  at: string,
): Promise<boolean> {
  await tx.run(
    `INSERT INTO artifacts (sha256, size_bytes, signature, created_at) VALUES (?, ?, ?, ?)
     ON CONFLICT (sha256) DO NOTHING`,
    [module.sha256, module.size_bytes, module.signature, at],
  )
  const changed = await tx.run(
    `UPDATE versions SET state = 'ready', abi = ?, entrypoint = ?, artifact_sha256 = ?, uploaded_sha256 = ?,
       imports = ?, exports = ?, memory_min = ?, compatibility = ?
     WHERE function_id = ? AND version = ? AND state = 'pending_upload'`,
    [
      module.abi,
      module.entrypoint,
      module.sha256,
      module.uploaded_sha256,
      JSON.stringify(module.facts.imports),
      JSON.stringify(module.facts.exports),
      module.facts.memory_min,
      JSON.stringify(compatibility),
      functionId,
      version,
    ],
  )
  await tx.run('UPDATE functions SET updated_at = ? WHERE id = ?', [at, functionId])
  return changed === 1
}

/** Removes a version that still waits for its module; false when it does not. */
export async function deleteWaitingVersion(
  tx: Transaction,
  functionId: FunctionId,
  version: number,
): Promise<boolean> {
  const deleted = await tx.run(
    `DELETE FROM versions WHERE function_id = ? AND version = ? AND state = 'pending_upload'`,
    [functionId, version],
  )
  return deleted === 1
}

/** The cast is the border: the columns are those of the schema. */
function functionFromRow(row: Row): FunctionView {
  return { ...row } as FunctionView
}

function versionFromRow(row: Row): StoredVersion {
  const { artifact_sha256: sha256, quotas, env, http_allow, forced, compatibility, ...others } = row
  const { imports, exports, memory_min, secrets, ...columns } = others
  return {
    ...columns,
    secrets: JSON.parse(String(secrets)) as unknown,
    forced: forced === 1,
    compatibility:
      typeof compatibility === 'string' ? (JSON.parse(compatibility) as unknown) : null,
    facts:
      typeof imports === 'string'
        ? { imports: JSON.parse(imports), exports: JSON.parse(String(exports)), memory_min }
        : null,
    sha256,
    quotas: JSON.parse(String(quotas)) as unknown,
    env: JSON.parse(String(env)) as unknown,
    http_allow: JSON.parse(String(http_allow)) as unknown,
  } as StoredVersion
}
