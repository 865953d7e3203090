/** What an agent that was killed had not put into batches: its workers' statistics are files, and its successor reads them to the end. */

import { rmSync } from 'node:fs'

import { LIMITS } from '../../../protocol/limits.ts'
import {
  batchDurationMsMax,
  type CallDeltas,
  type TelemetryBatch,
} from '../../../protocol/telemetry.ts'
import type { Log } from '../../../telemetry/log.ts'
import { STATS_LAYOUT, StatsFile, Tally } from '../../stats.ts'
import { versionTotals } from '../statistics.ts'
import { countsOf, newsOf } from './counts.ts'
import type { Statistics, StoredStatistics, TelemetryStore } from './store.ts'

export interface LeftoversDeps {
  readonly store: TelemetryStore
  /** The paths of an agent's statistics, by the stamp in their names. */
  files(stamp: string): string[]
  readonly log: Log
}

export class Leftovers {
  readonly #deps: LeftoversDeps
  #statistics: readonly StoredStatistics[]
  #failed = false
  /** What was read already, by stamp. */
  readonly #news = new Map<string, readonly CallDeltas[]>()

  /** Of agents before this one, which has nothing in the store yet. */
  constructor(deps: LeftoversDeps) {
    this.#deps = deps
    this.#statistics = deps.store.statistics()
  }

  /** Those whose files must stay. */
  get stamps(): ReadonlySet<string> {
    return new Set(this.#statistics.map(({ stamp }) => stamp))
  }

  /** Reads the files and deletes them, because their place on the disk is needed. Nobody may be counting in them. */
  release(): void {
    for (const statistics of this.#statistics) {
      const { stamp } = statistics
      this.#news.set(stamp, this.#read(statistics))
      this.#deleteFiles(stamp)
    }
  }

  /**
   * Puts into batches what earlier agents left, and deletes their files: called when their workers are gone. What fails is logged, and tried again
   * when the store works, or by the next agent.
   */
  collect(): void {
    const { store, log } = this.#deps
    const failed: StoredStatistics[] = []
    for (const statistics of this.#statistics) {
      const { stamp } = statistics
      try {
        const news = this.#news.get(stamp) ?? this.#read(statistics)
        store.finish(batchesOf(news, Math.min(batchDurationMsMax, store.ageMs(statistics))), stamp)
        this.#deleteFiles(stamp)
      } catch (thrown) {
        failed.push(statistics)
        log.failure('Telemetry that an earlier agent left could not be stored.', thrown)
      }
    }
    this.#statistics = failed
    this.#failed = failed.length > 0
  }

  /** The store works: what failed is tried again. */
  storeWorks(): void {
    if (this.#failed) this.collect()
  }

  #read({ stamp, layout }: Statistics): CallDeltas[] {
    // Of another edgefn: its cells mean something else.
    if (layout !== STATS_LAYOUT) return []
    const slots = this.#deps.store.counted(stamp).map((each) => ({ ...each, tally: new Tally() }))
    for (const path of this.#deps.files(stamp)) {
      // One after the other: they are large.
      const file = [StatsFile.copyOf(path)]
      for (const { tally, slot } of slots) tally.add(file, slot)
    }
    return slots.flatMap(({ function_id, version, counts, tally }) => {
      const arm = { function_id, version }
      const now = countsOf(versionTotals(arm, tally))
      // After a power loss the files may be older than the store.
      return now.requests < counts.requests ? [] : (newsOf(arm, now, counts) ?? [])
    })
  }

  #deleteFiles(stamp: string): void {
    for (const path of this.#deps.files(stamp)) rmSync(path, { force: true })
  }
}

/** They are a boot of their own: the numbers of the agent that counted are in no store any more. */
function batchesOf(news: readonly CallDeltas[], duration_ms: number): TelemetryBatch[] {
  const boot_id = crypto.randomUUID()
  const now = Date.now()
  const batches: TelemetryBatch[] = []
  for (let at = 0; at < news.length; at += LIMITS.telemetryBatchFunctionsMax) {
    batches.push({
      ...{ boot_id, seq: batches.length + 1, duration_ms, node: null, dropped_batches: 0 },
      from: new Date(now - duration_ms).toISOString(),
      to: new Date(now).toISOString(),
      functions: news.slice(at, at + LIMITS.telemetryBatchFunctionsMax),
    })
  }
  return batches
}
