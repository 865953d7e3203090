/** How long calls keep the HTTP thread busy, without asking the system about each: that takes longer than many of them. */

import { LIMITS } from '../../../protocol/limits.ts'

export class BusyTime {
  readonly #threadCpuMs: () => number
  /** The thread's processor time when it was last asked for. */
  #cpuMs = 0

  constructor(threadCpuMs: () => number) {
    this.#threadCpuMs = threadCpuMs
  }

  /**
   * Milliseconds of a call that took `tookMs` and slept for `sleptMs` of them; at most too many. A long one is asked about, for the
   * thread may have waited for a processor; others when it is `due`, so that what the long one is told includes little else.
   */
  of(tookMs: number, sleptMs: number, due: boolean): number {
    if (!due && tookMs <= LIMITS.inlineMeanMsMax) return tookMs
    const cpuMs = this.#threadCpuMs()
    const sinceMs = cpuMs - this.#cpuMs
    this.#cpuMs = cpuMs
    return Math.min(tookMs, sinceMs + sleptMs)
  }
}
