/** The auth slice put together: who is calling, what they may, and the credentials that are handed out. */

import { EdgefnError } from '../../errors.ts'
import type { RecordAudit } from '../audit/audit.ts'
import type { Caller } from '../context.ts'
import type { Database } from '../db/database.ts'
import type { Endpoint } from '../endpoint.ts'
import { createApiKeys } from './api-keys.ts'
import type { Authenticate, KeyHolds } from './authenticate.ts'
import { createAuthenticate, createKeyHolds } from './authenticate.ts'
import { authorize } from './authorize.ts'
import type { JoinTokens } from './join-tokens.ts'
import { createJoinTokens } from './join-tokens.ts'
import type { OwnerKey } from './owner-key.ts'
import { ensureOwnerKey } from './owner-key.ts'
import { apiKeyEndpoints } from './routes.ts'
import { createSecretVerifier } from './secrets.ts'
import type { Signing } from './signing.ts'
import { createSigning } from './signing.ts'

export interface AuthOptions {
  readonly db: Database
  /** Absolute; holds `admin-key` and `keys/`. */
  readonly data_dir: string
  readonly audit: RecordAudit
}

export interface Auth extends JoinTokens {
  readonly endpoints: readonly Endpoint[]
  readonly authenticate: Authenticate
  readonly keyHolds: KeyHolds
  readonly authorize: typeof authorize
  readonly signing: Signing
  /** See owner-key.ts; called once at start. */
  ensureOwnerKey(): Promise<OwnerKey>
}

/** Loads or makes the signing key, then builds the slice. */
export async function createAuth({ db, data_dir, audit }: AuthOptions): Promise<Auth> {
  const signing = await createSigning(data_dir)
  const secrets = createSecretVerifier()
  const keys = createApiKeys(db, audit, secrets)
  const authenticate = createAuthenticate(db, secrets, signing)

  async function authenticateOrNull(bearer: string): Promise<Caller | null> {
    try {
      return await authenticate(bearer)
    } catch (error) {
      if (error instanceof EdgefnError && error.code === 'unauthenticated') return null
      throw error
    }
  }

  return {
    endpoints: apiKeyEndpoints(keys),
    authenticate,
    keyHolds: createKeyHolds(db),
    authorize,
    signing,
    ensureOwnerKey: () => ensureOwnerKey(data_dir, keys, authenticateOrNull),
    ...createJoinTokens(audit),
  }
}
