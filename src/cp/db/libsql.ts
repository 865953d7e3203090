/** The database on libSQL: a local file by default, a libSQL server by URL. The only user of the driver. */

import { closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'

import type { Client, ResultSet, Transaction as DriverTransaction } from '@libsql/client'
import { createClient } from '@libsql/client'

import type { Database, Row, Sql, SqlValue } from './database.ts'
import { mapDriverError } from './driver-error.ts'
import type { ScriptTransaction } from './migrate.ts'
import { migrate } from './migrate.ts'
import type { Migration } from './migrations.ts'

/** Milliseconds a statement waits for a lock that another process holds. */
const busyTimeoutMs = 5_000

export interface DatabaseOptions {
  /** `file:/path`, `libsql://host`, `https://host` or `http://host`. */
  readonly url: string
  readonly auth_token: string | null
  readonly migrations: readonly Migration[]
}

/** What differs between a file and a server: which connection reads, and how a write transaction begins. */
interface Connections {
  readonly reader: Client
  begin(): Promise<DriverTransaction>
  close(): void
}

/**
 * Opens and migrates. Throws `database_unavailable` when it cannot be opened or reached, `invalid_config` when its
 * URL or its schema is not ours.
 */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const connections = await mapped(async function connect() {
    return options.url.startsWith('file:') ? await openFile(options.url) : openServer(options)
  })
  try {
    const write = createWriter(connections)
    await migrate(write, options.migrations)
    return createDatabase(connections, write)
  } catch (error) {
    connections.close()
    throw error
  }
}

function createDatabase(connections: Connections, write: Writer): Database {
  const read = sqlOver(connections.reader)
  let closing: Promise<void> | null = null
  return {
    all: read.all,
    get: read.get,
    run: (sql, parameters) => write((tx) => tx.run(sql, parameters)),
    write,
    async ping() {
      await read.get('SELECT 1')
    },
    close() {
      closing ??= finish()
      return closing
    },
  }

  /** What is queued finishes first, so that a shutdown rolls nothing back. */
  async function finish(): Promise<void> {
    await write(async () => undefined)
    connections.close()
  }
}

/**
 * Two connections: one that only reads, so that reads neither see nor wait for an open transaction, and one that only
 * writes. Each is a client with exactly one connection, because pragmas hold for a connection, not for a file.
 */
async function openFile(url: string): Promise<Connections> {
  const path = url
    .slice('file:'.length)
    .replace(/^\/\/(?=\/)/, '')
    .replace(/\?.*$/, '')
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  // SQLite gives the WAL the mode of the file; both hold hashes and environments, so nobody else reads them.
  closeSync(openSync(path, 'a', 0o600))
  const options = { url, intMode: 'number', concurrency: 1, timeout: busyTimeoutMs } as const
  const writer = createClient(options)
  // FULL: with NORMAL a power loss takes back acknowledged writes (RELIABILITY finding 7).
  await writer.executeMultiple(
    'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON',
  )
  const reader = createClient(options)
  await reader.executeMultiple('PRAGMA query_only = ON')
  return {
    reader,
    begin: () => beginImmediate(writer),
    close() {
      reader.close()
      writer.close()
    },
  }
}

/**
 * BEGIN IMMEDIATE by way of a deferred transaction: a BEGIN that fails with SQLITE_BUSY as a prepared statement stays
 * in progress in this driver and breaks the next COMMIT (libsql-client-ts#352); run as a script it is finalised.
 */
async function beginImmediate(writer: Client): Promise<DriverTransaction> {
  const transaction = await writer.transaction('deferred')
  try {
    await transaction.executeMultiple('ROLLBACK; BEGIN IMMEDIATE')
    return transaction
  } catch (error) {
    transaction.close()
    throw error
  }
}

function openServer({ url, auth_token }: DatabaseOptions): Connections {
  const client = createClient({
    url,
    intMode: 'number',
    ...(auth_token === null ? {} : { authToken: auth_token }),
  })
  return {
    reader: client,
    begin: () => client.transaction('write'),
    close: () => client.close(),
  }
}

type Writer = <T>(work: (tx: ScriptTransaction) => Promise<T>) => Promise<T>

/** One transaction at a time: each waits for the one before to end, however it ends. */
function createWriter(connections: Connections): Writer {
  let last: Promise<unknown> = Promise.resolve()
  return function write(work) {
    const mine = last.then(() => runTransaction(connections, work))
    last = mine.catch(() => undefined)
    return mine
  }
}

async function runTransaction<T>(
  connections: Connections,
  work: (tx: ScriptTransaction) => Promise<T>,
): Promise<T> {
  const transaction = await mapped(() => connections.begin())
  try {
    const result = await work({
      ...sqlOver(transaction),
      transaction: true,
      script: (sql) => mapped(() => transaction.executeMultiple(sql)),
    })
    await mapped(() => transaction.commit())
    return result
  } finally {
    // Rolls back unless committed, and gives the connection back.
    transaction.close()
  }
}

function sqlOver(target: Client | DriverTransaction): Sql {
  function execute(sql: string, parameters: readonly SqlValue[]): Promise<ResultSet> {
    return mapped(() => target.execute({ sql, args: [...parameters] }))
  }
  return {
    async all(sql, parameters = []) {
      return rowsOf(await execute(sql, parameters))
    },
    async get(sql, parameters = []) {
      return rowsOf(await execute(sql, parameters))[0] ?? null
    },
    async run(sql, parameters = []) {
      return (await execute(sql, parameters)).rowsAffected
    },
  }
}

/** The cast is the border: the schema has no BLOB column and intMode gives numbers, so values are SqlValues. */
function rowsOf(result: ResultSet): Row[] {
  return result.rows as unknown as Row[]
}

async function mapped<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (thrown) {
    throw mapDriverError(thrown)
  }
}
