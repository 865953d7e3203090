/**
 * Takes rollouts from step to step: looks at what is recorded, decides (`decide.ts`), does it (`moves.ts`), each in one transaction
 * that is rolled back when the lease has gone to another control plane or the rollout has changed meanwhile. It remembers nothing that
 * matters: whoever holds the lease goes on where the one before was.
 */

import type { Log } from '../../../telemetry/log.ts'
import type { DeploymentId } from '../../../protocol/ids.ts'
import type { EventMessage } from '../../../protocol/messages.ts'
import type { Database, Transaction } from '../../db/database.ts'
import type { VersionSample, VersionSamples } from '../../lookup.ts'
import { recordEvents } from '../progress.ts'
import type { DeploymentRow } from '../schema.ts'
import { getDeployment } from '../store.ts'
import { decide, type Decision } from './decide.ts'
import { Lease, LeaseLost } from './lease.ts'
import { beginStep, complete, fail, openWindow, pause, type MoveDeps } from './moves.ts'
import { addTime, begunTargets, getRollout, runningRollouts, type RolloutRow } from './store.ts'

/** Milliseconds between looks while there are rollouts, while there are none, and at least between any two. */
const lookMs = 500
const idleMs = 1_000
const restMs = 50
/** What one look may add to a rollout's times: the time in which a process was stopped was not watched. */
const stretchMsMax = 5_000
/** By how much the time of day may move against the monotonic clock between two looks before windows begin anew. */
const clockStepMs = 2_000
/** Milliseconds for which samples are waited on without being read again; what is done is decided on new ones. */
const samplesMsMax = 5_000

export interface DriverDeps extends MoveDeps {
  readonly db: Database
  readonly log: Log
  /** Of the data directory, which no other process uses meanwhile. */
  readonly place: string
  readonly versionSamples: VersionSamples
  /** Milliseconds that never step back. */
  readonly monotonicMs: () => number
  /** Unix time in milliseconds. */
  readonly now: () => number
}

interface KeptSamples {
  /** The window they belong to. */
  readonly since: string
  /** Monotonic. */
  readonly at_ms: number
  readonly samples: readonly VersionSample[]
}

export class RolloutDriver {
  readonly #deps: DriverDeps
  readonly #lease: Lease
  #open = false
  #timer: ReturnType<typeof setTimeout> | null = null
  #lookAtMs = 0
  #running: Promise<void> | null = null
  #again = false
  /** What was last read of each rollout's samples. */
  readonly #kept = new Map<DeploymentId, KeptSamples>()
  /** Monotonic and time of day of the last look under the lease; null when time has not been counted since. */
  #counted: { readonly at_ms: number; readonly wall_ms: number } | null = null

  constructor(deps: DriverDeps) {
    this.#deps = deps
    const { db, monotonicMs, place } = deps
    this.#lease = new Lease({ db, monotonicMs, name: 'rollouts', place })
  }

  open(): void {
    this.#open = true
    this.wake()
  }

  /** Waits for the look under way and gives the lease back. */
  async close(): Promise<void> {
    this.#open = false
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    await this.#running
    await this.#lease.release()
  }

  /** Something happened that a rollout may have waited for. Cheap; the look comes soon after. */
  wake(): void {
    this.#again = true
    if (this.#open && this.#running === null) this.#lookIn(restMs)
  }

  #lookIn(ms: number): void {
    const at = this.#deps.monotonicMs() + ms
    if (this.#timer !== null && this.#lookAtMs <= at) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#lookAtMs = at
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#running = this.#run()
    }, ms)
  }

  async #run(): Promise<void> {
    this.#again = false
    let nextMs = idleMs
    try {
      nextMs = await this.look()
    } catch (thrown) {
      this.#counted = null
      if (!(thrown instanceof LeaseLost)) {
        this.#deps.log.failure('Rollouts could not be driven.', thrown)
      }
    }
    this.#running = null
    if (this.#open) this.#lookIn(this.#again ? restMs : nextMs)
  }

  /**
   * One look at everything, by the timer and by tests with their own clock; returns after how many milliseconds the next is due.
   */
  async look(): Promise<number> {
    const rollouts = await runningRollouts(this.#deps.db)
    const running = new Set(rollouts.map(({ deployment_id }) => deployment_id))
    for (const id of this.#kept.keys()) if (!running.has(id)) this.#kept.delete(id)
    if (rollouts.length === 0) {
      this.#counted = null
      await this.#lease.release()
      return idleMs
    }
    if (!(await this.#lease.hold())) {
      this.#counted = null
      return idleMs
    }
    await this.#countTime()
    let nextMs = lookMs
    for (const { deployment_id } of rollouts) {
      // Read again: its times have just been counted.
      const rollout = await getRollout(this.#deps.db, deployment_id)
      if (rollout === null || rollout.phase !== 'running') continue
      const decision = await this.#decide(rollout)
      if (decision.do === 'wait') nextMs = Math.min(nextMs, Math.max(decision.ms, restMs))
      else {
        await this.#act(rollout, decision)
        nextMs = restMs
      }
    }
    return nextMs
  }

  /** Adds the time since the last look, in which this process held the lease, to every running rollout. */
  async #countTime(): Promise<void> {
    const { db, monotonicMs, now } = this.#deps
    const before = this.#counted
    const counted = { at_ms: monotonicMs(), wall_ms: now() }
    if (before !== null) {
      const passedMs = counted.at_ms - before.at_ms
      const steppedMs = Math.abs(counted.wall_ms - before.wall_ms - passedMs)
      await db.write(async (tx) => {
        await this.#lease.fence(tx)
        await addTime(tx, Math.min(passedMs, stretchMsMax), steppedMs > clockStepMs ? now() : null)
      })
    }
    this.#counted = counted
  }

  async #decide(rollout: RolloutRow): Promise<Decision> {
    const { db } = this.#deps
    const targets = await begunTargets(db, rollout.deployment_id)
    const kept = this.#keptSamples(rollout)
    if (kept !== null) {
      const decision = decide(rollout, targets, kept)
      if (decision.do === 'wait') return decision
    }
    return decide(rollout, targets, await this.#samples(rollout, targets))
  }

  /** Null when they are to be read. */
  #keptSamples({ deployment_id, window_since }: RolloutRow): readonly VersionSample[] | null {
    const kept = this.#kept.get(deployment_id)
    if (kept === undefined || kept.since !== window_since) return null
    return this.#deps.monotonicMs() - kept.at_ms < samplesMsMax ? kept.samples : null
  }

  async #samples(
    rollout: RolloutRow,
    targets: Awaited<ReturnType<typeof begunTargets>>,
  ): Promise<readonly VersionSample[]> {
    const { db, versionSamples, monotonicMs } = this.#deps
    const { deployment_id, function_id, window_since: since } = rollout
    if (since === null) return []
    const deployment = await getDeployment(db, deployment_id)
    if (deployment === null) return []
    const node_ids = targets.filter(({ state }) => state === 'deployed').map((t) => t.node_id)
    const { version } = deployment
    const at_ms = monotonicMs()
    const samples = await versionSamples(db, { function_id, version, node_ids, since })
    this.#kept.set(deployment_id, { since, at_ms, samples })
    return samples
  }

  /** Nothing happens when the rollout is no longer as it was decided on. */
  async #act(decided: RolloutRow, decision: Decision): Promise<void> {
    const { db, log } = this.#deps
    const { deployment_id: id } = decided
    const tell = await db.write(async (tx) => {
      await this.#lease.fence(tx)
      const rollout = await getRollout(tx, id)
      const deployment = await getDeployment(tx, id)
      if (rollout === null || deployment === null || rollout.moves !== decided.moves) return null
      const events = await this.#move(tx, deployment, rollout, decision)
      return recordEvents(this.#deps.recordEvent, tx, events)
    })
    if (tell === null) return
    log.info('A rollout went on.', { deployment_id: id, step: decided.step, move: decision.do })
    tell()
  }

  async #move(
    tx: Transaction,
    deployment: DeploymentRow,
    rollout: RolloutRow,
    decision: Decision,
  ): Promise<EventMessage[]> {
    switch (decision.do) {
      case 'wait':
        return []
      case 'open_window':
        return openWindow(tx, deployment, rollout)
      case 'begin_step': {
        const revision = await this.#deps.nextRevision(tx)
        return beginStep(this.#deps, tx, deployment, decision.step, revision)
      }
      case 'complete':
        return complete(tx, deployment, rollout)
      case 'pause':
        return pause(tx, deployment, rollout, 'not_enough_samples', decision.evidence)
      case 'fail':
        return fail(this.#deps, tx, deployment, rollout, decision.evidence, rollout.on_failure)
    }
  }
}
