/** Brings a database to the schema of this binary: forward only, each step whole or not at all. */

import { EdgefnError } from '../../errors.ts'
import type { Transaction } from './database.ts'
import type { Migration } from './migrations.ts'

const HISTORY = `CREATE TABLE IF NOT EXISTS schema_migrations (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  applied_at TEXT NOT NULL
) STRICT`

/** A transaction that also runs several statements at once, split by the database's own parser (triggers have `;`). */
export interface ScriptTransaction extends Transaction {
  script(sql: string): Promise<void>
}

type Write = (work: (tx: ScriptTransaction) => Promise<void>) => Promise<void>

/**
 * Applies what is missing. Throws `invalid_config` when the database was migrated by a newer edgefn or by other text
 * than this binary holds: running on would corrupt it.
 */
export async function migrate(write: Write, migrations: readonly Migration[]): Promise<void> {
  await write(async function checkHistory(tx) {
    await tx.run(HISTORY)
    for (const row of await tx.all('SELECT id, name FROM schema_migrations ORDER BY id')) {
      if (migrations.some((migration) => migration.id === row['id'])) continue
      throw refused(`has migration ${row['id']} (${row['name']}), which this edgefn does not know`)
    }
  })
  for (const migration of migrations) await write((tx) => apply(tx, migration))
}

async function apply(tx: ScriptTransaction, migration: Migration): Promise<void> {
  const digest = new Bun.CryptoHasher('sha256').update(migration.sql).digest('hex')
  const applied = await tx.get('SELECT sha256 FROM schema_migrations WHERE id = ?', [migration.id])
  if (applied !== null) {
    if (applied['sha256'] === digest) return
    throw refused(`had another text of migration ${migration.id} (${migration.name}) applied`)
  }
  await tx.script(migration.sql)
  await tx.run('INSERT INTO schema_migrations (id, name, sha256, applied_at) VALUES (?, ?, ?, ?)', [
    migration.id,
    migration.name,
    digest,
    new Date().toISOString(),
  ])
}

function refused(what: string): EdgefnError {
  return new EdgefnError(
    'invalid_config',
    `The database ${what}; use the edgefn that wrote it, or a newer one.`,
  )
}
