/** When a node counts as online, degraded or offline; pure [R7.4 C4]. */

import type { NodeStatus } from '../../protocol/messages.ts'

/** Heartbeats missed before a node counts as degraded, and as offline. */
const missedForDegraded = 2
const missedForOffline = 3

export interface Life {
  /** What the node last said of itself; a last will says offline. */
  readonly said: NodeStatus
  /** Monotonic milliseconds of the last sign of life; null when there was none since the start. */
  readonly seen_ms: number | null
}

/** The status at `now_ms` on the same monotonic clock: changes of the wall clock kill nobody. */
export function statusOf(life: Life, nowMs: number, heartbeatMs: number): NodeStatus {
  if (life.seen_ms === null || life.said === 'offline') return 'offline'
  const missed = Math.floor((nowMs - life.seen_ms) / heartbeatMs)
  if (missed >= missedForOffline) return 'offline'
  return missed >= missedForDegraded ? 'degraded' : life.said
}
