/** Brings the schemas of the desired state into the databases: which to try, when again, and what that means for functions. */

import { EdgefnError } from '../../../errors.ts'
import type { NodeState } from '../node-state.ts'
import type { SchemaApplier } from './schema-applier.ts'
import type { SchemaSet } from './schema-state.ts'
import { failureOf, isApplied, settleSet, startOver } from './schema-state.ts'

/** What fails for its rows, or because of the node, is tried again after so long: both may change. */
const failedRetryMs = 5 * 60_000

/** For nodes whose functions have no schemas. */
export const NO_SCHEMAS: Pick<SchemaKeeper, 'advance' | 'waits' | 'refusal' | 'nextRetryMs'> = {
  advance: (state) => Promise.resolve(state),
  waits: () => false,
  refusal: () => null,
  nextRetryMs: () => Infinity,
}

export class SchemaKeeper {
  readonly #applier: SchemaApplier
  /** When those that failed may be tried again (performance.now); those not in it may at once. */
  readonly #retryAt = new Map<string, number>()

  constructor(applier: SchemaApplier) {
    this.#applier = applier
  }

  /** Begins what is to be applied, waits a little for it, and gives the state with what has become of it till then. */
  async advance(planned: NodeState): Promise<NodeState> {
    if (planned.schemas.size === 0) return planned
    const early = this.#settled(planned)
    const now = performance.now()
    for (const [functionId, set] of early.schemas) {
      if (this.#applier.isRunning(functionId) || isApplied(set)) continue
      const isRetry = failureOf(set) !== null && this.#dueAt(functionId, set) > now
      if (!isRetry) this.#applier.begin(functionId, set)
    }
    await this.#applier.wait()
    return this.#settled(early)
  }

  /** Milliseconds until something that failed is to be tried again; Infinity when there is nothing. */
  nextRetryMs(): number {
    return Math.max(0, Math.min(...this.#retryAt.values()) - performance.now())
  }

  /** What failed is due with the next sync: somebody has mended what was in its way. */
  retryNow(): void {
    this.#retryAt.clear()
  }

  /** Whether schemas of a function are still being applied: its versions come into service after them. */
  waits(state: NodeState, functionId: string): boolean {
    const set = state.schemas.get(functionId) ?? []
    return !isApplied(set) && failureOf(set) === null
  }

  /** Why versions of a function stay out of service: one of its schemas failed. Null when there is no reason. */
  refusal(state: NodeState, functionId: string): EdgefnError | null {
    const failed = failureOf(state.schemas.get(functionId) ?? [])
    if (failed === null) return null
    return new EdgefnError(
      'schema_failed',
      `Schema ${failed.number} of the function could not be applied: ${failed.error?.message ?? ''}`,
    )
  }

  /** A set that was put anew has nothing failed in it, and is due at once. */
  #dueAt(functionId: string, set: SchemaSet): number {
    return failureOf(set) === null ? 0 : (this.#retryAt.get(functionId) ?? 0)
  }

  #settled(state: NodeState): NodeState {
    const answers = this.#applier.take()
    const schemas = new Map(state.schemas)
    const functions = new Map(state.functions)
    for (const [functionId, set] of state.schemas) {
      const told = answers.get(functionId)
      let next = set
      if (told !== undefined) next = settleSet(set, told)
      // Somebody took the file away, or a damaged one was put aside.
      else if (set.some(({ state: is }) => is === 'applied') && !this.#hasDatabase(functionId)) {
        next = startOver(set)
      }
      if (next !== set) schemas.set(functionId, next)
      this.#note(functionId, next, told !== undefined)
      const entry = functions.get(functionId)
      if (isApplied(next) && entry?.failure?.code === 'schema_failed') {
        functions.set(functionId, { ...entry, failure: null })
      }
    }
    for (const functionId of this.#retryAt.keys()) {
      if (!schemas.has(functionId)) this.#retryAt.delete(functionId)
    }
    return { ...state, schemas, functions }
  }

  #hasDatabase(functionId: string): boolean {
    return this.#applier.isRunning(functionId) || this.#applier.hasDatabase(functionId)
  }

  #note(functionId: string, set: SchemaSet, isNews: boolean): void {
    if (failureOf(set) === null) this.#retryAt.delete(functionId)
    else if (isNews) this.#retryAt.set(functionId, performance.now() + failedRetryMs)
  }
}
