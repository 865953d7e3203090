/** A stretch of time that outlives the agent and that no change of the wall clock makes longer; pure. */

import { z } from 'zod'

/** What the machine's clocks say: `uptime_ms` counts within one boot, `wall_ms` may be set by anybody. */
export interface Now {
  readonly boot: string
  readonly uptime_ms: number
  readonly wall_ms: number
}

export const spanSchema = z.strictObject({
  ms: z.number().min(0),
  since: z.strictObject({ boot: z.string(), uptime_ms: z.number(), wall_ms: z.number() }),
})
export type Span = z.infer<typeof spanSchema>

export function spanOf(ms: number, now: Now): Span {
  const { boot, uptime_ms, wall_ms } = now
  return { ms, since: { boot, uptime_ms, wall_ms } }
}

/**
 * Milliseconds left of a span. Within the boot in which it began its clock decides. After another boot there is only the
 * wall clock, and what is left is never more than the whole.
 */
export function remainingMs({ ms, since }: Span, now: Now): number {
  const passed =
    now.boot === since.boot ? now.uptime_ms - since.uptime_ms : now.wall_ms - since.wall_ms
  return Math.min(ms, Math.max(0, ms - passed))
}
