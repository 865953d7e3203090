/** Collects the tombstones of routes that nobody needs any more. */

import { errorMessage } from '../../errors.ts'
import type { NodeId } from '../../protocol/ids.ts'
import type { Log } from '../../telemetry/log.ts'
import type { Database, Sql } from '../db/database.ts'

/** Milliseconds between collections. */
const collectMs = 10 * 60_000
/** Tombstones deleted in one transaction; more wait for the next, which follows at once. */
const tombstonesPerCollectionMax = 1_000
/** How long a tombstone waits for a node that does not come; such a node is given a full plan when it does. */
export const tombstoneMsMax = 7 * 24 * 3_600_000

/**
 * Whether a delta from `base` may lack deletions, because their tombstones are gone: those that this node had not passed, or
 * (it came back to before what it acknowledged) any. To be asked after the routes of the plan were read.
 */
export async function lacksTombstones(sql: Sql, nodeId: NodeId, base: number): Promise<boolean> {
  const row = await sql.get(
    `SELECT 1 AS lacks FROM nodes, collected_revision AS collected WHERE nodes.id = ?1
       AND (?2 < full_below OR (?2 < applied_revision AND ?2 < collected.revision))`,
    [nodeId, base],
  )
  return row !== null
}

/**
 * Deletes the oldest tombstones that nobody waits for: every node that is not up to date has passed them, or they are older
 * than `tombstoneMsMax`, and those nodes get a full plan. One that is up to date was told of all that concerns it, and one that
 * has applied nothing gets a full plan anyway. Returns how many were deleted.
 */
export async function collectTombstones(db: Database, nowMs: number): Promise<number> {
  const expired = new Date(nowMs - tombstoneMsMax).toISOString()
  if ((await tombstones(db, expired)).length === 0) return 0
  return db.write(async (tx) => {
    const due = await tombstones(tx, expired)
    const last = due.at(-1)
    if (last === undefined) return 0
    await tx.run('UPDATE collected_revision SET revision = max(revision, ?)', [last.revision])
    await tx.run(
      `UPDATE nodes SET full_below = max(full_below, min(?1, desired_revision))
       WHERE applied_revision < desired_revision AND applied_revision < ?1`,
      [last.revision],
    )
    await tx.run('DELETE FROM routes WHERE id IN (SELECT value FROM json_each(?))', [
      JSON.stringify(due.map(({ id }) => id)),
    ])
    return due.length
  })
}

async function tombstones(sql: Sql, expired: string): Promise<{ id: string; revision: number }[]> {
  const rows = await sql.all(
    `SELECT id, revision FROM routes WHERE deleted_at IS NOT NULL AND (deleted_at < ?1 OR revision <=
       (SELECT coalesce(min(applied_revision), ?2) FROM nodes
        WHERE applied_revision > 0 AND applied_revision < desired_revision))
     ORDER BY revision LIMIT ?3`,
    [expired, Number.MAX_SAFE_INTEGER, tombstonesPerCollectionMax],
  )
  return rows as unknown as { id: string; revision: number }[]
}

/** Collects from time to time while the control plane runs. */
export class TombstoneKeeper {
  readonly #deps: { readonly db: Database; readonly log: Log }
  #timer: ReturnType<typeof setTimeout> | null = null
  #running: Promise<void> = Promise.resolve()
  #closed = false

  constructor(deps: { readonly db: Database; readonly log: Log }) {
    this.#deps = deps
  }

  open(): void {
    this.#timer = setTimeout(() => {
      this.#running = this.#collect().finally(() => {
        if (!this.#closed) this.open()
      })
    }, collectMs)
  }

  async close(): Promise<void> {
    this.#closed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#running
  }

  async #collect(): Promise<void> {
    const { db, log } = this.#deps
    try {
      let collected = tombstonesPerCollectionMax
      while (collected === tombstonesPerCollectionMax && !this.#closed) {
        collected = await collectTombstones(db, Date.now())
      }
    } catch (thrown) {
      // They stay until the next time.
      log.warn('Tombstones of routes could not be collected.', {
        error_message: errorMessage(thrown),
      })
    }
  }
}
