/** What host functions say about the node: a guest that repeats what cannot be done must not fill the log with it. */

import type { Log, LogFields } from '../../../telemetry/log.ts'

const everyMs = 1_000

export class NodeLog {
  readonly #log: Log
  readonly #nowMs: () => number
  #saidAt = -Infinity
  #unsaid = 0

  constructor(log: Log, nowMs: () => number) {
    this.#log = log
    this.#nowMs = nowMs
  }

  /** Logs something thrown, one line a second; the next line tells how many were left out. */
  failure(message: string, thrown: unknown, fields: LogFields = {}): void {
    const now = this.#nowMs()
    if (now < this.#saidAt + everyMs) {
      this.#unsaid += 1
      return
    }
    const context = { ...fields.context, not_logged: this.#unsaid }
    this.#log.failure(message, thrown, { ...fields, context })
    this.#saidAt = now
    this.#unsaid = 0
  }
}
