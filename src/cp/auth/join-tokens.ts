/** Join tokens: one registration each, within their time [R12]. */

import { EdgefnError } from '../../errors.ts'
import type { NodeId, PopId } from '../../protocol/ids.ts'
import type { RecordAudit } from '../audit/audit.ts'
import type { RequestContext } from '../context.ts'
import { actorOf } from '../context.ts'
import type { Transaction } from '../db/database.ts'
import { hashSecret } from './secrets.ts'
import { newToken, printToken } from './tokens.ts'

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
  /** Uses a token up, inside the registration's transaction. Throws `unauthenticated` when it was used or has expired. */
  consumeJoinToken(tx: Transaction, joinTokenId: string, nodeId: NodeId): Promise<void>
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

    async consumeJoinToken(tx, joinTokenId, nodeId) {
      const now = new Date().toISOString()
      const consumed = await tx.run(
        `UPDATE join_tokens SET used_at = ?, used_by_node = ?
         WHERE id = ? AND used_at IS NULL AND expires_at > ?`,
        [now, nodeId, joinTokenId, now],
      )
      if (consumed !== 1) {
        throw new EdgefnError('unauthenticated', 'The join token was used already or has expired.')
      }
    },
  }
}
