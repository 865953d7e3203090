/** What is in service in this worker, and the gauges that say how many hot instances each function of it has. */

import type { WorkerFunction } from '../../ipc.ts'
import type { StatsFile } from '../../stats.ts'
import { poolKey } from '../call.ts'
import type { Pool } from './pool.ts'

export class PoolGauges {
  readonly #stats: StatsFile
  readonly #pools: ReadonlyMap<string, Pool>
  /** By pool key: whose statistics a pool's are. */
  #served = new Map<string, WorkerFunction>()
  #functionIds: ReadonlySet<string> = new Set()
  /** Slots whose gauges were set. */
  readonly #counted = new Set<number>()

  constructor(stats: StatsFile, pools: ReadonlyMap<string, Pool>) {
    this.#stats = stats
    this.#pools = pools
  }

  /** `functions` are in service from now on. */
  assign(functions: readonly WorkerFunction[]): void {
    this.#served = new Map(functions.map((fn) => [poolKey(fn), fn]))
    this.#functionIds = new Set(functions.map((fn) => fn.function_id))
    const slots = new Set(functions.map((fn) => fn.slot))
    for (const slot of this.#counted) if (!slots.has(slot)) this.#forget(slot)
  }

  /** One of them is in service in another form. */
  replace(from: WorkerFunction, to: WorkerFunction): void {
    this.#served.delete(poolKey(from))
    this.#served.set(poolKey(to), to)
  }

  isServed(key: string): boolean {
    return this.#served.has(key)
  }

  /** Whether any version of a function is. */
  isServedFunction(functionId: string): boolean {
    return this.#functionIds.has(functionId)
  }

  count(key: string): void {
    const fn = this.#served.get(key)
    if (fn !== undefined) this.#set(fn, this.#pools.get(key))
  }

  /** For all that is in service. */
  countAll(): void {
    for (const [key, fn] of this.#served) this.#set(fn, this.#pools.get(key))
  }

  /** For a pool that may not be in service yet; one that is retired counts no more. */
  countPool(fn: WorkerFunction, pool: Pool): void {
    if (!pool.retired) this.#set(fn, pool)
  }

  /** A version that is not in service any more has no instances that would be used again. */
  #forget(slot: number): void {
    this.#counted.delete(slot)
    this.#stats.set(slot, 'instances', 0)
    this.#stats.set(slot, 'instance_bytes', 0)
  }

  #set({ slot }: WorkerFunction, pool: Pool | undefined): void {
    this.#counted.add(slot)
    this.#stats.set(slot, 'instances', pool?.size ?? 0)
    this.#stats.set(slot, 'instance_bytes', pool?.bytes ?? 0)
  }
}
