/** One call in progress: engine, context and slot together, and invoking an export within them. */

import { RESULT } from '../../../../ffi/handles.ts'
import type { FunctionHandle, InstanceHandle, MemoryHandle } from '../../../../ffi/handles.ts'
import type { StoppableExecutor } from '../../../../ffi/native.ts'
import type { ValueArray } from '../../../../ffi/values.ts'
import { EdgefnError } from '../../../errors.ts'
import { DEPTH_EXPORT } from '../../../wasm/rewrite/depth.ts'
import { GROWTH_EXPORT } from '../../../wasm/rewrite/growth.ts'
import { MEMORY_EXPORT, START_EXPORT } from '../../../wasm/rewrite/safeguard.ts'
import type { CallContext } from '../host/context.ts'
import type { CallSlot } from '../lanes/control.ts'
import type { Engine } from './engine.ts'
import { failureOf, instantiationFailure, stackOverflow, timeout } from './guest-call.ts'

/** An instance with what every invocation of one of its functions needs. */
export interface Guest {
  readonly instance: InstanceHandle
  readonly memory: MemoryHandle
  /** Says how much stack is left (`wasm/rewrite/depth.ts`); null in a module whose calls are not counted. */
  readonly depth: FunctionHandle | null
  /** Says what the last `memory.grow` answered (`wasm/rewrite/growth.ts`); null in a module that has none. */
  readonly growth: FunctionHandle | null
  /** Address of the page that its code polls; 0 when it is interpreted. */
  readonly pollPage: number
}

export class Invocation {
  readonly engine: Engine
  readonly context: CallContext
  readonly #slot: CallSlot
  readonly #executor: StoppableExecutor
  /** Instances to be deleted when the call has ended: until then the watchdog may reach for their pages. */
  #discarded: InstanceHandle[] | null = null
  /** Whether it is noted when the guest is entered and left, in monotonic milliseconds; of several times the last. */
  readonly timed: boolean
  enteredMs = 0
  leftMs = 0

  constructor(
    engine: Engine,
    context: CallContext,
    slot: CallSlot,
    executor: StoppableExecutor,
    timed = false,
  ) {
    this.timed = timed
    this.engine = engine
    this.context = context
    this.#slot = slot
    this.#executor = executor
  }

  /** Makes an instance of the module under `key` and runs its start function. Throws EdgefnError or GuestExit. */
  instantiate(key: string): Guest {
    this.#checkDeadline()
    const { engine } = this
    let instance: InstanceHandle
    try {
      instance = engine.instantiate(key, this.#executor.executor)
    } catch (thrown) {
      if (!engine.hasAddressSpace(this.#executor.executor)) throw noMemory()
      throw instantiationFailure(thrown, this.context)
    }
    try {
      const guest = this.#guestOf(key, instance)
      const start = engine.native.findFunction(instance, START_EXPORT)
      const { none } = engine.values
      if (start !== null) this.invoke(guest, start, none, none)
      return guest
    } catch (thrown) {
      this.discard(instance)
      throw thrown
    }
  }

  /** Has an instance deleted when the call has ended; nobody may use it any more. */
  discard(instance: InstanceHandle): void {
    this.engine.host.memory.detach()
    this.#discarded ??= []
    this.#discarded.push(instance)
  }

  /** Deletes what was discarded. Only after the slot's `end`. */
  cleanUp(): void {
    if (this.#discarded === null) return
    for (const instance of this.#discarded) this.engine.deleteInstance(instance)
    this.#discarded = null
  }

  /** Invokes an export; results are in `results` afterwards. Throws EdgefnError or GuestExit. */
  invoke(guest: Guest, fn: FunctionHandle, parameters: ValueArray, results: ValueArray): void {
    this.#slot.watch(guest.pollPage)
    this.#checkDeadline()
    const { native, host } = this.engine
    if (this.timed) this.enteredMs = host.libc.monotonicMs()
    const code = native.invoke(this.#executor.executor, fn, parameters, results)
    if (this.timed) this.leftMs = host.libc.monotonicMs()
    host.memory.attach(guest.memory)
    if (code === RESULT.success) return
    // A poll that was told to stop faults like any access out of bounds.
    this.#checkDeadline()
    if (code === RESULT.unreachable && this.#saysMinusOne(guest.depth)) throw stackOverflow()
    const failure = failureOf(code, native.message(code), this.context, () =>
      this.#saysMinusOne(guest.growth),
    )
    if (failure !== null) throw failure
  }

  #guestOf(key: string, instance: InstanceHandle): Guest {
    const { native, host } = this.engine
    const memory =
      native.findMemory(instance, 'memory') ?? native.findMemory(instance, MEMORY_EXPORT)
    host.memory.attach(memory)
    if (memory === null || (host.memory.bytes === 0 && !host.memory.isReserved(memory))) {
      throw noMemory()
    }
    const depth = native.findFunction(instance, DEPTH_EXPORT)
    const growth = native.findFunction(instance, GROWTH_EXPORT)
    return { instance, memory, depth, growth, pollPage: this.engine.mapPollPage(key, memory) }
  }

  /**
   * Asks one of the functions that rewriting adds. The depth counter is -1 where the unreachable that was reached is the one
   * behind it; the last growth is -1 where there was no more memory.
   */
  #saysMinusOne(fn: FunctionHandle | null): boolean {
    if (fn === null) return false
    const { native, values } = this.engine
    const { none, result } = values
    const code = native.invoke(this.#executor.executor, fn, none, result)
    return code === RESULT.success && result.getI32(0) === -1
  }

  /** An order to stop that fell between two invocations would be forgotten by the engine. */
  #checkDeadline(): void {
    if (this.#slot.claimed) throw timeout(this.context)
  }
}

/** The process is full; what the module is has nothing to do with it. */
function noMemory(): EdgefnError {
  return new EdgefnError('function_load_failed', 'The instance has no linear memory.')
}
