/** A libSQL server, reached by URL. */

import type { Client, ResultSet, Transaction as DriverTransaction } from '@libsql/client'
import { createClient } from '@libsql/client'

import type { Connection } from './connection.ts'
import type { Row, Sql, SqlValue } from './database.ts'
import { mapDriverError } from './driver-error.ts'

/** Throws `invalid_config` for a URL that the client does not take. */
export function openServer(url: string, authToken: string | null): Connection {
  const client = createClient({
    url,
    intMode: 'number',
    ...(authToken === null ? {} : { authToken }),
  })
  const reader = sqlOver(client)
  return {
    reader,
    async ping() {
      await reader.get('SELECT 1')
    },
    begin: async () => {
      const transaction = await mapped(() => client.transaction('write'))
      return {
        ...sqlOver(transaction),
        transaction: true,
        part: null,
        script: (sql) => mapped(() => transaction.executeMultiple(sql)),
        commit: () => mapped(() => transaction.commit()),
        close: () => transaction.close(),
      }
    },
    close: () => client.close(),
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
