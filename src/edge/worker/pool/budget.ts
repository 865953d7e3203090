/**
 * The memory that all pools of a worker may hold together, and which instance goes first when it is not enough: the idle
 * one that was used least recently, whosever it is [R5.5 P9]. Pure bookkeeping, kept by the pools themselves.
 *
 * An instance that has run since it was last looked at counts with its linear memory in full, for it may have touched all of that; one that
 * was looked at and has not run since, with what it has touched. Nobody looks before there is too little room.
 */

import type { Instance } from './instance.ts'
import { Queue } from './queue.ts'

/** Above this share of the budget idle instances are given up (SPEC 4); above the other when the node's memory is short. */
export const budgetShareMax = 0.8
export const pressedShareMax = 0.25

export class PoolBudget<P> {
  readonly #bytesMax: number
  /** Idle instances with their pools, least recently used first: a Map keeps the order in which they became idle. */
  readonly #idle = new Map<Instance, P>()
  /** Instances that count in full, those first that do so for longest. */
  readonly #unseen = new Queue<Instance>((instance) => instance.unseen)
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
    this.#toBeSeen(instance)
  }

  /** It has run: what it had not touched it may have touched now. */
  ran(instance: Instance): void {
    if (instance.untouched === 0) return
    this.#recount(instance, instance.cost + instance.untouched)
    instance.untouched = 0
    this.#toBeSeen(instance)
  }

  #toBeSeen(instance: Instance): void {
    if (instance.unseen) return
    instance.unseen = true
    this.#unseen.add(instance)
  }

  /** Takes an instance that is to be looked at, because it counts in full; `looked` says what was seen. Null: all are known. */
  takeUnseen(): Instance | null {
    const instance = this.#unseen.take()
    if (instance !== null) instance.unseen = false
    return instance
  }

  /** So many bytes of its linear memory it has not touched. */
  looked(instance: Instance, untouched: number): void {
    instance.untouched = untouched
    this.#recount(instance, instance.cost - untouched)
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
    if (instance.unseen) {
      instance.unseen = false
      this.#unseen.left()
    }
    this.#bytes -= instance.cost
  }

  /** A call has ended, and it has come to `cost` in full. */
  resized(instance: Instance, cost: number): void {
    this.#recount(instance, cost)
    instance.untouched = 0
    this.#toBeSeen(instance)
  }

  #recount(instance: Instance, cost: number): void {
    this.#bytes += cost - instance.cost
    instance.cost = cost
  }
}
