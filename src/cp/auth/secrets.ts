/** Hashes of secrets: argon2id in the database, and a memory of what was verified, so that requests do not pay for it. */

import { EdgefnError } from '../../errors.ts'
import type { Token } from './tokens.ts'
import { printToken, sha256Hex } from './tokens.ts'

/** Modest: the secrets have 256 random bits, so the hash need not be slow to keep them from being guessed. */
const ARGON2 = { algorithm: 'argon2id', memoryCost: 8 * 1024, timeCost: 2 } as const

/** Verifications that run at a time and that may wait; a flood of wrong secrets must not take all cores. */
const verificationsMax = 2
const waitingMax = 64

/** Tokens remembered as verified. */
const memoEntriesMax = 10_000

/** The hash to store for a token's secret. */
export function hashSecret(token: Token): Promise<string> {
  return Bun.password.hash(token.secret, ARGON2)
}

export interface SecretVerifier {
  /** Whether `token` is the one whose secret gave `hash`. Throws `overloaded` when too many wait. */
  verify(token: Token, hash: string): Promise<boolean>
  /** Forgets what was verified for a token id; called when it is revoked. */
  forget(tokenId: string): void
}

export function createSecretVerifier(): SecretVerifier {
  /** SHA-256 of a verified token → its id and the hash it was verified against; oldest first. */
  const memo = new Map<string, { readonly id: string; readonly hash: string }>()
  const running = new Map<string, Promise<boolean>>()
  const waiting: (() => void)[] = []
  let active = 0

  async function verify(token: Token, hash: string): Promise<boolean> {
    const digest = sha256Hex(printToken(token))
    const known = memo.get(digest)
    if (known !== undefined && known.hash === hash) return true
    const same = running.get(digest)
    if (same !== undefined) return same
    const verification = slowly(token, hash)
    running.set(digest, verification)
    try {
      const correct = await verification
      if (correct) remember(digest, token.id, hash)
      return correct
    } finally {
      running.delete(digest)
    }
  }

  async function slowly(token: Token, hash: string): Promise<boolean> {
    await enter()
    try {
      return await Bun.password.verify(token.secret, hash, ARGON2.algorithm)
    } finally {
      leave()
    }
  }

  function enter(): Promise<void> {
    if (active < verificationsMax) {
      active += 1
      return Promise.resolve()
    }
    if (waiting.length >= waitingMax) {
      throw new EdgefnError('overloaded', 'Too many credentials are being verified; try again.')
    }
    return new Promise((resolve) => waiting.push(resolve))
  }

  /** Hands the place to the next in line, or gives it up. */
  function leave(): void {
    const next = waiting.shift()
    if (next === undefined) active -= 1
    else next()
  }

  function remember(digest: string, id: string, hash: string): void {
    memo.set(digest, { id, hash })
    if (memo.size <= memoEntriesMax) return
    const oldest = memo.keys().next().value
    if (oldest !== undefined) memo.delete(oldest)
  }

  function forget(tokenId: string): void {
    for (const [digest, entry] of memo) if (entry.id === tokenId) memo.delete(digest)
  }

  return { verify, forget }
}
