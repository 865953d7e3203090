/**
 * One control plane at a time of all that share a database: a row with an epoch that counts holders and beats that count
 * renewals. Nobody compares times of day, so a clock that is set takes no lease away and gives none.
 */

import type { Database, Sql, Transaction } from '../../db/database.ts'

/** Milliseconds without a beat after which others take a lease, and between two beats of its holder. */
export const leaseMs = 6_000
const beatMs = 2_000

export interface LeaseDeps {
  readonly db: Database
  readonly name: string
  /** Where this process runs, as no other does at the same time: a holder from the same place is a process that is gone. */
  readonly place: string
  /** Milliseconds that never step back. */
  readonly monotonicMs: () => number
}

interface LeaseRow {
  /** Null: it was given back. */
  readonly holder: string | null
  readonly epoch: number
  readonly beats: number
}

interface Seen {
  readonly epoch: number
  readonly beats: number
  /** When this epoch with these beats was first seen. */
  readonly at_ms: number
}

/** Thrown inside a transaction whose lease is somebody else's by now, so that it is rolled back. */
export class LeaseLost extends Error {
  override readonly name = 'LeaseLost'
}

export class Lease {
  readonly #deps: LeaseDeps
  /** Of this process and of no other. */
  readonly #holder: string
  /** The epoch under which it is held; null when it is not. */
  #epoch: number | null = null
  #beatAtMs = 0
  #seen: Seen | null = null

  constructor(deps: LeaseDeps) {
    this.#deps = deps
    this.#holder = `${deps.place}/${crypto.randomUUID()}`
  }

  /** Takes the lease if it can be had, or keeps it. Resolves with whether it is held. */
  async hold(): Promise<boolean> {
    return this.#epoch === null ? this.#tryToTake() : this.#keep()
  }

  /** Throws `LeaseLost` unless the transaction sees that the lease is held: what it writes is written by the holder [fencing]. */
  async fence(tx: Transaction): Promise<void> {
    const row = await this.#read(tx)
    if (row !== null && row.epoch === this.#epoch && row.holder === this.#holder) return
    this.#epoch = null
    throw new LeaseLost(`The lease ${this.#deps.name} is held by another control plane.`)
  }

  /** Gives it back, so that nobody need wait for it. */
  async release(): Promise<void> {
    const epoch = this.#epoch
    this.#epoch = null
    if (epoch === null) return
    const { db, name } = this.#deps
    await db.run('UPDATE leases SET holder = NULL WHERE name = ? AND holder = ? AND epoch = ?', [
      name,
      this.#holder,
      epoch,
    ])
  }

  async #keep(): Promise<boolean> {
    const now = this.#deps.monotonicMs()
    if (now - this.#beatAtMs < beatMs) return true
    const { db, name } = this.#deps
    const kept = await db.run(
      'UPDATE leases SET beats = beats + 1 WHERE name = ? AND holder = ? AND epoch = ?',
      [name, this.#holder, this.#epoch],
    )
    if (kept === 1) this.#beatAtMs = now
    else this.#epoch = null
    return kept === 1
  }

  async #tryToTake(): Promise<boolean> {
    const { db, monotonicMs } = this.#deps
    const now = monotonicMs()
    const row = await this.#read(db)
    if (row !== null && !this.#isFree(row, now)) return false
    const epoch = await db.write((tx) => this.#take(tx, row))
    if (epoch === null) return false
    this.#epoch = epoch
    this.#beatAtMs = now
    this.#seen = null
    return true
  }

  /** Given back, left by a process that is gone, or without a beat for the time of a lease by this process's clock. */
  #isFree({ holder, epoch, beats }: LeaseRow, now: number): boolean {
    if (holder === null || holder.startsWith(`${this.#deps.place}/`)) return true
    if (this.#seen?.epoch !== epoch || this.#seen.beats !== beats) {
      this.#seen = { epoch, beats, at_ms: now }
    }
    return now - this.#seen.at_ms >= leaseMs
  }

  /** Only if it is as it was when it was looked at: of several that want it, one gets it. */
  async #take(tx: Transaction, was: LeaseRow | null): Promise<number | null> {
    const { name } = this.#deps
    const taken =
      was === null
        ? await tx.run(
            'INSERT INTO leases (name, holder, epoch, beats) VALUES (?, ?, 1, 0) ON CONFLICT DO NOTHING',
            [name, this.#holder],
          )
        : await tx.run(
            `UPDATE leases SET holder = ?, epoch = epoch + 1, beats = beats + 1
             WHERE name = ? AND epoch = ? AND beats = ?`,
            [this.#holder, name, was.epoch, was.beats],
          )
    if (taken !== 1) return null
    return was === null ? 1 : was.epoch + 1
  }

  async #read(sql: Sql): Promise<LeaseRow | null> {
    const row = await sql.get('SELECT holder, epoch, beats FROM leases WHERE name = ?', [
      this.#deps.name,
    ])
    if (row === null) return null
    const holder = row['holder'] as string | null
    return { holder, epoch: Number(row['epoch']), beats: Number(row['beats']) }
  }
}
