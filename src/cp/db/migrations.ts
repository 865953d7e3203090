/** The schema's history, embedded in the binary. A change is a new file and a new line here; old ones never change. */

import initial from '../../../migrations/cp/0001_initial.sql' with { type: 'text' }
import nextNodeToken from '../../../migrations/cp/0002_next_node_token.sql' with { type: 'text' }
import registrationNonce from '../../../migrations/cp/0003_registration_nonce.sql' with { type: 'text' }
import httpAllow from '../../../migrations/cp/0004_http_allow.sql' with { type: 'text' }
import isolation from '../../../migrations/cp/0005_isolation.sql' with { type: 'text' }

export interface Migration {
  /** Counts from 1 without gaps. */
  readonly id: number
  readonly name: string
  readonly sql: string
}

export const MIGRATIONS: readonly Migration[] = [
  { id: 1, name: 'initial', sql: initial },
  { id: 2, name: 'next_node_token', sql: nextNodeToken },
  { id: 3, name: 'registration_nonce', sql: registrationNonce },
  { id: 4, name: 'http_allow', sql: httpAllow },
  { id: 5, name: 'isolation', sql: isolation },
]
