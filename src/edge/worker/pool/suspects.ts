/**
 * Keeps suspects apart: functions of which one ended workers before, and nobody knows which, do not run beside each other,
 * so that the next death says more (`edge/agent/blame/rule.ts`). None waits longer for that than `suspectWaitMsMax`.
 */

import { LIMITS } from '../../../protocol/limits.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { VerdictFile } from '../../verdicts.ts'
import { poolKey } from '../call.ts'

export class Suspects {
  readonly #verdicts: VerdictFile
  /** What runs now, by thread. */
  readonly #running = new Map<number, WorkerFunction>()

  constructor(verdicts: VerdictFile) {
    this.#verdicts = verdicts
  }

  started(thread: number, fn: WorkerFunction): void {
    this.#running.set(thread, fn)
  }

  ended(thread: number): void {
    this.#running.delete(thread)
  }

  /** Milliseconds for which a function that has waited for `waitedMs` must go on waiting; 0: it may run now. */
  waitMs(fn: WorkerFunction, waitedMs: number): number {
    if (!this.#isMarked(fn) || waitedMs >= LIMITS.suspectWaitMsMax) return 0
    for (const other of this.#running.values()) {
      if (this.#isMarked(other) && poolKey(other) !== poolKey(fn)) {
        return LIMITS.suspectWaitMsMax - waitedMs
      }
    }
    return 0
  }

  #isMarked(fn: WorkerFunction): boolean {
    return this.#verdicts.isKeptApart(fn.slot, fn.version)
  }
}
