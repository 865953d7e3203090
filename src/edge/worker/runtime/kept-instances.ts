/**
 * The instances that a thread keeps from request to request, by their id in the pool. Those of functions with `isolation:
 * request` are set back after each one; where that cannot be they serve one request.
 */

import type { WorkerFunction } from '../../ipc.ts'
import type { GuestRequest, GuestResponse } from '../call.ts'
import type { KeptAbi, KeptInstance } from './abi-table.ts'
import type { CleanInstance } from './clean-instances.ts'
import type { Invocation } from './invocation.ts'
import { WornInstance } from './guest-call.ts'
import { WARM_UP } from './warm-up.ts'

interface Held {
  readonly instance: KeptInstance
  /** The way back, where the function wants it and there is one. */
  readonly clean: CleanInstance | null
  /** Whether what is left of a request is in it. */
  spent: boolean
}

export class KeptInstances {
  readonly #held = new Map<number, Held>()

  has(id: number): boolean {
    return this.#held.has(id)
  }

  /** Whether it may serve another request. */
  isClean(id: number): boolean {
    return this.#held.get(id)?.spent === false
  }

  /** Bytes that an instance takes now, apart from code; 0 for one that does not exist. */
  bytes(id: number): number {
    const held = this.#held.get(id)
    return held === undefined ? 0 : held.instance.memoryBytes + (held.clean?.image.bytes ?? 0)
  }

  /** Has a warm instance. Throws EdgefnError. */
  warm(abi: KeptAbi, invocation: Invocation, fn: WorkerFunction, id: number): void {
    this.#obtain(abi, invocation, fn, id).instance.warm(invocation)
  }

  /** Runs a request in an instance, which is made when it does not exist. Throws EdgefnError. */
  handle(
    abi: KeptAbi,
    invocation: Invocation,
    fn: WorkerFunction,
    id: number,
    request: GuestRequest,
  ): GuestResponse {
    const held = this.#obtain(abi, invocation, fn, id)
    if (fn.isolation === 'instance') return this.#handle(held, abi, invocation, fn, id, request)
    // Also of one that fails nothing may be left.
    held.spent = true
    const response = held.instance.handle(invocation, request)
    if (held.clean !== null && invocation.setBack(held.clean)) {
      held.instance.rewind()
      held.spent = false
    }
    return response
  }

  /** Has a new instance take the place of one that is worn. */
  #handle(
    { instance }: Held,
    abi: KeptAbi,
    invocation: Invocation,
    fn: WorkerFunction,
    id: number,
    request: GuestRequest,
  ): GuestResponse {
    try {
      return instance.handle(invocation, request)
    } catch (thrown) {
      if (!(thrown instanceof WornInstance)) throw thrown
      this.#held.delete(id)
      invocation.discard(instance.guest.instance)
      return this.#obtain(abi, invocation, fn, id).instance.handle(invocation, request)
    }
  }

  delete(id: number): void {
    this.#held.get(id)?.instance.delete()
    this.#held.delete(id)
  }

  clear(): void {
    for (const id of [...this.#held.keys()]) this.delete(id)
  }

  #obtain(abi: KeptAbi, invocation: Invocation, fn: WorkerFunction, id: number): Held {
    const known = this.#held.get(id)
    if (known !== undefined) return known
    if (fn.isolation === 'instance') {
      const held = { instance: abi.create(invocation, fn), clean: null, spent: false }
      this.#held.set(id, held)
      return held
    }
    const { context } = invocation
    const { request } = context
    // What its start can see of a request all later ones would find in it.
    context.request = WARM_UP
    const instance = abi.create(invocation, fn)
    try {
      instance.warm(invocation)
    } catch (thrown) {
      invocation.discard(instance.guest.instance)
      throw thrown
    }
    context.beginAgain(request)
    const held = { instance, clean: invocation.noteState(instance.guest), spent: false }
    this.#held.set(id, held)
    return held
  }
}
