/** Join tokens: one registration each, within their time [R12]. */

import { EdgefnError } from '../../errors.ts'
import { nodeIdSchema, type NodeId, type PopId } from '../../protocol/ids.ts'
import type { RecordAudit } from '../audit/audit.ts'
import type { RequestContext } from '../context.ts'
import { actorOf } from '../context.ts'
import type { Sql, Transaction } from '../db/database.ts'
import { hashSecret } from './secrets.ts'
import { newToken, printToken, sha256Hex } from './tokens.ts'

export interface JoinTokenRequest {
  readonly pop_id: PopId
  readonly ttl_seconds: number
}

export interface NewJoinToken {
  readonly id: string
  /** Shown once. */
  readonly token: string
  readonly expires_at: string
}

export interface JoinTokens {
  createJoinToken(
    tx: Transaction,
    context: RequestContext,
    request: JoinTokenRequest,
  ): Promise<NewJoinToken>
  /** The node that registered with this token and this nonce before, whose answer was lost; null when there is none. */
  registeredBefore(sql: Sql, joinTokenId: string, nonce: string | null): Promise<NodeId | null>
  /**
   * Uses a token up, inside the registration's transaction. Throws `unauthenticated` when it has expired or was used, but
   * for the same node with the same nonce.
   */
  consumeJoinToken(
    tx: Transaction,
    joinTokenId: string,
    nodeId: NodeId,
    nonce: string | null,
  ): Promise<void>
}

export function createJoinTokens(audit: RecordAudit): JoinTokens {
  return {
    async createJoinToken(tx, context, { pop_id, ttl_seconds }) {
      const token = newToken('efj')
      const now = Date.now()
      const expiresAt = new Date(now + ttl_seconds * 1000).toISOString()
      await tx.run(
        `INSERT INTO join_tokens (id, token_hash, pop_id, created_by, created_at, expires_at)
         VALUES (?, ?, ?, ?, ?, ?)`,
        [
          token.id,
          await hashSecret(token),
          pop_id,
          actorOf(context.caller),
          new Date(now).toISOString(),
          expiresAt,
        ],
      )
      await audit(tx, context, {
        resource_type: 'join_token',
        resource_id: token.id,
        operation: 'create',
        before: null,
        after: { pop_id, expires_at: expiresAt },
      })
      return { id: token.id, token: printToken(token), expires_at: expiresAt }
    },

    async registeredBefore(sql, joinTokenId, nonce) {
      if (nonce === null) return null
      const row = await sql.get(
        'SELECT used_by_node FROM join_tokens WHERE id = ? AND nonce_hash = ?',
        [joinTokenId, sha256Hex(nonce)],
      )
      const node = row?.['used_by_node'] ?? null
      return node === null ? null : nodeIdSchema.parse(node)
    },

    async consumeJoinToken(tx, joinTokenId, nodeId, nonce) {
      const now = new Date().toISOString()
      const nonceHash = nonce === null ? null : sha256Hex(nonce)
      const consumed = await tx.run(
        `UPDATE join_tokens SET used_at = ?, used_by_node = ?, nonce_hash = ?
         WHERE id = ? AND expires_at > ?
           AND (used_at IS NULL OR (used_by_node = ? AND nonce_hash = ?))`,
        [now, nodeId, nonceHash, joinTokenId, now, nodeId, nonceHash],
      )
      if (consumed !== 1) {
        throw new EdgefnError('unauthenticated', 'The join token was used already or has expired.')
      }
    },
  }
}
