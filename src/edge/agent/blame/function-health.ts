/** What the node knows of its functions besides their counts: whose versions end workers, and whose circuit breakers are open. */

import type { EdgefnError } from '../../../errors.ts'
import type { Log } from '../../../telemetry/log.ts'
import type { BreakerState } from '../../breaker.ts'
import { isTripped } from '../../breaker.ts'
import type { IndexDatabase } from '../cache/cache-index.ts'
import { createBlameStore } from '../cache/blame-store.ts'
import type { SharedFiles } from '../shared-files.ts'
import { mayBlame } from '../supervise/worker-process.ts'
import type { Arm, Arms } from '../supervise/arms.ts'
import { Blame } from './blame.ts'
import type { HealthFigures } from './health-metrics.ts'

/** How often it is looked whether a breaker has opened, to tell of it. */
const lookMs = 1_000

export interface HealthDeps {
  readonly shared: SharedFiles
  readonly arms: () => Arms
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

export class FunctionHealth {
  readonly #deps: HealthDeps
  readonly #blame: Blame
  /** How often each breaker had opened at the last look, by slot. */
  readonly #opened = new Map<number, number>()
  /** How often breakers of a function opened whose records belong to other versions now. */
  readonly #openedBefore = new Map<string, number>()
  #tripped = new Map<number, Arm>()
  #timer: ReturnType<typeof setInterval> | null = null

  constructor(deps: HealthDeps) {
    const { shared, arms, database, log, now, onChange } = deps
    this.#deps = deps
    this.#blame = new Blame({
      running: shared.running,
      verdicts: shared.verdicts,
      arms,
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

  /** Told before anybody uses the slot. */
  slotTaken(arm: Arm, slot: number): void {
    this.#blame.slotTaken(arm, slot)
  }

  /** Told before the record of a version is cleared. */
  slotLeaving({ function_id }: Arm, slot: number): void {
    const before = this.#openedBefore.get(function_id) ?? 0
    this.#openedBefore.set(function_id, before + this.#deps.shared.breakers.opened(slot))
    this.#opened.delete(slot)
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
  refusal(fn: Arm & { readonly name: string }): EdgefnError | null {
    return this.#blame.refusal(fn)
  }

  /** How a function does that is served in this version. */
  of(fn: Arm & { readonly name: string }): Health {
    const quarantine = this.#blame.refusal(fn)
    const breaker = this.#breakerOf(fn)
    const reason =
      quarantine?.message ??
      (breaker === 'closed' ? null : 'Its circuit breaker is open: too many of its calls failed.')
    return { quarantined: quarantine !== null, breaker, reason }
  }

  figures(): HealthFigures {
    const { deaths, blamed } = this.#blame
    return { deaths, blamed, quarantines: this.#blame.quarantines(), breakers: this.#breakers() }
  }

  /** Of each function the breaker of the version that does worst, and how often any of them opened. */
  #breakers(): HealthFigures['breakers'] {
    const { shared, arms } = this.#deps
    const states = new Map<string, BreakerState>()
    for (const [arm] of arms().entries()) {
      const state = this.#breakerOf(arm)
      const worst = states.get(arm.function_id) ?? 'closed'
      states.set(arm.function_id, worst === 'open' || state === 'closed' ? worst : state)
    }
    return [...states].map(([function_id, state]) => {
      let opened = this.#openedBefore.get(function_id) ?? 0
      for (const slot of arms().slotsOf(function_id)) opened += shared.breakers.opened(slot)
      return { function_id, state, opened }
    })
  }

  /** Closed when it keeps no call away: also when its time is over and nobody has called since. */
  #breakerOf(arm: Arm): BreakerState {
    const slots = this.#deps.arms().find(arm)
    return slots === null ? 'closed' : this.#breakerIn(slots.slot)
  }

  #breakerIn(slot: number): BreakerState {
    const breaker = this.#deps.shared.breakers.read(slot)
    return isTripped(breaker, this.#deps.now()) ? breaker.state : 'closed'
  }

  #look(): void {
    const { shared, arms, log, onChange } = this.#deps
    const tripped = new Map<number, Arm>()
    let changed = false
    for (const [arm, slot] of arms().entries()) {
      const { function_id, version } = arm
      const opened = shared.breakers.opened(slot)
      if (opened > (this.#opened.get(slot) ?? 0)) {
        const { until } = shared.breakers.read(slot)
        log.warn('The circuit breaker of a function opened: too many of its calls failed.', {
          function_id,
          error_type: 'circuit_open',
          context: { version, opened, until: new Date(until).toISOString() },
        })
        changed = true
      }
      this.#opened.set(slot, opened)
      if (this.#breakerIn(slot) !== 'closed') tripped.set(slot, arm)
    }
    for (const [slot, { function_id, version }] of this.#tripped) {
      if (tripped.has(slot)) continue
      const context = { version }
      log.info('The circuit breaker of a function is closed again.', { function_id, context })
      changed = true
    }
    this.#tripped = tripped
    if (changed) onChange()
  }
}
