/** API keys: made, listed, revoked. Only hashes are stored; a key is shown once. */

import { EdgefnError } from '../../errors.ts'
import type { RecordAudit } from '../audit/audit.ts'
import type { RequestContext } from '../context.ts'
import type { Database, Row } from '../db/database.ts'
import type { ApiKeyCreated, ApiKeyCreation, ApiKeyQuery, ApiKeyView } from './schema.ts'
import type { SecretVerifier } from './secrets.ts'
import { hashSecret } from './secrets.ts'
import { newToken, printToken } from './tokens.ts'

export interface ApiKeys {
  /** With `context` null the key is its own creator: the first one has nobody before it. */
  create(
    creation: ApiKeyCreation,
    context: RequestContext | null,
    beforeCommit?: (key: string) => Promise<void>,
  ): Promise<ApiKeyCreated>
  list(query: ApiKeyQuery): Promise<{ items: ApiKeyView[]; next_cursor: string | null }>
  /** Throws `not_found`, and `conflict` for the last owner key: nobody could make another one. */
  revoke(id: string, context: RequestContext): Promise<void>
}

export function createApiKeys(
  db: Database,
  audit: RecordAudit,
  secrets: Pick<SecretVerifier, 'forget'>,
): ApiKeys {
  return {
    async create({ name, role }, context, beforeCommit) {
      const token = newToken('efk')
      const key = printToken(token)
      const hash = await hashSecret(token)
      const view: ApiKeyView = {
        id: token.id,
        name,
        role,
        created_at: new Date().toISOString(),
        revoked_at: null,
      }
      await beforeCommit?.(key)
      const creator = context ?? {
        caller: { kind: 'user', key_id: token.id, name, role },
        request_id: 'start',
        ip: '',
      }
      await db.write(async function insertKey(tx) {
        await tx.run(
          'INSERT INTO api_keys (id, name, role, key_hash, created_at) VALUES (?, ?, ?, ?, ?)',
          [view.id, name, role, hash, view.created_at],
        )
        await audit(tx, creator, {
          resource_type: 'api_key',
          resource_id: view.id,
          operation: 'create',
          before: null,
          after: { name, role },
        })
      })
      return { ...view, key }
    },

    async list({ limit, cursor }) {
      // Ids are random, so the order is that of creation with the id as tie-breaker; rowid is exactly that.
      const rows = await db.all(
        `SELECT id, name, role, created_at, revoked_at FROM api_keys
         WHERE ?1 IS NULL OR rowid > (SELECT rowid FROM api_keys WHERE id = ?1) ORDER BY rowid LIMIT ?2`,
        [cursor ?? null, limit + 1],
      )
      const items = rows.slice(0, limit).map(fromRow)
      return {
        items,
        next_cursor: rows.length > limit ? (items[items.length - 1]?.id ?? null) : null,
      }
    },

    async revoke(id, context) {
      await db.write(async function revokeKey(tx) {
        const row = await tx.get(
          'SELECT id, name, role, created_at, revoked_at FROM api_keys WHERE id = ? AND revoked_at IS NULL',
          [id],
        )
        if (row === null) {
          throw new EdgefnError('not_found', `There is no valid API key with id ${id}.`)
        }
        const others = await tx.get(
          `SELECT 1 FROM api_keys WHERE role = 'owner' AND revoked_at IS NULL AND id <> ? LIMIT 1`,
          [id],
        )
        if (row['role'] === 'owner' && others === null) {
          throw new EdgefnError(
            'conflict',
            'The last owner key cannot be revoked; make another first.',
          )
        }
        const revokedAt = new Date().toISOString()
        await tx.run('UPDATE api_keys SET revoked_at = ? WHERE id = ?', [revokedAt, id])
        await audit(tx, context, {
          resource_type: 'api_key',
          resource_id: id,
          operation: 'delete',
          before: { name: row['name'], role: row['role'] },
          after: null,
        })
      })
      secrets.forget(id)
    },
  }
}

/** The cast is the border: the columns and their CHECKs are those of the schema. */
function fromRow(row: Row): ApiKeyView {
  return { ...row } as ApiKeyView
}
