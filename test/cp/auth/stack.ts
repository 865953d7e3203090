/** The auth slice on a real database. */

import type { Auth } from '../../../src/cp/auth/auth.ts'
import { createAuth } from '../../../src/cp/auth/auth.ts'
import { createAuditStore } from '../../../src/cp/audit/store.ts'
import type { RequestContext } from '../../../src/cp/context.ts'
import { EdgefnError } from '../../../src/errors.ts'
import type { TempDatabase } from '../db/temp-database.ts'
import { tempDatabase } from '../db/temp-database.ts'

export interface AuthStack extends TempDatabase {
  readonly auth: Auth
}

export const ownerContext: RequestContext = {
  caller: { kind: 'user', key_id: 'k1', name: 'test', role: 'owner' },
  request_id: 'request-1',
  ip: '127.0.0.1',
}

/** `ip`, `pop` and the rest do not matter to authentication. */
export async function insertNode(temp: TempDatabase, id: string, tokenHash: string): Promise<void> {
  await temp.db.run(
    `INSERT INTO nodes (id, pop_id, ip, status, version, os, arch, http_port, token_hash, created_at, updated_at)
     VALUES (?, 'tokyo-1', '', 'online', '', '', '', 0, ?, '', '')
     ON CONFLICT (id) DO UPDATE SET token_hash = excluded.token_hash`,
    [id, tokenHash],
  )
}

export async function authStack(): Promise<AuthStack> {
  const temp = await tempDatabase()
  const audit = createAuditStore().record
  const auth = await createAuth({ db: temp.db, data_dir: temp.dir, audit })
  return Object.assign(temp, { auth })
}

/** The code of what a promise rejects with, or null. */
export async function codeOf(work: Promise<unknown>): Promise<string | null> {
  try {
    await work
    return null
  } catch (error) {
    return error instanceof EdgefnError ? error.code : `${error}`
  }
}
