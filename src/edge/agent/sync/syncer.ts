/**
 * Brings the node to its desired state: asks for the plan, loads what is new, swaps, acknowledges. One pass at a time; who
 * wants one says so with `poke`, and a pass asked for during another follows it. Why it was asked for does not matter.
 */

import { EdgefnError, toEdgefnError } from '../../../errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import { armsOf, type Manifest } from '../../../protocol/manifest.ts'
import type { PlanAsRead } from '../../../protocol/lenient.ts'
import type { FunctionResult } from '../../../protocol/plan.ts'
import type { Log } from '../../../telemetry/log.ts'
import type { CompiledModule } from '../../compiled.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { ArtifactCache } from '../cache/artifact-cache.ts'
import { isDiskFull } from '../cache/blobs.ts'
import type { StateStore } from '../cache/state-store.ts'
import type { CpClient } from '../cp-client.ts'
import type { Assignment } from '../../table-parts.ts'
import type { NodeState, PreviewSource } from '../node-state.ts'
import { keysInUse, tableOf, workerFunction, WorkerRows } from '../node-state.ts'
import type { SchemaKeeper } from '../schemas/schema-keeper.ts'
import { schemaResults } from '../schemas/schema-state.ts'
import type { Arms } from '../supervise/arms.ts'
import { mapBounded } from './bounded.ts'
import { changed } from './changes.ts'
import { kindsOf, nothingNew, refusal, removedBy, type Due } from './plan-parts.ts'
import {
  isSettled,
  mergeAck,
  reconcile,
  resultOf,
  settle,
  skippedMax,
  splitAck,
} from './reconcile.ts'

/** Functions loaded at the same time. */
const loadingMax = 4
/** How often functions that failed for reasons that may pass are tried again after their tries were reported. */
const failedRetryMs = 5 * 60_000
/** Bytes of one acknowledgement, well below what the control plane takes. */
const ackBytesMax = LIMITS.apiBodyBytesMax / 2
/** Answers to an acknowledgement after which it is pointless to send it again. */
const ACK_REFUSED = new Set(['bad_request', 'invalid_field', 'conflict'])

interface SyncerDeps {
  readonly cp: Pick<CpClient, 'plan' | 'acknowledge'>
  readonly store: StateStore
  readonly cache: Pick<ArtifactCache, 'setInService' | 'path' | 'freeSpace'>
  readonly arms: Pick<Arms, 'take' | 'keepOnly'>
  readonly previews: PreviewSource
  readonly workers: {
    prepare(fn: WorkerFunction): Promise<void>
    assign(table: Assignment): Promise<void>
  }
  ensureArtifact(manifest: Manifest): Promise<string>
  /** The compiled form in which a version is served; null while it is interpreted. */
  compiledOf(manifest: Manifest): CompiledModule | null
  /** What becomes of schemas, which functions wait for. */
  readonly schemas: Pick<SchemaKeeper, 'advance' | 'waits' | 'refusal' | 'nextRetryMs'>
  /** The workers have another table. */
  onAssigned(): void
  /** Functions that the control plane says were deleted; no worker has them in its table any more. */
  onRemoved(functionIds: readonly string[]): void
  readonly log: Log
  readonly sync_ms: number
  /** Delay before retry number `attempt`, normally `backoffMs` with jitter. */
  retryDelayMs(attempt: number): number
}

export interface SyncCounts {
  readonly succeeded: number
  readonly failed: number
}

export class Syncer {
  readonly #deps: SyncerDeps
  #state: NodeState
  #dirty = false
  #running: Promise<void> | null = null
  #timer: ReturnType<typeof setTimeout> | null = null
  #failures = 0
  #closed = false
  #counts = { succeeded: 0, failed: 0 }
  readonly #rows = new WorkerRows()
  /** When functions that failed may be tried again (performance.now); those not in it may at once. */
  readonly #retryAt = new Map<string, number>()

  /** `state` is what the store holds and the workers serve. */
  constructor(deps: SyncerDeps, state: NodeState) {
    this.#deps = deps
    this.#state = state
  }

  get state(): NodeState {
    return this.#state
  }

  get counts(): SyncCounts {
    return this.#counts
  }

  /** Asks for a pass, now or after the one that runs. */
  poke(): void {
    this.#dirty = true
    if (this.#closed || this.#running !== null) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#running = this.#passes().finally(() => {
      this.#running = null
      if (this.#dirty) this.poke()
      else this.#schedule()
    })
  }

  /** A function whose artifact came late is tried again at once. */
  retry(functionId: string): void {
    if (this.#state.functions.get(functionId)?.failure?.retryable !== true) return
    this.#retryAt.delete(functionId)
    this.poke()
  }

  /** Resolves when no pass runs any more. */
  async close(): Promise<void> {
    this.#closed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#running
  }

  async #passes(): Promise<void> {
    while (this.#dirty && !this.#closed) {
      this.#dirty = false
      try {
        await this.#pass()
        if (this.#failures > 0) this.#deps.log.info('The control plane answers again.')
        this.#failures = 0
        this.#counts.succeeded += 1
      } catch (thrown) {
        this.#failures += 1
        this.#counts.failed += 1
        this.#report(thrown)
        return
      }
    }
  }

  /** The first failure is news; that it goes on is not. */
  #report(thrown: unknown): void {
    const error = toEdgefnError(thrown)
    const fields = { context: { failures: this.#failures, revision: this.#state.revision } }
    if (error.code === 'internal') this.#deps.log.failure('The sync failed.', thrown, fields)
    else if (this.#failures > 1) this.#deps.log.debug(`The sync failed: ${error.message}`, fields)
    else {
      this.#deps.log.warn('The sync failed; the node goes on serving what it has.', {
        error_type: error.code,
        error_message: error.message,
        ...fields,
      })
    }
  }

  #schedule(): void {
    if (this.#closed) return
    const now = performance.now()
    const retryMs = Math.min(...this.#retryAt.values()) - now
    const nextMs = Math.max(0, Math.min(retryMs, this.#deps.schemas.nextRetryMs()))
    const ms =
      this.#failures > 0
        ? this.#deps.retryDelayMs(this.#failures)
        : Math.min(this.#deps.sync_ms * (0.9 + 0.1 * Math.random()), nextMs)
    this.#timer = setTimeout(() => this.poke(), ms)
  }

  async #pass(): Promise<void> {
    const startedAt = performance.now()
    const plan = await this.#plan()
    this.#warnOfUnread(plan)
    const reconciled = reconcile(this.#state, plan)
    if (reconciled.outcome === 'next') {
      await this.#apply(reconciled.state, plan, startedAt)
      this.#deps.onRemoved(removedBy(plan))
    } else await this.#apply(this.#state, nothingNew(plan, this.#state), startedAt)
    await this.#acknowledge()
  }

  #warnOfUnread({ unread = [] }: PlanAsRead): void {
    if (unread.length === 0) return
    const actions = kindsOf(unread)
    this.#deps.log.warn(
      'Parts of the plan are left out, because this version cannot read them: upgrade the node.',
      { context: { actions, left_out: unread.length } },
    )
  }

  /** The plan from here, or the full one when the control plane's starts after where the node is. */
  async #plan(): Promise<PlanAsRead> {
    const { cp } = this.#deps
    const plan = await cp.plan(this.#state.revision)
    return reconcile(this.#state, plan).outcome === 'gap' ? cp.plan(0) : plan
  }

  /** fetch → verify → cache → warm → store → swap; the old version serves until the swap. */
  async #apply(planned: NodeState, plan: PlanAsRead, startedAt: number): Promise<void> {
    const { cache, workers, arms, schemas } = this.#deps
    const before = this.#state
    const ready = await schemas.advance(planned)
    const due = this.#due(ready).filter(([functionId]) => !schemas.waits(ready, functionId))
    const { previews } = this.#deps
    cache.setInService(keysInUse(before).union(keysInUse(planned)).union(previews.keys()))
    const tries = await mapBounded(due, loadingMax, async ([functionId, manifest]) => {
      return [
        functionId,
        await this.#bringUp(manifest, schemas.refusal(ready, functionId)),
      ] as const
    })
    // What was cut short by the end of the agent says nothing about the functions.
    if (this.#closed) throw new EdgefnError('shutting_down', 'The agent is shutting down.')
    const outcomes = new Map(tries)
    const settled = settle(ready, outcomes)
    const next = this.#withResults(settled, plan, outcomes, performance.now() - startedAt)
    if (changed(before, next)) {
      await this.#save(next, before, due)
      this.#state = next
      await workers.assign(this.table())
      this.#deps.onAssigned()
    }
    const keys = keysInUse(this.#state).union(previews.keys())
    cache.setInService(keys)
    arms.keepOnly(keys)
    this.#planRetries(outcomes)
  }

  /** Gives the workers the table anew, because what is served beside the desired state has changed. */
  async retable(): Promise<void> {
    const { cache, previews, workers } = this.#deps
    cache.setInService(keysInUse(this.#state).union(previews.keys()))
    await workers.assign(this.table())
  }

  /** The routing table of the present state. */
  table(): Assignment {
    const { arms, cache } = this.#deps
    return tableOf(this.#state, {
      slotsOf: (manifest) => arms.take(manifest),
      pathOf: (manifest) => cache.path(manifest),
      compiledOf: (manifest) => this.#deps.compiledOf(manifest),
      rows: this.#rows,
      previews: this.#deps.previews,
    })
  }

  /** What to try in this pass: new manifests, and failed ones that may have got better and whose time has come. */
  #due(planned: NodeState): Due[] {
    const now = performance.now()
    const due: Due[] = []
    for (const [functionId, { pending, failure }] of planned.functions) {
      if (pending === null || failure?.retryable === false) continue
      const waits = failure !== null && (this.#retryAt.get(functionId) ?? 0) > now
      if (!waits) due.push([functionId, pending])
    }
    return due
  }

  /** One try to have a function loaded in every worker, all versions of it; null when it is, else why not. */
  async #bringUp(
    manifest: Manifest,
    schemaFailure: EdgefnError | null,
  ): Promise<EdgefnError | null> {
    if (schemaFailure !== null) return schemaFailure
    for (const arm of armsOf(manifest)) {
      const error = await this.#bringUpArm(arm)
      if (error === null) continue
      if (manifest.split === undefined) return error
      const { code, message, cause } = error
      return new EdgefnError(code, `Version ${arm.version} of the split: ${message}`, { cause })
    }
    return null
  }

  async #bringUpArm(manifest: Manifest): Promise<EdgefnError | null> {
    const { arms, workers, ensureArtifact, compiledOf, log } = this.#deps
    try {
      const slots = arms.take(manifest)
      if (slots === null) {
        const message = `A node holds at most ${LIMITS.functionsMax} functions.`
        throw new EdgefnError('overloaded', message)
      }
      const path = await ensureArtifact(manifest)
      // Interpreted, because that is always possible; compiling comes when it serves. One that serves has its form already.
      await workers.prepare(workerFunction(manifest, slots, path, compiledOf(manifest)))
      return null
    } catch (thrown) {
      const error = toEdgefnError(thrown)
      log.warn('A function version could not be brought into service.', {
        function_id: manifest.function_id,
        error_type: error.code,
        error_message: error.message,
        context: { name: manifest.name, version: manifest.version, sha256: manifest.sha256 },
      })
      return error
    }
  }

  /** Adds to the state what has to be reported: every settled function that the plan names or that was tried. */
  #withResults(
    state: NodeState,
    plan: PlanAsRead,
    outcomes: ReadonlyMap<string, EdgefnError | null>,
    durationMs: number,
  ): NodeState {
    // A failure that was reported already and goes on is no news.
    const named = new Set(
      [...outcomes.keys()].filter((functionId) => {
        const attempts = state.functions.get(functionId)?.failure?.attempts ?? 0
        return attempts <= LIMITS.fetchAttemptsMax
      }),
    )
    for (const action of plan.actions) {
      if (action.action === 'put_function') named.add(action.function.function_id)
    }
    const results: FunctionResult[] = []
    for (const functionId of named) {
      const entry = state.functions.get(functionId)
      const result = entry === undefined ? null : resultOf(entry)
      if (result !== null) results.push(result)
    }
    const unread = plan.unread ?? []
    results.push(...unread.flatMap(({ result }) => result ?? []))
    const kinds = kindsOf(unread).slice(0, skippedMax)
    // An empty full plan of revision 0 is what a control plane without changes answers for ever.
    const news = plan.revision !== this.#state.revision || (plan.full && plan.revision > 0)
    const told = schemaResults(this.#state.schemas, state.schemas)
    if (!news && results.length === 0 && told.length === 0) return state
    const { revision } = plan
    const base_revision = plan.full ? 0 : plan.base_revision
    const skipped = kinds.length === 0 ? {} : { skipped: kinds }
    const schemas = told.length === 0 ? {} : { schemas: told }
    const duration_ms = Math.min(LIMITS.syncMsMax, Math.round(durationMs))
    const ack = { base_revision, revision, results, ...skipped, ...schemas, duration_ms }
    return { ...state, unacknowledged: mergeAck(state.unacknowledged, ack) }
  }

  /** A full disk evicts. When nothing is left to evict, the node stays at `before`, and who waits for `due` is told why. */
  async #save(next: NodeState, before: NodeState, due: readonly Due[]): Promise<void> {
    const { store, cache, cp } = this.#deps
    for (;;) {
      try {
        return store.save(next, before)
      } catch (thrown) {
        if (!isDiskFull(thrown)) throw thrown
        if (cache.freeSpace()) continue
        const error = new EdgefnError(
          'function_unavailable',
          `The disk of the node is full: revision ${next.revision} cannot be stored.`,
          { cause: thrown },
        )
        if (due.length > 0) await cp.acknowledge(refusal(before.revision, due, error))
        throw error
      }
    }
  }

  #planRetries(outcomes: ReadonlyMap<string, unknown>): void {
    const now = performance.now()
    for (const functionId of this.#retryAt.keys()) {
      if (this.#state.functions.get(functionId)?.failure?.retryable !== true) {
        this.#retryAt.delete(functionId)
      }
    }
    for (const functionId of outcomes.keys()) {
      const entry = this.#state.functions.get(functionId)
      if (entry?.failure?.retryable !== true) continue
      const delay = isSettled(entry)
        ? failedRetryMs
        : this.#deps.retryDelayMs(entry.failure.attempts)
      this.#retryAt.set(functionId, now + delay)
    }
  }

  /** Sends what is not confirmed once every function has its result; it is kept until the control plane has it. */
  async #acknowledge(): Promise<void> {
    const { store, cp, log } = this.#deps
    const ack = this.#state.unacknowledged
    if (ack === null || ![...this.#state.functions.values()].every(isSettled)) return
    try {
      for (const part of splitAck(ack, ackBytesMax)) await cp.acknowledge(part)
    } catch (thrown) {
      if (!ACK_REFUSED.has(toEdgefnError(thrown).code)) throw thrown
      log.failure('The control plane refused the acknowledgement of a plan.', thrown)
    }
    const next = { ...this.#state, unacknowledged: null }
    store.save(next, this.#state)
    this.#state = next
  }
}
