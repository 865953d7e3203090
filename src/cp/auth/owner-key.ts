/** The first owner key: made on first start, kept in `DIR/admin-key` for the CLI on the same machine. */

import { join } from 'node:path'

import type { Caller } from '../context.ts'
import { readTextOrNull, writeDurably } from '../durable-file.ts'
import type { ApiKeys } from './api-keys.ts'

export interface OwnerKey {
  readonly key: string
  /** True when it is new, so that it is printed once. */
  readonly created: boolean
}

/**
 * The key in the file when it still opens the door, else a new one. The file is written before the commit: a crash
 * between the two leaves a file whose key is unknown, which the next start replaces; the other order could leave a key
 * that nobody has ever seen.
 */
export async function ensureOwnerKey(
  dataDir: string,
  keys: ApiKeys,
  authenticate: (bearer: string) => Promise<Caller | null>,
): Promise<OwnerKey> {
  const path = join(dataDir, 'admin-key')
  const existing = (await readTextOrNull(path))?.trim()
  if (existing !== undefined) {
    const caller = await authenticate(existing)
    if (caller?.kind === 'user' && caller.role === 'owner') return { key: existing, created: false }
  }
  const { key } = await keys.create({ name: 'admin-key', role: 'owner' }, null, (fresh) =>
    writeDurably(path, `${fresh}\n`),
  )
  return { key, created: true }
}
