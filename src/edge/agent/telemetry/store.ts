/**
 * What the node keeps of its telemetry, `telemetry.db`: batches until they are acknowledged, and up to where each record of the workers'
 * statistics is in batches, so that an agent that was killed leaves nothing uncounted and nothing counted twice.
 */

import type { Database } from 'bun:sqlite'

import { LIMITS } from '../../../protocol/limits.ts'
import type { TelemetryBatch, TelemetryAck } from '../../../protocol/telemetry.ts'
import type { Log } from '../../../telemetry/log.ts'
import { machineClock } from '../supervise/proc.ts'
import { ageOf, type Age, type Moment } from './age.ts'
import { callCountsSchema, type CallCounts } from './counts.ts'
import { openAnyhow } from './store-file.ts'

/** Bytes kept in memory when there is no place on the disk. */
const memoryBytesMax = 8 * 2 ** 20

export interface CountedSlot {
  readonly slot: number
  readonly function_id: string
  readonly version: number
  /** What is in batches. */
  readonly counts: CallCounts
}

export interface Statistics {
  readonly stamp: string
  /** Of the files, as `STATS_LAYOUT` says it. */
  readonly layout: string
  /** Unix milliseconds. */
  readonly collected_at: number
}

export interface StoredStatistics extends Statistics {
  /** When that was by the machine's clock; null where an agent stored it that did not say. */
  readonly machine_boot: string | null
  readonly uptime_ms: number | null
}

/** Batches on their way, oldest first: their JSON as an upload has them, and which they are. */
export interface NextUpload {
  readonly batches: readonly string[]
  readonly last: TelemetryAck
  readonly last_id: number
}

interface CountedRow {
  readonly slot: number
  readonly function_id: string
  readonly version: number
  readonly counts: string
}

interface BatchRow {
  readonly id: number
  readonly boot_id: string
  readonly seq: number
  readonly ended_at: number
  readonly monotonic_ms: number
  readonly dropped: number
  readonly payload: string
  readonly machine_boot: string | null
}

export interface TelemetryStoreOptions {
  readonly path: string
  readonly log: Log
  readonly bytes_max?: number
  readonly now?: () => Moment
}

export class TelemetryStore {
  /** Of this agent. */
  readonly boot_id: string = crypto.randomUUID()
  readonly #database: Database
  readonly #bytesMax: number
  readonly #log: Log
  readonly #now: () => Moment
  #dropFails = false
  #batches: number
  #bytes: number
  #dropped = 0

  /** Never fails: a damaged file is put aside, and without a place on the disk batches are kept in memory. */
  constructor(options: TelemetryStoreOptions) {
    const { database, inMemory } = openAnyhow(options.path, options.log)
    this.#database = database
    this.#log = options.log
    this.#now = options.now ?? (() => ({ ...machineClock(), wall_ms: Date.now() }))
    const bytesMax = options.bytes_max ?? LIMITS.telemetryStoredBytesMax
    this.#bytesMax = inMemory ? Math.min(bytesMax, memoryBytesMax) : bytesMax
    const row = database
      .query<[number, number], []>(
        'SELECT count(*), coalesce(sum(length(payload)), 0) FROM batches',
      )
      .values()[0]
    this.#batches = Number(row?.[0] ?? 0)
    this.#bytes = Number(row?.[1] ?? 0)
  }

  get usage(): { readonly batches: number; readonly bytes: number; readonly dropped: number } {
    return { batches: this.#batches, bytes: this.#bytes, dropped: this.#dropped }
  }

  /** Batches that were dropped and of which no batch tells yet. */
  untold(): number {
    const row = this.#database.query<[number], []>('SELECT batches FROM dropped').values()[0]
    return Number(row?.[0] ?? 0)
  }

  /**
   * Keeps batches, and with them up to where the statistics are in batches: both or neither. What is over the limits is dropped, the
   * oldest first; where that fails, the next ones are over the limits. Throws what SQLite throws, disk full above all.
   */
  put(
    batches: readonly TelemetryBatch[],
    statistics: Statistics,
    counted: readonly CountedSlot[],
  ): void {
    this.#write(() => {
      const told = batches.reduce((sum, batch) => sum + batch.dropped_batches, 0)
      if (told > 0) this.#addUntold(-told)
      for (const batch of batches) this.#insert(batch)
      this.#putStatistics(statistics)
      this.#putCounted(statistics.stamp, counted)
    })
    this.#dropOld()
  }

  /** Notes whose records there are before anything is counted in them. */
  note(statistics: Statistics, slots: readonly CountedSlot[]): void {
    this.#write(() => {
      this.#putStatistics(statistics)
      this.#putCounted(statistics.stamp, slots)
    })
  }

  /** Statistics that are not to the end in batches. */
  statistics(): StoredStatistics[] {
    return this.#database
      .query<StoredStatistics, []>('SELECT * FROM statistics ORDER BY stamp')
      .all()
  }

  /** Milliseconds since statistics were last in batches to where their counters stood. */
  ageMs({ machine_boot, uptime_ms, collected_at }: StoredStatistics): number {
    const stored = { boot: machine_boot, uptime_ms: uptime_ms ?? 0, wall_ms: collected_at }
    return ageOf(stored, this.#now()).ms
  }

  counted(stamp: string): CountedSlot[] {
    return this.#database
      .query<CountedRow, [string]>(
        'SELECT slot, function_id, version, counts FROM counted WHERE stamp = ?',
      )
      .all(stamp)
      .map((row) => ({ ...row, counts: callCountsSchema.parse(JSON.parse(row.counts)) }))
  }

  /** The last batches of statistics, which are forgotten with them. */
  finish(batches: readonly TelemetryBatch[], stamp: string): void {
    this.#write(() => {
      for (const batch of batches) this.#insert(batch)
      for (const table of ['counted', 'statistics']) {
        this.#database.query(`DELETE FROM ${table} WHERE stamp = ?`).run(stamp)
      }
    })
    this.#dropOld()
  }

  /** The oldest batches, as many as fit an upload and at most `batchesMax`; null when there are none. */
  next(batchesMax: number = LIMITS.telemetryUploadBatchesMax): NextUpload | null {
    const now = this.#now()
    const rows: BatchRow[] = []
    let bytes = 0
    for (const row of this.#oldest()) {
      bytes += row.payload.length + 32
      if (rows.length > 0 && bytes > LIMITS.telemetryUploadBytesMax) break
      rows.push(row)
      if (rows.length >= batchesMax) break
    }
    const last = rows.at(-1)
    if (last === undefined) return null
    return {
      batches: rows.map((row) => `{"age_ms":${ageOfRow(row, now).ms},"batch":${row.payload}}`),
      last: { boot_id: last.boot_id, seq: last.seq },
      last_id: last.id,
    }
  }

  /** The batches up to this one are the control plane's now. */
  acknowledge(lastId: number): void {
    this.#delete(lastId)
  }

  /** The batches up to this one will never be taken: they count as dropped. */
  drop(lastId: number): void {
    this.#write(() => this.#dropUpTo(lastId))
  }

  close(): void {
    this.#database.close()
  }

  #oldest(): IterableIterator<BatchRow> {
    return this.#database.query<BatchRow, []>('SELECT * FROM batches ORDER BY id').iterate()
  }

  /** What was put is committed, and whoever put it must not hear that it is not: it would put it again. */
  #dropOld(): void {
    try {
      this.#dropOverLimits()
      this.#dropFails = false
    } catch (thrown) {
      if (!this.#dropFails) this.#log.failure('Old telemetry cannot be dropped.', thrown)
      this.#dropFails = true
    }
  }

  #dropOverLimits(): void {
    const now = this.#now()
    let lastId: number | null = null
    let bytes = this.#bytes
    for (const row of this.#oldest()) {
      const { ms, certain } = ageOfRow(row, now)
      // By a clock that may have been set nothing is too old: the limit of bytes holds anyway.
      if (bytes <= this.#bytesMax && !(certain && ms > LIMITS.telemetryStoredMsMax)) break
      bytes -= row.payload.length
      lastId = row.id
    }
    if (lastId !== null) this.drop(lastId)
  }

  #dropUpTo(lastId: number): void {
    const row = this.#database
      .query<[number, number], [number]>(
        'SELECT count(*), coalesce(sum(dropped), 0) FROM batches WHERE id <= ?',
      )
      .values(lastId)[0]
    const batches = Number(row?.[0] ?? 0)
    this.#addUntold(batches + Number(row?.[1] ?? 0))
    this.#delete(lastId)
    this.#dropped += batches
  }

  #delete(lastId: number): void {
    const row = this.#database
      .query<[number, number], [number]>(
        'SELECT count(*), coalesce(sum(length(payload)), 0) FROM batches WHERE id <= ?',
      )
      .values(lastId)[0]
    this.#database.query('DELETE FROM batches WHERE id <= ?').run(lastId)
    this.#batches -= Number(row?.[0] ?? 0)
    this.#bytes -= Number(row?.[1] ?? 0)
  }

  #insert(batch: TelemetryBatch): void {
    const payload = JSON.stringify(batch)
    const { boot, uptime_ms } = this.#now()
    this.#database
      .query(
        `INSERT INTO batches (boot_id, seq, ended_at, monotonic_ms, dropped, payload, machine_boot)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)`,
      )
      .run(
        batch.boot_id,
        batch.seq,
        Date.parse(batch.to),
        uptime_ms,
        batch.dropped_batches,
        payload,
        boot,
      )
    this.#batches += 1
    this.#bytes += payload.length
  }

  #putStatistics({ stamp, layout, collected_at }: Statistics): void {
    const { boot, uptime_ms } = this.#now()
    this.#database
      .query(
        `INSERT OR REPLACE INTO statistics (stamp, layout, collected_at, machine_boot, uptime_ms)
         VALUES (?1, ?2, ?3, ?4, ?5)`,
      )
      .run(stamp, layout, collected_at, boot, uptime_ms)
  }

  #putCounted(stamp: string, counted: readonly CountedSlot[]): void {
    const put = this.#database.query(
      'INSERT OR REPLACE INTO counted (stamp, slot, function_id, version, counts) VALUES (?1, ?2, ?3, ?4, ?5)',
    )
    for (const { slot, function_id, version, counts } of counted) {
      put.run(stamp, slot, function_id, version, JSON.stringify(counts))
    }
  }

  #addUntold(batches: number): void {
    this.#database
      .query(
        `INSERT INTO dropped (id, batches) VALUES (1, max(0, ?1))
         ON CONFLICT DO UPDATE SET batches = max(0, batches + ?1)`,
      )
      .run(batches)
  }

  /** Figures in memory go back with a transaction that fails. */
  #write(work: () => void): void {
    const before = [this.#batches, this.#bytes, this.#dropped] as const
    try {
      this.#database.transaction(work)()
    } catch (thrown) {
      ;[this.#batches, this.#bytes, this.#dropped] = before
      throw thrown
    }
  }
}

function ageOfRow({ machine_boot, monotonic_ms, ended_at }: BatchRow, now: Moment): Age {
  return ageOf({ boot: machine_boot, uptime_ms: monotonic_ms, wall_ms: ended_at }, now)
}
