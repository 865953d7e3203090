/**
 * The memory that all pools of a worker may hold together, and which instance goes first when it is not enough: the idle
 * one that was used least recently, whosever it is [R5.5 P9]. Pure bookkeeping, kept by the pools themselves.
 */

import type { Instance } from './instance.ts'

/** Above this share of the budget idle instances are given up (SPEC 4); above the other when the node's memory is short. */
export const budgetShareMax = 0.8
export const pressedShareMax = 0.25

export class PoolBudget<P> {
  readonly #bytesMax: number
  /** Idle instances with their pools, least recently used first: a Map keeps the order in which they became idle. */
  readonly #idle = new Map<Instance, P>()
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** What all instances cost, leased ones included. */
  get bytes(): number {
    return this.#bytes
  }

  /** Whether they and `others`, in bytes, cost more than `share` of the budget. */
  isOver(share = budgetShareMax, others = 0): boolean {
    return this.#bytes + others > this.#bytesMax * share
  }

  /** Whether `bytes` are within what instances may cost. */
  holds(bytes: number): boolean {
    return bytes <= this.#bytesMax * budgetShareMax
  }

  /** The idle instance that was used least recently. Null: none is idle. */
  oldest(): { readonly instance: Instance; readonly pool: P } | null {
    const first = this.#idle.entries().next().value
    return first === undefined ? null : { instance: first[0], pool: first[1] }
  }

  created(instance: Instance): void {
    this.#bytes += instance.cost
  }

  leased(instance: Instance): void {
    this.#idle.delete(instance)
  }

  /** A lease has ended and the instance is kept. */
  idled(instance: Instance, pool: P): void {
    this.#idle.set(instance, pool)
  }

  /** The instance has left its pool. */
  left(instance: Instance): void {
    this.#idle.delete(instance)
    this.#bytes -= instance.cost
  }

  resized(instance: Instance, cost: number): void {
    this.#bytes += cost - instance.cost
    instance.cost = cost
  }
}
