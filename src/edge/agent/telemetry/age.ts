/** How old a stored batch is; pure. */

import { LIMITS } from '../../../protocol/limits.ts'

/** When a batch was stored, and what time it is now: the boot of the machine, milliseconds since then, and Unix milliseconds. */
export interface Moment {
  readonly boot: string | null
  readonly uptime_ms: number
  readonly wall_ms: number
}

export interface Age {
  readonly ms: number
  /** Whether it is by a clock that nobody can set. */
  readonly certain: boolean
}

/**
 * Within one boot of the machine its own clock decides, whichever agent asks. After another boot there is only the wall clock, which may
 * have been wrong by years at one of the two: it makes nothing older than a batch may become.
 */
export function ageOf(stored: Moment, now: Moment): Age {
  const certain = stored.boot !== null && stored.boot === now.boot
  const ms = certain ? now.uptime_ms - stored.uptime_ms : now.wall_ms - stored.wall_ms
  const most = certain ? ms : Math.min(ms, LIMITS.telemetryStoredMsMax)
  return { ms: Math.max(0, Math.round(most)), certain }
}
