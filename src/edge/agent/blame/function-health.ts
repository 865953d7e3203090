/** What the node knows of its functions besides their counts: whose versions end workers, and whose circuit breakers are open. */

import type { EdgefnError } from '../../../errors.ts'
import type { Log } from '../../../telemetry/log.ts'
import type { BreakerState } from '../../breaker.ts'
import { isTripped } from '../../breaker.ts'
import type { IndexDatabase } from '../cache/cache-index.ts'
import { createBlameStore } from '../cache/blame-store.ts'
import type { SharedFiles } from '../shared-files.ts'
import { mayBlame } from '../supervise/worker-process.ts'
import type { SlotTable } from '../supervise/slots.ts'
import { Blame } from './blame.ts'
import type { HealthFigures } from './health-metrics.ts'

/** How often it is looked whether a breaker has opened, to tell of it. */
const lookMs = 1_000

export interface HealthDeps {
  readonly shared: SharedFiles
  readonly slots: () => SlotTable
  readonly database: IndexDatabase
  readonly log: Log
  /** Milliseconds since the epoch, of the clock that workers use for the breakers. */
  readonly now: () => number
  /** A function is worse or better than before. */
  readonly onChange: () => void
}

/** How a version does on this node. */
export interface Health {
  readonly quarantined: boolean
  readonly breaker: BreakerState
  /** Why it is not well, in a sentence; null when it is. */
  readonly reason: string | null
}

interface Version {
  readonly function_id: string
  readonly version: number
}

export class FunctionHealth {
  readonly #deps: HealthDeps
  readonly #blame: Blame
  /** How often each breaker had opened at the last look. */
  readonly #opened = new Map<string, number>()
  #tripped = new Set<string>()
  #timer: ReturnType<typeof setInterval> | null = null

  constructor(deps: HealthDeps) {
    const { shared, slots, database, log, now, onChange } = deps
    this.#deps = deps
    this.#blame = new Blame({
      running: shared.running,
      verdicts: shared.verdicts,
      slots,
      store: createBlameStore(database),
      log,
      now,
      onChange,
    })
  }

  open(): void {
    this.#timer = setInterval(() => this.#look(), lookMs)
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#blame.close()
  }

  /** Told by the slot table, before anybody uses the slot. */
  slotTaken(functionId: string, slot: number): void {
    this.#blame.slotTaken(functionId, slot)
  }

  /** A worker's process has ended; `reason` is null when it was to end. */
  workerEnded(seat: number, reason: string | null): void {
    const { shared, now } = this.#deps
    if (reason !== null && mayBlame(reason)) {
      for (const { slot, version } of shared.running.read(seat)) {
        shared.breakers.workerDied(slot, version, now())
      }
    }
    this.#blame.workerEnded(seat, reason)
  }

  /** Why a version may not be loaded or run now; null when it may. */
  refusal(fn: Version & { readonly name: string }): EdgefnError | null {
    return this.#blame.refusal(fn)
  }

  /** How a function does that is served in this version. */
  of(fn: Version & { readonly name: string }): Health {
    const quarantine = this.#blame.refusal(fn)
    const breaker = this.#breakerOf(fn.function_id)
    const reason =
      quarantine?.message ??
      (breaker === 'closed' ? null : 'Its circuit breaker is open: too many of its calls failed.')
    return { quarantined: quarantine !== null, breaker, reason }
  }

  figures(): HealthFigures {
    const { shared, slots } = this.#deps
    const breakers = [...slots().entries()].map(([function_id, slot]) => ({
      function_id,
      state: this.#breakerOf(function_id),
      opened: shared.breakers.opened(slot),
    }))
    const { deaths, blamed } = this.#blame
    return { deaths, blamed, quarantines: this.#blame.quarantines(), breakers }
  }

  /** Closed when it keeps no call away: also when its time is over and nobody has called since. */
  #breakerOf(functionId: string): BreakerState {
    const { shared, slots, now } = this.#deps
    const slot = slots().find(functionId)
    if (slot === null) return 'closed'
    const breaker = shared.breakers.read(slot)
    return isTripped(breaker, now()) ? breaker.state : 'closed'
  }

  #look(): void {
    const { shared, slots, log, onChange } = this.#deps
    const tripped = new Set<string>()
    let changed = false
    for (const [functionId, slot] of slots().entries()) {
      const opened = shared.breakers.opened(slot)
      if (opened > (this.#opened.get(functionId) ?? 0)) {
        const { until } = shared.breakers.read(slot)
        log.warn('The circuit breaker of a function opened: too many of its calls failed.', {
          function_id: functionId,
          error_type: 'circuit_open',
          context: { opened, until: new Date(until).toISOString() },
        })
        changed = true
      }
      this.#opened.set(functionId, opened)
      if (this.#breakerOf(functionId) !== 'closed') tripped.add(functionId)
    }
    for (const functionId of this.#tripped) {
      if (tripped.has(functionId)) continue
      log.info('The circuit breaker of a function is closed again.', { function_id: functionId })
      changed = true
    }
    this.#tripped = tripped
    if (changed) onChange()
  }
}
