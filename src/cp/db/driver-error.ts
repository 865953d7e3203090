/** Errors of the database driver in our own terms. */

import { LibsqlError } from '@libsql/client'
import { SqliteError } from 'libsql'

import { EdgefnError } from '../../errors.ts'
import { ConstraintViolation } from './constraint.ts'

/** Failures of the database, not of the statement: the same statement may succeed later. */
const UNAVAILABLE = [
  'SQLITE_BUSY',
  'SQLITE_LOCKED',
  'SQLITE_IOERR',
  'SQLITE_FULL',
  'SQLITE_CANTOPEN',
  'SQLITE_READONLY',
  'SQLITE_NOMEM',
  'CLIENT_CLOSED',
  'TRANSACTION_CLOSED',
  'SERVER_ERROR',
  'HRANA_WEBSOCKET_ERROR',
  'HRANA_CLOSED_ERROR',
]

/**
 * A constraint becomes a ConstraintViolation, a busy or unreachable database `database_unavailable`, a URL that the
 * driver does not take `invalid_config`; the rest (SQL that does not parse, a wrong parameter) is a mistake of ours and
 * stays as it is.
 */
export function mapDriverError(thrown: unknown): unknown {
  if (thrown instanceof LibsqlError || thrown instanceof SqliteError) {
    if (thrown.code.startsWith('SQLITE_CONSTRAINT')) {
      return new ConstraintViolation(thrown.message, { cause: thrown })
    }
    if (thrown.code.startsWith('URL_')) {
      return new EdgefnError(
        'invalid_config',
        `The database URL is not usable: ${thrown.message}`,
        {
          cause: thrown,
        },
      )
    }
    return isUnavailable(thrown.code) ? unavailable(thrown) : thrown
  }
  return isNetworkError(thrown) ? unavailable(thrown) : thrown
}

/** Whether an error from here is that another process holds a lock. */
export function isBusy(error: unknown): boolean {
  const cause = error instanceof EdgefnError ? error.cause : null
  return cause instanceof SqliteError && cause.code.startsWith('SQLITE_BUSY')
}

/** SQLite's own codes may say more: `SQLITE_IOERR_WRITE`. */
function isUnavailable(code: string): boolean {
  return UNAVAILABLE.some((known) => code === known || code.startsWith(`${known}_`))
}

/** `fetch` to a server that cannot be reached throws a TypeError that carries the system's code. */
function isNetworkError(thrown: unknown): boolean {
  return (
    thrown instanceof Error && 'code' in thrown && /^E[A-Z]+$|^Connection/.test(`${thrown.code}`)
  )
}

function unavailable(cause: unknown): EdgefnError {
  const isLocked = cause instanceof SqliteError && cause.code.startsWith('SQLITE_BUSY')
  const message = isLocked
    ? 'Another process holds the lock of the database.'
    : 'The database cannot be used now.'
  return new EdgefnError('database_unavailable', message, { cause })
}
