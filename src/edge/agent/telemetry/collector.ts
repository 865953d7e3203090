/** Makes batches of what has been counted since the batches before, and puts them into the store. */

import { errorMessage } from '../../../errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { CallDeltas, NodeFigures, TelemetryBatch } from '../../../protocol/telemetry.ts'
import type { Log } from '../../../telemetry/log.ts'
import { STATS_LAYOUT, Tally, type StatsFile } from '../../stats.ts'
import { versionTotals } from '../statistics.ts'
import type { Arm } from '../supervise/arms.ts'
import { countsOf, newsOf, type CallCounts } from './counts.ts'
import type { CountedSlot, Statistics, TelemetryStore } from './store.ts'

/** Milliseconds in which versions that come together are noted together. */
const noteMs = 50

export interface CollectorDeps {
  readonly store: TelemetryStore
  /** Of the names of the statistics' files. */
  readonly stamp: string
  readonly stats: readonly StatsFile[]
  readonly arms: { everSeen(): Iterable<readonly [Arm, number]> }
  readonly interval_ms: number
  figures(): NodeFigures
  /** There is something to send. */
  readonly onStored: () => void
  readonly log: Log
  readonly random: () => number
}

interface News {
  readonly slot: CountedSlot
  readonly deltas: CallDeltas
}

const NOTHING: CallCounts = { requests: 0, errors: {}, server_errors: 0, buckets: [] }

export class TelemetryCollector {
  readonly #deps: CollectorDeps
  /** What is in batches, by slot. */
  readonly #counted = new Map<number, CountedSlot>()
  readonly #unnoted = new Map<number, CountedSlot>()
  #seq = 0
  #collectedAt = performance.now()
  #timer: ReturnType<typeof setTimeout> | null = null
  #noteTimer: ReturnType<typeof setTimeout> | null = null
  #failing = false
  #closed = false

  constructor(deps: CollectorDeps) {
    this.#deps = deps
  }

  /** The first batch comes at a random moment of the first interval, so that nodes that start together do not send together. */
  open(): void {
    this.#timer = setTimeout(() => {
      this.collect()
      this.#timer = setInterval(() => this.collect(), this.#deps.interval_ms)
    }, this.#deps.interval_ms * this.#deps.random())
  }

  /** A version has a record from now on: whose it is must be known if this process is killed before its next batch. */
  slotTaken({ function_id, version }: Arm, slot: number): void {
    const held = this.#counted.get(slot)
    if (held?.function_id === function_id && held.version === version) return
    const counted = { slot, function_id, version, counts: NOTHING }
    this.#counted.set(slot, counted)
    this.#unnoted.set(slot, counted)
    if (!this.#closed) this.#noteTimer ??= setTimeout(() => this.#note(), noteMs)
  }

  /** Puts what is new into batches. What cannot be stored is in the counters still, and in the next batch. */
  collect(): void {
    const now = performance.now()
    try {
      const news = this.#news()
      const batches = this.#batches(news, Math.max(0, Math.round(now - this.#collectedAt)))
      this.#deps.store.put(batches, this.#statistics(), [
        ...this.#unnoted.values(),
        ...news.map(({ slot }) => slot),
      ])
      this.#collected(now, batches.length, news)
    } catch (thrown) {
      this.#failed(thrown)
      return
    }
    this.#deps.onStored()
  }

  /** The last batch, when nobody counts any more; the statistics are forgotten with it. */
  close(): void {
    this.#closed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    if (this.#noteTimer !== null) clearTimeout(this.#noteTimer)
    this.collect()
    if (this.#failing) return
    try {
      this.#deps.store.finish([], this.#deps.stamp)
    } catch (thrown) {
      this.#failed(thrown)
    }
  }

  #collected(now: number, batches: number, news: readonly News[]): void {
    for (const { slot } of news) this.#counted.set(slot.slot, slot)
    this.#unnoted.clear()
    this.#seq += batches
    this.#collectedAt = now
    if (this.#failing) this.#deps.log.info('Telemetry is stored again.')
    this.#failing = false
  }

  #failed(thrown: unknown): void {
    const error_message = errorMessage(thrown)
    if (!this.#failing) {
      this.#deps.log.warn('Telemetry cannot be stored; it stays in the counters meanwhile.', {
        error_message,
      })
    }
    this.#failing = true
  }

  #news(): News[] {
    const { stats } = this.#deps
    const news: News[] = []
    for (const [arm, slot] of this.#deps.arms.everSeen()) {
      const counts = countsOf(versionTotals(arm, new Tally().add(stats, slot)))
      const held = this.#counted.get(slot)
      const same = held?.function_id === arm.function_id && held.version === arm.version
      const deltas = newsOf(arm, counts, same ? held.counts : null)
      if (deltas !== null) news.push({ deltas, slot: { slot, ...arm, counts } })
    }
    return news
  }

  /** As many as it takes; the node's own figures are in the first. */
  #batches(news: readonly News[], duration_ms: number): TelemetryBatch[] {
    const to = new Date()
    const parts: CallDeltas[][] = [[]]
    for (const { deltas } of news) {
      if ((parts.at(-1)?.length ?? 0) === LIMITS.telemetryBatchFunctionsMax) parts.push([])
      parts.at(-1)?.push(deltas)
    }
    return parts.map((functions, index) => ({
      boot_id: this.#deps.store.boot_id,
      seq: this.#seq + index + 1,
      from: new Date(to.getTime() - duration_ms).toISOString(),
      to: to.toISOString(),
      duration_ms,
      functions,
      node: index === 0 ? this.#deps.figures() : null,
      dropped_batches: index === 0 ? this.#deps.store.untold() : 0,
    }))
  }

  #note(): void {
    this.#noteTimer = null
    if (this.#unnoted.size === 0) return
    try {
      this.#deps.store.note(this.#statistics(), [...this.#unnoted.values()])
      this.#unnoted.clear()
    } catch (thrown) {
      // The next batch notes them too.
      this.#failed(thrown)
    }
  }

  #statistics(): Statistics {
    return { stamp: this.#deps.stamp, layout: STATS_LAYOUT, collected_at: Date.now() }
  }
}
