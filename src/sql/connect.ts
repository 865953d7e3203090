/** Opens a function's database for statements of others, with what holds for every one of them. */

import type { Libc } from '../../ffi/libc.ts'
import { SqliteConnection } from '../../ffi/sqlite.ts'
import { LIMITS } from '../protocol/limits.ts'
import { FUNCTION_USED, guestMay, schemaMay } from './rules.ts'

const PAGE_BYTES = 4096
const cacheKib = 512

export interface ConnectOptions {
  readonly path: string
  readonly create: boolean
  readonly who: 'guest' | 'schema'
  /** Looked at while a statement runs; true stops it. */
  readonly stops: () => boolean
  /** Told of every function that a statement uses, when it is prepared; false refuses it. */
  readonly uses?: (name: string) => boolean
}

/** Throws SqliteError. Waits for nobody: who finds the database locked is told so at once. */
export function connect({ path, create, who, stops, uses }: ConnectOptions, libc: Libc) {
  const may = who === 'guest' ? guestMay : schemaMay
  const options = {
    ...{ path, create, stops },
    judge: (action: number, first: () => string, second: () => string) =>
      may({ action, first, second }) &&
      (uses === undefined || action !== FUNCTION_USED || uses(second())),
    limits: {
      value_bytes: LIMITS.sqlValueBytesMax,
      sql_bytes: who === 'guest' ? LIMITS.sqlStatementBytesMax : LIMITS.schemaSqlBytesMax,
      columns: LIMITS.sqlColumnsMax,
      compound_select: 100,
      attached: 0,
      like_pattern_bytes: LIMITS.sqlPatternBytesMax,
      parameters: LIMITS.sqlParametersMax,
      trigger_depth: 20,
      worker_threads: 0,
    },
  }
  const connection = new SqliteConnection(options, libc)
  try {
    // What a killed process committed is never lost; what a power loss takes, is what the log had not written back.
    connection.run(
      `PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0; PRAGMA foreign_keys = ON;
       PRAGMA cache_size = -${cacheKib}; PRAGMA max_page_count = ${LIMITS.sqlDatabaseBytesMax / PAGE_BYTES};`,
    )
    return connection
  } catch (thrown) {
    connection.close()
    throw thrown
  }
}
