/** Where the databases of functions lie: one directory per function below `sql/` of the data directory, moved and removed as a whole. */

import { join } from 'node:path'

/** SQLite's main file in a function's directory; its log and index lie beside it. */
const DATABASE_FILE = 'function.db'

export function sqlDatabaseDir(sqlDir: string, functionId: string): string {
  return join(sqlDir, functionId)
}

export function sqlDatabaseFile(databaseDir: string): string {
  return join(databaseDir, DATABASE_FILE)
}

/** What a write is recorded in first. */
export function sqlLogFile(databaseDir: string): string {
  return join(databaseDir, `${DATABASE_FILE}-wal`)
}

/** The place of a database that was found damaged, kept for whoever wants to look; one per function. */
export function sqlDamagedDir(sqlDir: string, functionId: string): string {
  return join(sqlDir, `${functionId}.damaged`)
}
