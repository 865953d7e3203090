/** Applies the schemas of a function to its database, each once, in order, in a transaction of its own [C7.4]. */

import type { SqliteConnection } from '../../ffi/sqlite.ts'
import { SQLITE, SqliteError } from '../../ffi/sqlite.ts'
import { LIMITS } from '../protocol/limits.ts'
import type { SchemaBody } from '../protocol/schemas.ts'
import type { SqlAnswer } from './job.ts'
import { SCHEMAS_TABLE, schemaMayNot } from './rules.ts'

export interface ApplyClock {
  /** RFC 3339. */
  now(): string
  /** Begins the time of the next schema, after which `stops` of the connection says true. */
  begin(): void
  /** Whether it was over. */
  late(): boolean
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const messageCharsMax = 2000
/** Blanks and comments, which may stand before a statement and belong to none. */
const beforeStatement = /^(?:[\t\n\f\r ]+|--[^\n]*|\/\*[^]*?\*\/)*/

/**
 * Tells of each schema what became of it, until one fails: what that one did is undone, and those after it wait. A number that
 * was applied with other text is a failure. Doing it twice changes nothing.
 */
export function applySchemas(
  connection: SqliteConnection,
  schemas: readonly SchemaBody[],
  clock: ApplyClock,
  tell: (answer: SqlAnswer) => void,
): void {
  for (const schema of schemas) {
    const error = applyOne(connection, schema, clock)
    tell({ number: schema.number, error })
    if (error !== null) return
  }
}

function applyOne(
  connection: SqliteConnection,
  schema: SchemaBody,
  clock: ApplyClock,
): SqlAnswer['error'] {
  clock.begin()
  const place: Place = { at: null }
  try {
    connection.run('BEGIN IMMEDIATE')
    const known = appliedAs(connection, schema.number)
    if (known === null) {
      runAll(connection, schema.sql, place)
      connection.run(`INSERT INTO ${SCHEMAS_TABLE} VALUES (?1, ?2, ?3)`, [
        ...[schema.number, schema.sha256, clock.now()],
      ])
    } else if (known !== schema.sha256) {
      throw new Conflict(
        `Schema ${schema.number} was applied here with other text: its SHA-256 was ${known}.`,
      )
    }
    connection.run('COMMIT')
    return null
  } catch (thrown) {
    // Some errors have rolled back already.
    if (connection.inTransaction) connection.run('ROLLBACK')
    return errorOf(thrown, clock, place.at === null ? null : lineOf(schema.sql, place.at))
  }
}

function appliedAs(connection: SqliteConnection, number: number): string | null {
  connection.run(
    `CREATE TABLE IF NOT EXISTS ${SCHEMAS_TABLE}
     (number INTEGER PRIMARY KEY, sha256 TEXT NOT NULL, applied_at TEXT NOT NULL) STRICT`,
  )
  const sql = `SELECT sha256 FROM ${SCHEMAS_TABLE} WHERE number = ?1`
  const [row] = connection.run(sql, [number])
  return row === undefined ? null : String(row[0])
}

/** Which statement of a schema runs. */
interface Place {
  /** Byte behind the one before it; null before and after all of them. Counting lines is left to when one fails. */
  at: number | null
}

function runAll(connection: SqliteConnection, sql: string, place: Place): void {
  const text = encoder.encode(sql)
  for (let at = 0; at < text.length;) {
    place.at = at
    const { statement, next } = connection.prepare(text, at)
    at = next
    if (statement === null) continue
    try {
      while (statement.step()) {
        // Rows of a schema's own are nobody's.
      }
    } finally {
      statement.finalize()
    }
  }
  place.at = null
}

/** The line, counted from 1, of the statement behind byte `at` and the blanks and comments there. */
function lineOf(sql: string, at: number): number {
  const text = encoder.encode(sql)
  const before = decoder.decode(text.subarray(0, at))
  const passed = beforeStatement.exec(decoder.decode(text.subarray(at)))?.[0] ?? ''
  return `${before}${passed}`.split('\n').length
}

class Conflict extends Error {}

function errorOf(
  thrown: unknown,
  clock: ApplyClock,
  line: number | null,
): NonNullable<SqlAnswer['error']> {
  if (thrown instanceof Conflict) return { code: 'conflict', message: thrown.message }
  if (!(thrown instanceof SqliteError)) throw thrown
  const where = line === null ? '' : `line ${line}: `
  const message = `${where}${thrown.message}`.slice(0, messageCharsMax)
  switch (thrown.primary) {
    case SQLITE.INTERRUPT:
      return {
        code: 'timeout',
        message: clock.late()
          ? `It took over ${LIMITS.schemaMsMax} ms, and was rolled back.`
          : 'It was stopped, and rolled back.',
      }
    case SQLITE.BUSY:
      return { code: 'busy', message: 'Others were writing to the database all the time.' }
    case SQLITE.FULL:
      return {
        code: 'full',
        message: `The database would be over ${LIMITS.sqlDatabaseBytesMax} bytes, or the disk is full.`,
      }
    case SQLITE.AUTH:
      return { code: 'sql_error', message: `${message}; ${schemaMayNot}` }
    default:
      return { code: 'sql_error', message }
  }
}
