/**
 * The code that a worker's threads hold: which modules, on which threads, and which one goes first when memory is not enough.
 * Pure bookkeeping. It counts as the instances do, or a few giant modules would take the worker past its memory.
 */

/** What was destroyed must have cost, in bytes, before it is worth the time to return its memory to the system. */
export const returnBytesMin = 64 * 2 ** 20

interface Module {
  readonly threads: Set<number>
  /** Bytes on each thread. */
  bytes: number
  usedMs: number
}

export class LoadedCode {
  /** By code key (`call.ts`). */
  readonly #modules = new Map<string, Module>()
  /** Instances alive, of all functions that share the module; none is not in it. */
  readonly #instances = new Map<string, number>()
  /** Those of the modules that have no instance, in the order in which they were used or lost their last. */
  readonly #spare = new Map<string, Module>()
  #bytes = 0
  #copies = 0

  /** How often a module is loaded, on all threads together. */
  get copies(): number {
    return this.#copies
  }

  /** What all of it takes. */
  get bytes(): number {
    return this.#bytes
  }

  /** A thread has used a module, which it holds since then if not before; it takes `bytes` there. */
  used(key: string, thread: number, bytes: number, nowMs: number): void {
    let module = this.#modules.get(key)
    if (module === undefined) {
      module = { threads: new Set(), bytes: 0, usedMs: nowMs }
      this.#modules.set(key, module)
    }
    this.#bytes -= module.threads.size * module.bytes
    this.#copies -= module.threads.size
    module.threads.add(thread)
    module.bytes = bytes
    module.usedMs = nowMs
    this.#bytes += module.threads.size * module.bytes
    this.#copies += module.threads.size
    if (!this.#instances.has(key)) this.#spareNow(key, module)
  }

  /** An instance is about to be made of it. */
  made(key: string): void {
    this.#instances.set(key, (this.#instances.get(key) ?? 0) + 1)
    this.#spare.delete(key)
  }

  /** An instance of it is no more. */
  gone(key: string): void {
    const left = (this.#instances.get(key) ?? 0) - 1
    if (left > 0) {
      this.#instances.set(key, left)
      return
    }
    this.#instances.delete(key)
    const module = this.#modules.get(key)
    if (module !== undefined) this.#spareNow(key, module)
  }

  hasInstances(key: string): boolean {
    return this.#instances.has(key)
  }

  /** No thread holds it any more. Returns what it took. */
  unloaded(key: string): number {
    const module = this.#modules.get(key)
    if (module === undefined) return 0
    this.#modules.delete(key)
    this.#spare.delete(key)
    const bytes = module.threads.size * module.bytes
    this.#bytes -= bytes
    this.#copies -= module.threads.size
    return bytes
  }

  /** A thread holds nothing any more, because it is gone. */
  forgetThread(thread: number): void {
    for (const module of this.#modules.values()) {
      if (!module.threads.delete(thread)) continue
      this.#bytes -= module.bytes
      this.#copies -= 1
    }
  }

  /** The module without instances that was used least recently, or null. */
  oldest(): { readonly key: string; readonly usedMs: number } | null {
    const first = this.#spare.entries().next().value
    return first === undefined ? null : { key: first[0], usedMs: first[1].usedMs }
  }

  #spareNow(key: string, module: Module): void {
    this.#spare.delete(key)
    this.#spare.set(key, module)
  }
}
