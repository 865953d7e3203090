/** One call in progress: engine, context and slot together, and invoking an export within them. */

import { RESULT } from '../../../../ffi/handles.ts'
import type { FunctionHandle, InstanceHandle, MemoryHandle } from '../../../../ffi/handles.ts'
import type { StoppableExecutor } from '../../../../ffi/native.ts'
import type { ValueArray } from '../../../../ffi/values.ts'
import { EdgefnError } from '../../../errors.ts'
import { DEPTH_EXPORT } from '../../../wasm/rewrite/depth.ts'
import { GROWTH_EXPORT } from '../../../wasm/rewrite/growth.ts'
import { MEMORY_EXPORT, START_EXPORT } from '../../../wasm/rewrite/safeguard.ts'
import { codeKey } from '../call.ts'
import type { CallContext } from '../host/context.ts'
import type { CallSlot } from '../lanes/control.ts'
import { CleanInstance } from './clean-instances.ts'
import type { CleanInstances } from './clean-instances.ts'
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
  /** Exported functions that were looked up. */
  readonly exports: Map<string, FunctionHandle | null>
}

export class Invocation {
  readonly engine: Engine
  readonly context: CallContext
  readonly #slot: CallSlot
  readonly #executor: StoppableExecutor
  readonly #cleanInstances: CleanInstances
  /** The instance in use, where it may be set back, and the one that was given back. */
  #lent: CleanInstance | null = null
  #returned: CleanInstance | null = null
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
    cleanInstances: CleanInstances,
    timed = false,
  ) {
    this.timed = timed
    this.engine = engine
    this.context = context
    this.#slot = slot
    this.#executor = executor
    this.#cleanInstances = cleanInstances
  }

  /** Makes an instance of the module under `key` and runs its start function. Throws EdgefnError or GuestExit. */
  instantiate(key: string): Guest {
    const guest = this.#create(key)
    this.#start(guest)
    return guest
  }

  /**
   * An instance of the context's function as a new one is, its start function run; to be given back when the guest has come to
   * its end, and else discarded. Throws EdgefnError or GuestExit.
   */
  cleanInstance(): Guest {
    this.#checkDeadline()
    const { fn } = this.context
    const kept = this.#returned ?? this.#cleanInstances.take(fn)
    this.#returned = null
    if (kept?.setBack(this.#executor) === true) this.#lent = kept
    else {
      if (kept !== null) this.discard(kept.guest.instance)
      const created = this.#create(codeKey(fn))
      this.#lent = this.#cleanInstances.adopt(fn, this.#executor, created)
      this.#start(created)
      return created
    }
    this.#start(kept.guest)
    return kept.guest
  }

  /** Keeps the instance for the next request, if it can be set back; else it goes. */
  giveBack(guest: Guest): void {
    const lent = this.#lent
    this.#lent = null
    if (lent?.guest === guest && lent.isWhole) this.#returned = lent
    else this.discard(guest.instance)
  }

  /** Notes the state that an instance is in; null where it cannot be set back to it. */
  noteState(guest: Guest): CleanInstance | null {
    return CleanInstance.of(this.engine, this.#executor, guest, null)
  }

  /** Sets an instance back; false when it has to go. */
  setBack(clean: CleanInstance): boolean {
    return clean.setBack(this.#executor)
  }

  #create(key: string): Guest {
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
      return this.#guestOf(key, instance)
    } catch (thrown) {
      this.discard(instance)
      throw thrown
    }
  }

  #start(guest: Guest): void {
    const { none } = this.engine.values
    const start = this.find(guest, START_EXPORT)
    if (start === null) return
    try {
      this.invoke(guest, start, none, none)
    } catch (thrown) {
      this.discard(guest.instance)
      throw thrown
    }
  }

  /** An exported function by name; null when there is none. Looked up once in an instance. */
  find({ instance, exports }: Guest, name: string): FunctionHandle | null {
    let found = exports.get(name)
    if (found === undefined) {
      found = this.engine.native.findFunction(instance, name)
      exports.set(name, found)
    }
    return found
  }

  /** Has an instance deleted when the call has ended; nobody may use it any more. */
  discard(instance: InstanceHandle): void {
    this.engine.host.memory.detach()
    this.#discarded ??= []
    this.#discarded.push(instance)
  }

  /** Deletes what was discarded, and keeps what was given back unless the call was stopped. Only after the slot's `end`. */
  cleanUp(stopped: boolean): void {
    const returned = this.#returned
    this.#returned = null
    if (returned !== null) {
      if (stopped) this.engine.deleteInstance(returned.guest.instance)
      else this.#cleanInstances.put(this.context.fn, returned)
    }
    if (this.#discarded === null) return
    for (const instance of this.#discarded) this.engine.deleteInstance(instance)
    this.#discarded = null
  }

  /** Invokes an export; results are in `results` afterwards. Throws EdgefnError or GuestExit. */
  invoke(guest: Guest, fn: FunctionHandle, parameters: ValueArray, results: ValueArray): void {
    const code = this.#enter(guest, fn, parameters, results)
    if (code !== RESULT.success) throw this.#failure(guest, code)
  }

  /** Runs a program, which may also end by exiting with 0. Throws EdgefnError or GuestExit. */
  run(guest: Guest, fn: FunctionHandle): void {
    const { none } = this.engine.values
    const code = this.#enter(guest, fn, none, none)
    if (code === RESULT.success) return
    // The usual way out, for which no error is made.
    const { end, exitCode } = this.context
    if (code === RESULT.terminated && end === 'exit' && exitCode === 0) return
    throw this.#failure(guest, code)
  }

  /** Returns the library's result code. Throws when the call is to end. */
  #enter(guest: Guest, fn: FunctionHandle, parameters: ValueArray, results: ValueArray): number {
    this.#slot.watch(guest.pollPage)
    this.#checkDeadline()
    const { native, host } = this.engine
    if (this.timed) this.enteredMs = host.libc.monotonicMs()
    const code = native.invoke(this.#executor.executor, fn, parameters, results)
    if (this.timed) this.leftMs = host.libc.monotonicMs()
    host.memory.attach(guest.memory)
    // A poll that was told to stop faults like any access out of bounds.
    if (code !== RESULT.success) this.#checkDeadline()
    return code
  }

  #failure(guest: Guest, code: number): Error {
    if (code === RESULT.unreachable && this.#saysMinusOne(guest.depth)) return stackOverflow()
    const message = this.engine.native.message(code)
    return failureOf(code, message, this.context, () => this.#saysMinusOne(guest.growth))
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
    const pollPage = this.engine.mapPollPage(key, memory)
    return { instance, memory, depth, growth, pollPage, exports: new Map() }
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
