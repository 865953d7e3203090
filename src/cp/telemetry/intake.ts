/**
 * Takes uploads of nodes: they wait a moment for each other and are written in one transaction, so that a fleet's telemetry costs a
 * few transactions a second. Nothing is acknowledged before it is committed.
 */

import { EdgefnError } from '../../errors.ts'
import type { NodeId } from '../../protocol/ids.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { TelemetryAck, TelemetryUpload } from '../../protocol/telemetry.ts'
import type { Database } from '../db/database.ts'
import type { PlacedBatch } from './rows.ts'
import { takeBatches, type Taken } from './store.ts'

/** Milliseconds that an upload waits for others. */
const gatherMs = 200

export interface IntakeDeps {
  readonly db: Database
  /** Told what each transaction took, once it is committed. */
  readonly count: (taken: Taken) => void
  /** Unix milliseconds. */
  readonly now: () => number
}

interface Waiting {
  readonly batches: readonly PlacedBatch[]
  /** Rows that it makes at least. */
  readonly rows: number
  readonly ack: TelemetryAck
  readonly settle: PromiseWithResolvers<TelemetryAck>
}

export class TelemetryIntake {
  readonly #deps: IntakeDeps
  #waiting: Waiting[] = []
  /** Of uploads that are not settled yet. */
  #rows = 0
  #timer: ReturnType<typeof setTimeout> | null = null
  #writing: Promise<void> | null = null
  #closed = false

  constructor(deps: IntakeDeps) {
    this.#deps = deps
  }

  /**
   * Takes an upload of a node that has proved to be it. Resolves when it is committed, also when all of it had been taken before.
   * Throws `overloaded` when too many wait, `database_unavailable` when it cannot be written: the node sends it again.
   */
  take(nodeId: NodeId, { batches }: TelemetryUpload): Promise<TelemetryAck> {
    const last = batches.at(-1)
    if (this.#closed || last === undefined) {
      return Promise.reject(new EdgefnError('shutting_down', 'The control plane is ending.'))
    }
    const rows = batches.reduce((sum, { batch }) => sum + batch.functions.length + 1, 0)
    if (
      this.#waiting.length >= LIMITS.telemetryWaitingUploadsMax ||
      this.#rows + rows > LIMITS.telemetryWaitingRowsMax
    ) {
      return Promise.reject(new EdgefnError('overloaded', 'Too many uploads of telemetry wait.'))
    }
    const now = this.#deps.now()
    const placed = batches.map(({ age_ms, batch }) => ({
      ...{ node_id: nodeId, batch },
      from_ms: Math.max(0, now - age_ms - batch.duration_ms),
    }))
    const { boot_id, seq } = last.batch
    const settle = Promise.withResolvers<TelemetryAck>()
    this.#rows += rows
    this.#waiting.push({ batches: placed, rows, ack: { boot_id, seq }, settle })
    this.#timer ??= setTimeout(() => this.#flushSoon(), gatherMs)
    return settle.promise
  }

  /** Writes what waits; what comes after is refused. */
  async close(): Promise<void> {
    this.#closed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#writing
    await this.#write()
  }

  #flushSoon(): void {
    this.#writing = this.#write().finally(() => {
      this.#writing = null
      // Those that came while others were written have waited long enough.
      this.#timer = null
      if (this.#waiting.length > 0 && !this.#closed) {
        this.#timer = setTimeout(() => this.#flushSoon(), gatherMs)
      }
    })
  }

  /** One transaction after the other, each of a size that others can wait for. */
  async #write(): Promise<void> {
    const waiting = this.#waiting
    this.#waiting = []
    for (let at = 0; at < waiting.length;) {
      const group: Waiting[] = []
      let rows = 0
      while (at < waiting.length && rows < LIMITS.telemetryTransactionRowsMax) {
        const next = waiting[at]
        if (next === undefined) break
        group.push(next)
        rows += next.rows
        at += 1
      }
      await this.#commit(group)
      this.#rows -= rows
      // Whoever else wants something of this process has its turn.
      if (at < waiting.length) await new Promise((done) => setImmediate(done))
    }
  }

  async #commit(group: readonly Waiting[]): Promise<void> {
    const batches = group.flatMap((upload) => upload.batches)
    try {
      const taken = await this.#deps.db.write((tx) => takeBatches(tx, batches, this.#deps.now()))
      this.#deps.count(taken)
      for (const { settle, ack } of group) settle.resolve(ack)
    } catch (thrown) {
      if (group.length === 1 || isOutage(thrown)) {
        for (const { settle } of group) settle.reject(thrown)
      } else {
        // Something in one of them cannot be written: the others are not to blame.
        for (const upload of group) await this.#commit([upload])
      }
    }
  }
}

function isOutage(thrown: unknown): boolean {
  return thrown instanceof EdgefnError && thrown.code === 'database_unavailable'
}
