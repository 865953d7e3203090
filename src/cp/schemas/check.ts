/** Tries the schemas of a function on an empty database, in a process of their own: their SQL may do what it likes there [C7.4]. */

import { EdgefnError } from '../../errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { SchemaBody } from '../../protocol/schemas.ts'
import type { SqlCommand } from '../../sql/job.ts'
import { runSqlProcess, SqlProcessFailed } from '../../sql/sql-process.ts'

/**
 * Throws `schema_refused` with SQLite's words when the newest one does not run after the others. What it would meet in a database
 * with rows, nobody can know here.
 */
export type CheckSchemas = (schemas: readonly SchemaBody[]) => Promise<void>

export function createCheck(command: SqlCommand): CheckSchemas {
  return (schemas) => check(command, schemas)
}

async function check(command: SqlCommand, schemas: readonly SchemaBody[]): Promise<void> {
  const job = { path: null, schemas: [...schemas], schema_ms_max: LIMITS.schemaCheckMsMax }
  try {
    const answers = await runSqlProcess(command, job, { ms_max: LIMITS.schemaCheckMsMax })
    const failed = answers.find(({ error }) => error !== null)
    if (failed?.error == null) return
    const { code, message } = failed.error
    throw refused(
      code === 'timeout'
        ? `Schema ${failed.number} takes over ${LIMITS.schemaCheckMsMax} ms on an empty database.`
        : `Schema ${failed.number} does not run on an empty database: ${message}.`,
    )
  } catch (thrown) {
    if (!(thrown instanceof SqlProcessFailed)) throw thrown
    throw refused('The schemas together take too long on an empty database.', thrown)
  }
}

function refused(message: string, cause?: unknown): EdgefnError {
  return new EdgefnError('schema_refused', message, { details: { field: 'sql' }, cause })
}
