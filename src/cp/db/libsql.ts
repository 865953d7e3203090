/** The database on libSQL: a local file by default, a libSQL server by URL. */

import type { Connection } from './connection.ts'
import type { Database } from './database.ts'
import { mapDriverError } from './driver-error.ts'
import { openFile } from './file-connection.ts'
import { migrate } from './migrate.ts'
import type { Migration } from './migrations.ts'
import { openServer } from './server-connection.ts'
import { createWriter, type Writer } from './writer.ts'

export interface DatabaseOptions {
  /** `file:/path`, `libsql://host`, `https://host` or `http://host`. */
  readonly url: string
  readonly auth_token: string | null
  readonly migrations: readonly Migration[]
}

/**
 * Opens and migrates. Throws `database_unavailable` when it cannot be opened or reached, `invalid_config` when its
 * URL or its schema is not ours.
 */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const connection = connect(options)
  try {
    const write = createWriter(connection)
    await migrate(write, options.migrations)
    return createDatabase(connection, write)
  } catch (error) {
    connection.close()
    throw error
  }
}

function connect({ url, auth_token }: DatabaseOptions): Connection {
  try {
    return url.startsWith('file:') ? openFile(url) : openServer(url, auth_token)
  } catch (thrown) {
    throw mapDriverError(thrown)
  }
}

function createDatabase(connection: Connection, write: Writer): Database {
  const { reader } = connection
  let closing: Promise<void> | null = null
  return {
    all: reader.all,
    get: reader.get,
    run: (sql, parameters) => write((tx) => tx.run(sql, parameters)),
    write,
    ping: () => connection.ping(),
    close() {
      closing ??= finish()
      return closing
    },
  }

  /** What is queued finishes first, so that a shutdown rolls nothing back. */
  async function finish(): Promise<void> {
    try {
      await write(async () => undefined)
    } finally {
      connection.close()
    }
  }
}
