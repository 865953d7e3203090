/** A real libSQL database in a folder of its own, for tests of the control plane. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Database } from '../../../src/cp/db/database.ts'
import { openDatabase } from '../../../src/cp/db/libsql.ts'
import { MIGRATIONS } from '../../../src/cp/db/migrations.ts'

export interface TempDatabase extends AsyncDisposable {
  readonly dir: string
  readonly url: string
  readonly db: Database
}

export async function tempFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'edgefn-cp-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

export async function tempDatabase(): Promise<TempDatabase> {
  const { path: dir, ...folder } = await tempFolder()
  const url = `file:${join(dir, 'edgefn.db')}`
  const db = await openDatabase({ url, auth_token: null, migrations: MIGRATIONS })
  return {
    dir,
    url,
    db,
    async [Symbol.asyncDispose]() {
      await db.close()
      await folder[Symbol.asyncDispose]()
    },
  }
}
