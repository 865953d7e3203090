/**
 * What threads have made of modules (`SharedForm`), kept so that the next thread, or the same one after it gave the module up,
 * loads it in tens of microseconds. What is known of a module that is loaded somewhere stays; code goes, least recently given to
 * a thread first, when it is more than `bytesMax` together.
 */

import type { SharedForm } from '../runtime/module-source.ts'

/** Bytes that an entry counts for besides its code. */
const entryBytes = 1024
/** The part of all bytes that one code may have. */
const shareMax = 1 / 4

export class FormCache {
  readonly #bytesMax: number
  /** Forms with their code by code key (`call.ts`), least recently used first. */
  readonly #forms = new Map<string, SharedForm>()
  /** Forms without, of modules that some thread holds. */
  readonly #bare = new Map<string, SharedForm>()
  /** Those of `#forms` whose module no thread holds. */
  readonly #unloaded = new Set<string>()
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  /** What is known of a module that a thread has loaded; without its code perhaps. */
  get(key: string): SharedForm | null {
    return this.#forms.get(key) ?? this.#bare.get(key) ?? null
  }

  /** The same for a thread that is to load it. */
  use(key: string): SharedForm | null {
    const form = this.#forms.get(key)
    if (form === undefined) return this.#bare.get(key) ?? null
    this.#unloaded.delete(key)
    this.#forms.delete(key)
    this.#forms.set(key, form)
    return form
  }

  put(key: string, form: SharedForm): void {
    this.#remove(key)
    const bytes = codeBytes(form)
    if (bytes > this.#bytesMax * shareMax) return this.#strip(key, form)
    this.#bare.delete(key)
    this.#forms.set(key, form)
    this.#bytes += bytes
    this.#shrink(this.#bytesMax)
  }

  /** No thread holds the module any more. */
  unloaded(key: string): void {
    this.#bare.delete(key)
    if (this.#forms.has(key)) this.#unloaded.add(key)
  }

  /** Lets go of all code: memory is short. */
  drop(): void {
    this.#shrink(0)
  }

  #shrink(bytesMax: number): void {
    for (const [key, form] of this.#forms) {
      if (this.#bytes <= bytesMax) return
      const isLoaded = !this.#unloaded.has(key)
      this.#remove(key)
      if (isLoaded) this.#strip(key, form)
    }
  }

  #strip(key: string, form: SharedForm): void {
    this.#bare.set(key, { ...form, code: null })
  }

  #remove(key: string): void {
    const form = this.#forms.get(key)
    if (form === undefined) return
    this.#forms.delete(key)
    this.#unloaded.delete(key)
    this.#bytes -= codeBytes(form)
  }
}

function codeBytes({ code }: SharedForm): number {
  return (code?.byteLength ?? 0) + entryBytes
}
