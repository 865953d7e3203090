/** One call in progress: engine, context and slot together, and invoking an export within them. */

import type { FunctionHandle, InstanceHandle, MemoryHandle } from '../../../../ffi/handles.ts'
import type { StoppableExecutor } from '../../../../ffi/native.ts'
import type { ValueArray } from '../../../../ffi/values.ts'
import { EdgefnError } from '../../../errors.ts'
import type { CallContext } from '../host/context.ts'
import type { CallSlot } from '../lanes/control.ts'
import type { Engine } from './engine.ts'
import { failureOf, instantiationFailure, timeout } from './guest-call.ts'

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
  instantiate(key: string): { instance: InstanceHandle; memory: MemoryHandle } {
    this.#checkDeadline()
    let instance: InstanceHandle
    try {
      instance = this.engine.instantiate(key, this.#executor.executor)
    } catch (thrown) {
      throw instantiationFailure(thrown, this.context, this.engine.host.memory.bytes)
    }
    const memory = this.engine.native.findMemory(instance, 'memory')
    this.engine.host.memory.attach(memory)
    if (memory === null || this.engine.host.memory.bytes === 0) {
      // The engine "succeeds" with no memory when the address space is used up (RELIABILITY finding 6).
      this.engine.deleteInstance(instance)
      throw new EdgefnError('function_load_failed', 'The instance has no linear memory.')
    }
    return { instance, memory }
  }

  /** Invokes an export; results are in `results` afterwards. Throws EdgefnError or GuestExit. */
  invoke(
    fn: FunctionHandle,
    memory: MemoryHandle,
    parameters: ValueArray,
    results: ValueArray,
  ): void {
    this.#checkDeadline()
    const { native, host } = this.engine
    const code = native.invoke(this.#executor.executor, fn, parameters, results)
    host.memory.attach(memory)
    if (code === 0) return
    const failure = failureOf(code, native.message(code), this.context, host.memory.bytes)
    if (failure !== null) throw failure
  }

  /** An order to stop that fell between two invocations would be forgotten by the engine. */
  #checkDeadline(): void {
    if (this.#slot.claimed) throw timeout(this.context)
  }
}
