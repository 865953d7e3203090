/** One control plane per data directory: a transaction in a file of its own, whose lock the kernel drops with the process. */

import { mkdirSync, statSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'

import { createClient, LibsqlError } from '@libsql/client'

import { EdgefnError } from '../../errors.ts'
import { mapDriverError } from './driver-error.ts'

export interface DataLock {
  /** Names the directory among all machines: who finds it on what another process left knows that the process is gone. */
  readonly place: string
  release(): void
}

/**
 * Takes `DIR/cp.lock`. Throws `conflict` when another control plane holds it (two would each deliver and settle what is
 * the other's, and the start of one clears the uploads that wait at the other), `database_unavailable` when the
 * directory cannot be used.
 */
export async function lockDataDir(dir: string): Promise<DataLock> {
  const path = join(dir, 'cp.lock')
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    const client = createClient({ url: `file:${path}`, concurrency: 1, timeout: 0 })
    const held = await client.transaction('write')
    const { dev, ino } = statSync(path)
    return {
      place: `${hostname()}:${dev}:${ino}`,
      release() {
        held.close()
        client.close()
      },
    }
  } catch (cause) {
    if (!(cause instanceof LibsqlError && cause.code === 'SQLITE_BUSY')) throw mapDriverError(cause)
    throw new EdgefnError(
      'conflict',
      `Another control plane is running on this data directory: it holds ${path}.`,
      { cause },
    )
  }
}
