/**
 * Keeps suspects apart: functions of which one ended workers before, and nobody knows which, do not run beside each other,
 * so that the next death says more (`edge/agent/blame/rule.ts`). They take turns in the order in which they came, and none
 * waits longer for its turn than the agent has set.
 */

import type { WorkerFunction } from '../../ipc.ts'
import type { VerdictFile } from '../../verdicts.ts'
import { poolKey, queueWaitMs } from '../call.ts'

/** How often a call that waits for its turn is looked at again, in case the agent has made up its mind. */
export const suspectLookMs = 50

export class Suspects {
  readonly #verdicts: VerdictFile
  /** What runs now, by thread. */
  readonly #running = new Map<number, WorkerFunction>()
  /** Since when a function waits for its turn, and until when at the latest, by pool key. */
  readonly #waiting = new Map<string, { readonly since: number; readonly until: number }>()

  constructor(verdicts: VerdictFile) {
    this.#verdicts = verdicts
  }

  started(thread: number, fn: WorkerFunction): void {
    this.#running.set(thread, fn)
    if (this.#waiting.size > 0) this.#waiting.delete(poolKey(fn))
  }

  ended(thread: number): void {
    this.#running.delete(thread)
  }

  /** Whether a call that was submitted at `since` must go on waiting for its turn at `now`. */
  mustWait(fn: WorkerFunction, since: number, now: number): boolean {
    const waitMs = this.#waitMsMax(fn)
    if (waitMs === 0) return false
    const key = poolKey(fn)
    // A half of what it may wait at all: suspicion alone must refuse no call.
    const until = since + Math.min(waitMs, queueWaitMs(fn) / 2)
    if (now >= until || !(this.#runsBeside(key) || this.#isBehind(key, since, now))) return false
    const known = this.#waiting.get(key)
    if (known === undefined || known.until <= now) this.#waiting.set(key, { since, until })
    return true
  }

  /** Whether another suspect runs. */
  #runsBeside(key: string): boolean {
    return this.#running
      .values()
      .some((other) => this.#waitMsMax(other) > 0 && poolKey(other) !== key)
  }

  /** Whether another suspect has waited for its turn for longer. */
  #isBehind(key: string, since: number, now: number): boolean {
    return this.#waiting
      .entries()
      .some(([other, turn]) => other !== key && turn.until > now && turn.since < since)
  }

  /** How long a suspect waits for its turn at most; 0 for a function that is none. */
  #waitMsMax({ slot, version }: WorkerFunction): number {
    return this.#verdicts.apartMs(slot, version)
  }
}
