/** One call in progress: engine, context and slot together, and invoking an export within them. */

import { RESULT } from '../../../../ffi/handles.ts'
import type { FunctionHandle, InstanceHandle, MemoryHandle } from '../../../../ffi/handles.ts'
import type { StoppableExecutor } from '../../../../ffi/native.ts'
import { ValueArray } from '../../../../ffi/values.ts'
import { EdgefnError } from '../../../errors.ts'
import { DEPTH_EXPORT } from '../../../wasm/rewrite/depth.ts'
import type { CallContext } from '../host/context.ts'
import type { CallSlot } from '../lanes/control.ts'
import type { Engine } from './engine.ts'
import { failureOf, instantiationFailure, stackOverflow, timeout } from './guest-call.ts'

/** An instance with what every invocation of one of its functions needs. */
export interface Guest {
  readonly instance: InstanceHandle
  readonly memory: MemoryHandle
  /** Says how many stack cells are left (`wasm/rewrite/depth.ts`); null in a module that cannot recurse. */
  readonly depth: FunctionHandle | null
}

export class Invocation {
  readonly engine: Engine
  readonly context: CallContext
  readonly #slot: CallSlot
  readonly #executor: StoppableExecutor

  constructor(engine: Engine, context: CallContext, slot: CallSlot, executor: StoppableExecutor) {
    this.engine = engine
    this.context = context
    this.#slot = slot
    this.#executor = executor
  }

  /** Makes an instance of the module under `key`; its start function runs. Throws EdgefnError or GuestExit. */
  instantiate(key: string): Guest {
    this.#checkDeadline()
    let instance: InstanceHandle
    try {
      instance = this.engine.instantiate(key, this.#executor.executor)
    } catch (thrown) {
      if (!this.engine.hasAddressSpace(this.#executor.executor)) throw noMemory()
      throw instantiationFailure(thrown, this.context, this.engine.host.memory.bytes)
    }
    const memory = this.engine.native.findMemory(instance, 'memory')
    this.engine.host.memory.attach(memory)
    const { bytes } = this.engine.host.memory
    if (memory === null || (bytes === 0 && !this.engine.host.memory.isReserved(memory))) {
      this.engine.deleteInstance(instance)
      throw noMemory()
    }
    return { instance, memory, depth: this.engine.native.findFunction(instance, DEPTH_EXPORT) }
  }

  /** Invokes an export; results are in `results` afterwards. Throws EdgefnError or GuestExit. */
  invoke(guest: Guest, fn: FunctionHandle, parameters: ValueArray, results: ValueArray): void {
    this.#checkDeadline()
    const { native, host } = this.engine
    const code = native.invoke(this.#executor.executor, fn, parameters, results)
    host.memory.attach(guest.memory)
    if (code === RESULT.success) return
    if (code === RESULT.unreachable && this.#overflowed(guest)) throw stackOverflow()
    const failure = failureOf(code, native.message(code), this.context, host.memory.bytes)
    if (failure !== null) throw failure
  }

  /** Whether the unreachable that was reached is the one before which the depth counter is set to -1. */
  #overflowed({ depth }: Guest): boolean {
    if (depth === null) return false
    const { native, types } = this.engine
    const result = new ValueArray(types, ['i32'])
    const nothing = new ValueArray(types, [])
    const code = native.invoke(this.#executor.executor, depth, nothing, result)
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
