/**
 * Instances that are set back to what they were when they were made, instead of being made anew for each request (DESIGN section 5):
 * at most one of each module waits for its next request on a thread. Only modules have them that can do nothing
 * that setting back does not undo, which the rewriting has found out (`wasm/rewrite/clean-state.ts`).
 */

import type { FunctionHandle } from '../../../../ffi/handles.ts'
import type { StoppableExecutor } from '../../../../ffi/native.ts'
import { RESULT } from '../../../../ffi/handles.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import { KEEP_EXPORT, RESTORE_EXPORT } from '../../../wasm/rewrite/clean-state.ts'
import type { WorkerFunction } from '../../ipc.ts'
import { codeKey, poolKey } from '../call.ts'
import type { Engine } from './engine.ts'
import type { Guest } from './invocation.ts'
import { MemoryImage } from './memory-image.ts'

/**
 * Instances that wait on an executor thread and on the HTTP thread, which has the functions that are called most. With as many
 * threads as there may be, they fit beside `processInstancesMax` into the address space of a process.
 */
export const threadCleanInstancesMax = 2
export const inlineCleanInstancesMax = 64
/** Modules whose images a thread keeps. */
const imagesMax = 64
/** A module is looked through only when it is asked for again: the first request of all is not to wait for that. */
const instancesBefore = 1

/** An instance with the way back to what it was. */
export class CleanInstance {
  readonly guest: Guest
  readonly image: MemoryImage
  readonly #engine: Engine
  readonly #restore: FunctionHandle

  constructor(engine: Engine, guest: Guest, image: MemoryImage, restore: FunctionHandle) {
    this.#engine = engine
    this.guest = guest
    this.image = image
    this.#restore = restore
  }

  /**
   * Notes the state that an instance is in. Null where it could not be set back to it: its module changes more than memory and
   * globals, or it is too large.
   */
  static of(
    engine: Engine,
    { executor }: StoppableExecutor,
    guest: Guest,
    known: MemoryImage | null,
  ): CleanInstance | null {
    const { native, host, values } = engine
    const keep = native.findFunction(guest.instance, KEEP_EXPORT)
    const restore = native.findFunction(guest.instance, RESTORE_EXPORT)
    if (keep === null || restore === null) return null
    host.memory.attach(guest.memory)
    const image = known?.memoryBytes === host.memory.bytes ? known : MemoryImage.of(host.memory)
    if (image === null) return null
    const code = native.invoke(executor, keep, values.none, values.none)
    return code === RESULT.success ? new CleanInstance(engine, guest, image, restore) : null
  }

  /** What it costs besides the code: its memory and the image. */
  get bytes(): number {
    return LIMITS.instanceBytesFixed + this.image.memoryBytes + this.image.bytes
  }

  /** Whether its memory has the size that it began with, for it can never shrink; one that is larger is not to wait. */
  get isWhole(): boolean {
    const { memory } = this.#engine.host
    memory.attach(this.guest.memory)
    return memory.bytes === this.image.memoryBytes
  }

  /** Sets it back; nothing of what ran in it is left. False when it has to go instead. */
  setBack({ executor }: StoppableExecutor): boolean {
    const { native, host, values } = this.#engine
    host.memory.attach(this.guest.memory)
    if (!this.image.restore(host.memory)) return false
    return native.invoke(executor, this.#restore, values.none, values.none) === RESULT.success
  }
}

interface Idle {
  readonly clean: CleanInstance
  /** The pool that it has worked for. Functions share code, and never an instance. */
  readonly owner: string
}

/** What is known of a module: how many instances were made of it, and its image. */
interface Known {
  made: number
  image: MemoryImage | null
  /** Whether its instances cannot be set back. */
  never: boolean
}

export class CleanInstances {
  readonly #engine: Engine
  readonly #idleMax: number
  /** By code key, the last used one last. */
  readonly #idle = new Map<string, Idle>()
  readonly #known = new Map<string, Known>()

  constructor(engine: Engine, idleMax: number) {
    this.#engine = engine
    this.#idleMax = idleMax
  }

  /** The function's instance, not set back yet; nobody else has it then. Null when there is none. */
  take(fn: WorkerFunction): CleanInstance | null {
    const key = codeKey(fn)
    const idle = this.#idle.get(key)
    if (idle === undefined) return null
    this.#idle.delete(key)
    if (idle.owner === poolKey(fn)) return idle.clean
    this.#delete(idle.clean)
    return null
  }

  /** Notes the state of a new instance, before anything of its function has run. Null where it is for one request only. */
  adopt(fn: WorkerFunction, executor: StoppableExecutor, guest: Guest): CleanInstance | null {
    const known = this.#knownOf(codeKey(fn))
    known.made += 1
    if (known.never || known.made <= instancesBefore) return null
    const clean = CleanInstance.of(this.#engine, executor, guest, known.image)
    known.never = clean === null
    known.image = clean?.image ?? null
    return clean
  }

  /** Keeps an instance for the function's next request; only when no watchdog can reach for it any more. */
  put(fn: WorkerFunction, clean: CleanInstance): void {
    const key = codeKey(fn)
    this.#drop(key)
    this.#idle.set(key, { clean, owner: poolKey(fn) })
    if (this.#idle.size <= this.#idleMax) return
    const [oldest] = this.#idle.keys()
    if (oldest !== undefined) this.#drop(oldest)
  }

  /** What the instance of a module that waits here costs, in bytes. */
  bytes(key: string): number {
    return this.#idle.get(key)?.clean.bytes ?? 0
  }

  /** Lets go of all that is of a module, before it is unloaded. */
  forget(key: string): void {
    this.#drop(key)
    this.#known.delete(key)
  }

  /** Lets go of all instances. */
  clear(): void {
    for (const key of [...this.#idle.keys()]) this.#drop(key)
  }

  #knownOf(key: string): Known {
    let known = this.#known.get(key)
    if (known !== undefined) return known
    known = { made: 0, image: null, never: false }
    this.#known.set(key, known)
    const [oldest] = this.#known.keys()
    if (this.#known.size > imagesMax && oldest !== undefined) this.#known.delete(oldest)
    return known
  }

  #drop(key: string): void {
    const idle = this.#idle.get(key)
    if (idle === undefined) return
    this.#idle.delete(key)
    this.#delete(idle.clean)
  }

  #delete({ guest }: CleanInstance): void {
    this.#engine.deleteInstance(guest.instance)
  }
}
