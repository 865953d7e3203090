/** Where the keys of functions lie: one directory per function below `kv/` of the data directory, moved and removed as a whole. */

import { join } from 'node:path'

/** SQLite's main file in a function's directory; its log and index lie beside it. */
const STORE_FILE = 'store.db'

export function kvStoreDir(kvDir: string, functionId: string): string {
  return join(kvDir, functionId)
}

export function kvStoreFile(storeDir: string): string {
  return join(storeDir, STORE_FILE)
}

/** What a write is recorded in first. */
export function kvLogFile(storeDir: string): string {
  return join(storeDir, `${STORE_FILE}-wal`)
}

/** The place of a store that was found damaged, kept for whoever wants to look; one per function. */
export function kvDamagedDir(kvDir: string, functionId: string): string {
  return join(kvDir, `${functionId}.damaged`)
}
