/**
 * How hard the node is pressed for memory: 0 not at all, 1 it gives up hot instances, 2 it starts no new ones either. Rises at
 * once and falls late, so that it does not swing with every reading. Pure: readings and time are given.
 */

import type { MemoryPressure } from '../../ipc.ts'
import type { MemoryReading } from './reading.ts'

/** The memory that should stay free, unless it is configured: this share of all, and no more than so much. */
const reserveShare = 0.1
const reserveBytesMax = 2 ** 30
/** Of the reserve, what is left when no instances are started any more. */
const refuseShare = 0.5
/** Percent of time that all tasks wait for memory. */
const stalledShedMin = 15
const stalledRefuseMin = 40
/** To fall, a reading must be so many times better than to rise, for so long. */
const calmFactor = 1.5
const calmMsMin = 10_000

export class PressureGauge {
  readonly #reserveBytes: number | null
  #level: MemoryPressure = 0
  #calmSinceMs: number | null = null

  /** `reserveBytes`: what should stay free; null for the default. */
  constructor(reserveBytes: number | null) {
    this.#reserveBytes = reserveBytes
  }

  get level(): MemoryPressure {
    return this.#level
  }

  /** Takes a reading and returns the level that follows from it. */
  update(reading: MemoryReading, nowMs: number): MemoryPressure {
    const wanted = this.#levelOf(reading, 1)
    const calm = this.#levelOf(reading, calmFactor)
    if (calm >= this.#level) this.#calmSinceMs = null
    else this.#calmSinceMs ??= nowMs
    if (wanted > this.#level) this.#level = wanted
    else if (this.#calmSinceMs !== null && nowMs - this.#calmSinceMs >= calmMsMin) {
      this.#level = calm
      this.#calmSinceMs = null
    }
    return this.#level
  }

  /** The level of a reading by itself; `factor` above 1 asks for more room. */
  #levelOf(reading: MemoryReading, factor: number): MemoryPressure {
    const { total_bytes: total, available_bytes: available } = reading
    const reserve = (this.#reserveBytes ?? Math.min(total * reserveShare, reserveBytesMax)) * factor
    const stalled = (reading.stalled_percent ?? 0) * factor
    if (available < reserve * refuseShare || stalled >= stalledRefuseMin) return 2
    return available < reserve || stalled >= stalledShedMin ? 1 : 0
  }
}
