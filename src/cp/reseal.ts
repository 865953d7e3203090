/** At the start: every stored value must have its key, and those under an older key are sealed anew. */

import { EdgefnError } from '../errors.ts'
import { purposeOfRow as purposeOfAcceptance } from './audit/acceptance.ts'
import type { Database, Row, SqlValue } from './db/database.ts'
import { sealingKeyOf, type Sealing } from './sealing.ts'
import { purposeOf as purposeOfSecret } from './secrets/service.ts'
import { purposeOf as purposeOfWebhook } from './webhooks/service.ts'

/** Values sealed anew in one transaction. */
const rowsPerTransaction = 200

/** A column of sealed values. */
interface SealedColumn {
  /** Rows that are not sealed with the key whose prefix is ?1, ?2 at most; the value as `sealed`. */
  readonly select: string
  /** Replaces the value ?1 by ?2 in the row of the key that follows. */
  readonly update: string
  readonly key: readonly string[]
  purpose(row: Row): string
  /** For the operator; null: what does not open is worth nothing, and is taken away. */
  readonly name: ((row: Row) => string) | null
}

const isOlder = (column: string) => `${column} <> '' AND substr(${column}, 1, length(?1)) <> ?1`

const secretOf = (row: Row) => ({
  secret_id: String(row['secret_id']),
  name: String(row['name']),
  number: Number(row['number']),
})

const SEALED_COLUMNS: readonly SealedColumn[] = [
  {
    select: `SELECT n.secret_id, s.name, n.number, n.sealed FROM secret_versions n
      JOIN secrets s ON s.id = n.secret_id WHERE ${isOlder('n.sealed')} LIMIT ?2`,
    update: `UPDATE secret_versions SET sealed = ?2
      WHERE secret_id = ?3 AND number = ?4 AND sealed = ?1`,
    key: ['secret_id', 'number'],
    purpose: (row) => purposeOfSecret(secretOf(row)),
    name: (row) => `Secret ${String(row['name'])}@${String(row['number'])}`,
  },
  {
    select: `SELECT id, url, secret_sealed AS sealed FROM webhooks WHERE ${isOlder('secret_sealed')} LIMIT ?2`,
    update: 'UPDATE webhooks SET secret_sealed = ?2 WHERE id = ?3 AND secret_sealed = ?1',
    key: ['id'],
    purpose: (row) => purposeOfWebhook(String(row['id'])),
    name: (row) => `The secret of webhook ${String(row['id'])}`,
  },
  {
    // Whoever can write the database can put anything here, which must keep no control plane from starting.
    select: `SELECT node_id, seq, hash, accepted_proof AS sealed FROM audit_mismatches
      WHERE ${isOlder('accepted_proof')} LIMIT ?2`,
    update: `UPDATE audit_mismatches SET accepted_proof = ?2
      WHERE node_id = ?3 AND seq = ?4 AND hash = ?5 AND accepted_proof = ?1`,
    key: ['node_id', 'seq', 'hash'],
    purpose: purposeOfAcceptance,
    name: null,
  },
]

/**
 * Throws `invalid_config` when a value is sealed with a key that is not there: nodes and receivers could not be given it, and
 * starting would only hide that. With several control planes on one database all of them must have the new key before one seals
 * with it.
 */
export async function reseal(db: Database, sealing: Sealing): Promise<void> {
  for (const column of SEALED_COLUMNS) {
    while (await resealSome(db, sealing, column)) {
      // The next ones.
    }
  }
}

/** Whether there were any. */
async function resealSome(db: Database, sealing: Sealing, column: SealedColumn): Promise<boolean> {
  const rows = await db.all(column.select, [`1.${sealing.key_id}.`, rowsPerTransaction])
  if (rows.length === 0) return false
  const anew: SqlValue[][] = []
  for (const row of rows) {
    const before = String(row['sealed'])
    const key = column.key.map((name) => row[name] ?? null)
    const keyId = sealingKeyOf(before)
    if (column.name !== null && (keyId === null || !sealing.has(keyId))) {
      throw new EdgefnError(
        'invalid_config',
        `${column.name(row)} is sealed with the key ${keyId ?? '?'}, which keys/sealing.keys does not have; restore the file from the backup of the data directory.`,
      )
    }
    const purpose = column.purpose(row)
    const opened = sealing.open(purpose, before)
    const value = await (column.name === null ? opened.catch(() => null) : opened)
    anew.push([before, value === null ? null : await sealing.seal(purpose, value), ...key])
  }
  await db.write(async (tx) => {
    for (const parameters of anew) await tx.run(column.update, parameters)
  })
  return true
}
