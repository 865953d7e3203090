/** Retry delays, the same on both sides of the wire [R2.4 R3.5 R7.4 P15]. */

import { LIMITS } from './limits.ts'

/**
 * Delay in milliseconds before retry number `attempt` (1 = after the first failure): 1 s, 2 s, 4 s … 60 s.
 * `random` in [0, 1) takes up to a tenth off, so that a thousand nodes do not come back in one instant.
 */
export function backoffMs(attempt: number, random = 0): number {
  const doubled = LIMITS.backoffMsMin * 2 ** Math.min(Math.max(attempt - 1, 0), 30)
  const capped = Math.min(doubled, LIMITS.backoffMsMax)
  return Math.round(capped * (1 - 0.1 * random))
}
