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
  /** By pool key, least recently used first. */
  readonly #modules = new Map<string, Module>()
  #bytes = 0

  /** What all of it takes. */
  get bytes(): number {
    return this.#bytes
  }

  /** A thread has used a module, which it holds since then if not before; it takes `bytes` there. */
  used(key: string, thread: number, bytes: number, nowMs: number): void {
    const module = this.#modules.get(key) ?? { threads: new Set(), bytes: 0, usedMs: nowMs }
    this.#modules.delete(key)
    this.#modules.set(key, module)
    this.#bytes -= module.threads.size * module.bytes
    module.threads.add(thread)
    module.bytes = bytes
    module.usedMs = nowMs
    this.#bytes += module.threads.size * module.bytes
  }

  /** No thread holds it any more. Returns what it took. */
  unloaded(key: string): number {
    const module = this.#modules.get(key)
    if (module === undefined) return 0
    this.#modules.delete(key)
    const bytes = module.threads.size * module.bytes
    this.#bytes -= bytes
    return bytes
  }

  /** A thread holds nothing any more, because it is gone. */
  forgetThread(thread: number): void {
    for (const module of this.#modules.values()) {
      if (module.threads.delete(thread)) this.#bytes -= module.bytes
    }
  }

  /** The module that was used least recently among those that `mayGo`, or null. */
  oldest(
    mayGo: (key: string) => boolean,
  ): { readonly key: string; readonly usedMs: number } | null {
    for (const [key, { usedMs }] of this.#modules) if (mayGo(key)) return { key, usedMs }
    return null
  }
}
