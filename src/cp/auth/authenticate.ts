/** From a bearer string to who is calling. */

import { EdgefnError } from '../../errors.ts'
import type { Caller, Role } from '../context.ts'
import type { Sql } from '../db/database.ts'
import type { SecretVerifier } from './secrets.ts'
import type { Signing } from './signing.ts'
import type { Token } from './tokens.ts'
import { parseToken, sha256Hex } from './tokens.ts'

/** Longer strings are no credential of ours. */
const bearerCharsMax = 4096

/**
 * Throws `unauthenticated`, with one sentence for everything that is wrong, so that it tells a guesser nothing; who has shown a
 * genuine token that is too old is told so.
 */
export type Authenticate = (bearer: string | null) => Promise<Caller>

/** Whether the key of a caller that goes on reading still holds; whoever is no user has no key that does. */
export type KeyHolds = (caller: Caller) => Promise<boolean>

export function createKeyHolds(sql: Sql): KeyHolds {
  return async (caller) => {
    if (caller.kind !== 'user') return false
    const row = await sql.get('SELECT 1 FROM api_keys WHERE id = ? AND revoked_at IS NULL', [
      caller.key_id,
    ])
    return row !== null
  }
}

/**
 * Rows are read for every request, so a revocation holds at once; only the slow comparison is remembered. An id that
 * is not stored never reaches argon2.
 */
export function createAuthenticate(
  sql: Sql,
  secrets: SecretVerifier,
  signing: Signing,
): Authenticate {
  return async function authenticate(bearer) {
    if (bearer === null || bearer === '') {
      throw new EdgefnError('unauthenticated', 'A bearer token is required.')
    }
    if (bearer.length > bearerCharsMax) throw refused()
    const token = parseToken(bearer)
    if (token === null) return authenticateNode(bearer)
    return token.kind === 'efk' ? authenticateKey(token) : authenticateJoinToken(token)
  }

  async function authenticateKey(token: Token): Promise<Caller> {
    const row = await sql.get(
      'SELECT name, role, key_hash FROM api_keys WHERE id = ? AND revoked_at IS NULL',
      [token.id],
    )
    if (row === null || !(await secrets.verify(token, String(row['key_hash'])))) throw refused()
    return {
      kind: 'user',
      key_id: token.id,
      name: String(row['name']),
      role: row['role'] as Role,
    }
  }

  /** A used token passes while its registration may be asked for again; `consumeJoinToken` then asks for the nonce. */
  async function authenticateJoinToken(token: Token): Promise<Caller> {
    const row = await sql.get(
      `SELECT pop_id, token_hash, expires_at FROM join_tokens
       WHERE id = ? AND (used_at IS NULL OR nonce_hash IS NOT NULL)`,
      [token.id],
    )
    if (row === null || !(await secrets.verify(token, String(row['token_hash'])))) throw refused()
    const expiresAt = String(row['expires_at'])
    const now = new Date().toISOString()
    if (expiresAt <= now) {
      throw new EdgefnError(
        'unauthenticated',
        `The join token expired at ${expiresAt}, and the clock of the control plane says ${now}; make a new one with "edgefn token create".`,
      )
    }
    return { kind: 'join_token', join_token_id: token.id, pop_id: String(row['pop_id']) }
  }

  /**
   * One token of a node counts, and the one issued after it: with its first use that one takes over, and the one before
   * ends. Not sooner, because a node that never got the answer to its renewal would be locked out for good.
   */
  async function authenticateNode(bearer: string): Promise<Caller> {
    const { node_id, jti } = await signing.verifyNodeToken(bearer)
    const hash = sha256Hex(jti)
    const row = await sql.get('SELECT token_hash, next_token_hash FROM nodes WHERE id = ?', [
      node_id,
    ])
    if (row?.['token_hash'] === hash) return { kind: 'node', node_id }
    if (row?.['next_token_hash'] !== hash) throw refused()
    await sql.run(
      `UPDATE nodes SET token_hash = next_token_hash, next_token_hash = NULL
       WHERE id = ? AND next_token_hash = ?`,
      [node_id, hash],
    )
    return { kind: 'node', node_id }
  }
}

function refused(): EdgefnError {
  return new EdgefnError('unauthenticated', 'The credential is not valid.')
}
