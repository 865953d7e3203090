/** One agent per data directory: an exclusive SQLite lock that the kernel drops when the process dies. */

import { Database } from 'bun:sqlite'

import { EdgefnError } from '../../../errors.ts'

export interface AgentLock {
  release(): void
}

/**
 * Takes the lock file `path`, or throws `conflict` when another agent holds it. Nothing is written to it, no journal
 * either: a node with a full disk starts.
 */
export function lockDataDir(path: string): AgentLock {
  const database = new Database(path, { create: true })
  try {
    database.run('PRAGMA busy_timeout = 0')
    database.run('PRAGMA locking_mode = EXCLUSIVE')
    database.run('PRAGMA journal_mode = MEMORY')
    database.run('BEGIN EXCLUSIVE')
  } catch (thrown) {
    database.close()
    if ((thrown as { code?: unknown }).code !== 'SQLITE_BUSY') throw thrown
    throw new EdgefnError(
      'conflict',
      `Another edgefn agent is running on this data directory: it holds ${path}.`,
      { cause: thrown },
    )
  }
  return { release: () => database.close() }
}
