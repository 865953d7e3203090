/**
 * Brings the functions in service from the interpreter to compiled code, in the background and one compilation at a time
 * (DESIGN section 5): first what is soon done, then what is fast. What fails at a level stays at the one below and is told.
 */

import type { ErrorCode } from '../../../errors.ts'
import { EdgefnError, errorMessage, toEdgefnError } from '../../../errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { Manifest } from '../../../protocol/manifest.ts'
import type { Log } from '../../../telemetry/log.ts'
import type { CompiledFile, CompiledModule, CompileLevel, StopMode } from '../../compiled.ts'
import { COMPILE_LEVELS } from '../../compiled.ts'
import { compileTarget, holderName } from '../../compiled-signature.ts'
import { pause } from '../pause.ts'
import type { CompileCommand } from './compile-process.ts'
import { runCompileProcess } from './compile-process.ts'
import type { CompiledStore } from './compiled-store.ts'

const SECONDS_MAX: Readonly<Record<CompileLevel, number>> = {
  O0: LIMITS.compileSecondsFirstMax,
  O2: LIMITS.compileSecondsFullMax,
}
const selfTestSecondsMax = 20
/** Milliseconds after which something is tried again that failed for a reason of the node's: at first, and at most. */
const retryMs = 30_000
const retryMsMax = 3600_000
const testAgainMs = 60_000
/**
 * Bytes that must be free on the disk for a failure to be the module's, and so many for each of its bytes: compiling keeps
 * the code three times for a moment, and it is 4 to 8 times as large as the module.
 */
const spaceBytesMin = 64 * 1024 * 1024
const spacePerModuleByte = 32

/** What a version may be refused with for a while, whatever its form. */
const PASSING: ReadonlySet<ErrorCode> = new Set(['function_quarantined', 'execution_timeout'])

interface CompilerDeps {
  readonly store: CompiledStore
  readonly command: CompileCommand
  /** What compiled code depends on about this machine's processor. */
  readonly processor: string
  readonly log: Log
  readonly closing: AbortSignal
  readonly memory: {
    /** Aborted while memory is short; another one after that. */
    readonly shortage: AbortSignal
    /** Resolves when it is not short. */
    enough(): Promise<void>
  }
  /** Path of the cached artifact; null when it is not there now. */
  artifactPath(manifest: Manifest): string | null
  /**
   * Loads the compiled form in every worker, says so, and sends calls to it: a table that is made from then on has the form
   * in it. Throws why it cannot be.
   */
  swap(manifest: Manifest, compiled: CompiledModule, loaded: () => void): Promise<void>
}

export interface CompileCounts {
  readonly compiled: Readonly<Record<CompileLevel, number>>
  readonly failed: Readonly<Record<CompileLevel, number>>
  /** Versions of functions that are served at each level; the others are interpreted. */
  readonly served: Readonly<Record<CompileLevel, number>>
  readonly functions: number
}

/** What the self-test has found out: how guests are stopped here, and the files that follow from it. */
interface Machine {
  readonly target: string
  readonly stopMode: StopMode
  readonly holder: CompiledFile
}

export class Compiler {
  readonly #deps: CompilerDeps
  /** What is to be compiled, by version. */
  #wanted = new Map<string, Manifest>()
  #order: readonly Manifest[] = []
  /** Where among them it is: what comes before has been looked at. Of 10 000, looking at all for each took longer than the rest. */
  #place = firstOf(0)
  /** The form in which each version is served, by `keyOf`. */
  readonly #forms = new Map<string, CompiledModule>()
  /** Levels that are not to be tried before a time (performance.now), and how long they waited for it, by version and level. */
  readonly #notBefore = new Map<string, { readonly at: number; readonly waitedMs: number }>()
  /** What is being brought to a level now, and how to give it up. */
  #current: { readonly key: string; readonly drop: AbortController } | null = null
  readonly #compiled = { O0: 0, O2: 0 }
  readonly #failed = { O0: 0, O2: 0 }
  #machine: Machine | null = null
  #running: Promise<void> | null = null
  #retry: ReturnType<typeof setTimeout> | null = null

  constructor(deps: CompilerDeps) {
    this.#deps = deps
  }

  get counts(): CompileCounts {
    const served = { O0: 0, O2: 0 }
    for (const manifest of this.#wanted.values()) {
      const form = this.formOf(manifest)
      if (form !== null) served[form.level] += 1
    }
    const functions = this.#wanted.size
    return { compiled: this.#compiled, failed: this.#failed, served, functions }
  }

  /** Level at which a version is served; null when it is interpreted. */
  formOf(manifest: Manifest): CompiledModule | null {
    return this.#forms.get(keyOf(manifest)) ?? null
  }

  /**
   * Tests this machine and begins. Resolves when it is known how functions are compiled here. Until a test passes they stay
   * interpreted; it is repeated, because a machine may just have been too busy for it.
   */
  async open(): Promise<void> {
    const { closing, log } = this.#deps
    while (this.#machine === null && !closing.aborted) {
      this.#machine = (await this.#test('polls')) ?? (await this.#test('interruptible'))
      if (this.#machine !== null) break
      log.error('Functions stay interpreted: how compiled ones are stopped could not be proven.', {
        error_type: 'internal',
        context: { retry_ms: testAgainMs },
      })
      await pause(testAgainMs, closing)
    }
    this.#work()
  }

  /** Says what is served; what is not any more is forgotten. */
  want(manifests: Iterable<Manifest>): void {
    this.#wanted = new Map([...manifests].map((manifest) => [keyOf(manifest), manifest]))
    this.#order = [...this.#wanted.values()]
    this.#place = firstOf(0)
    const keys = this.#wanted
    for (const key of this.#forms.keys()) if (!keys.has(key)) this.#forms.delete(key)
    for (const key of this.#notBefore.keys()) {
      if (!keys.has(key.slice(0, key.lastIndexOf('/')))) this.#notBefore.delete(key)
    }
    // Others wait for their turn, which may be minutes away.
    if (this.#current !== null && !keys.has(this.#current.key)) this.#current.drop.abort()
    this.#work()
  }

  /** Resolves when no compilation runs any more; the closing signal ends the one that does. */
  async close(): Promise<void> {
    if (this.#retry !== null) clearTimeout(this.#retry)
    await this.#running
  }

  /** Null when guests cannot be stopped in this way here. */
  async #test(stopMode: StopMode): Promise<Machine | null> {
    const { store, command, closing, log, processor } = this.#deps
    const output = store.temporaryPath()
    try {
      const cpu_seconds_max = selfTestSecondsMax
      const job = { kind: 'self_test', stop_mode: stopMode, output, cpu_seconds_max } as const
      // Small, and what it finds out is for good: it gives way to nothing.
      const { signal: shortage } = new AbortController()
      const { engine } = await runCompileProcess(command, job, { closing, shortage })
      const target = compileTarget(engine, processor, stopMode)
      const holder = store.take(holderName(target), output)
      log.info('Compiled functions can be stopped on this machine.', {
        context: { stop_mode: stopMode, target },
      })
      return { target, stopMode, holder }
    } catch (thrown) {
      if (closing.aborted) return null
      log.error('Compiled functions cannot be stopped in the way that was tested.', {
        error_type: 'internal',
        error_message: errorMessage(thrown),
        context: { stop_mode: stopMode },
      })
      return null
    } finally {
      store.dropTemporary(output)
    }
  }

  #work(): void {
    if (this.#machine === null || this.#running !== null) return
    this.#running = this.#workThrough(this.#machine).finally(() => {
      this.#running = null
      if (this.#deps.closing.aborted) return
      if (this.#next() !== null) return this.#work()
      const { memory } = this.#deps
      if (memory.shortage.aborted) void memory.enough().then(() => this.#work())
      if (this.#retry !== null) clearTimeout(this.#retry)
      this.#retry = this.#notBefore.size === 0 ? null : setTimeout(() => this.#work(), retryMs)
    })
  }

  async #workThrough(machine: Machine): Promise<void> {
    for (;;) {
      const next = this.#next()
      if (next === null || this.#deps.closing.aborted) return
      const [manifest, level] = next
      const drop = new AbortController()
      this.#current = { key: keyOf(manifest), drop }
      try {
        await this.#bring(machine, manifest, level, drop.signal)
        this.#notBefore.delete(`${keyOf(manifest)}/${level}`)
      } catch (thrown) {
        if (this.#deps.closing.aborted) return
        if (drop.signal.aborted) continue
        // Not the module's fault: the disk, a worker that was replaced, somebody who ended the compiler.
        this.#wait(`${keyOf(manifest)}/${level}`)
        this.#report(manifest, level, errorMessage(thrown))
      } finally {
        this.#current = null
      }
    }
  }

  /** Puts off a level that failed, longer each time: what fails for want of memory takes much of it each time. */
  #wait(key: string): void {
    const before = this.#notBefore.get(key)?.waitedMs ?? retryMs / 2
    const waitedMs = Math.min(2 * before, retryMsMax)
    this.#notBefore.set(key, { at: performance.now() + waitedMs, waitedMs })
  }

  /** What to do next: no function waits for its first compiled form while another gets its second. */
  #next(): [Manifest, CompileLevel] | null {
    if (this.#machine === null || this.#deps.memory.shortage.aborted) return null
    for (
      ;
      this.#place.level < COMPILE_LEVELS.length;
      this.#place = firstOf(this.#place.level + 1)
    ) {
      const level = COMPILE_LEVELS[this.#place.level]
      for (; this.#place.index < this.#order.length; this.#place.index += 1) {
        const manifest = this.#order[this.#place.index]
        if (level === undefined || manifest === undefined) continue
        if (this.#lacks(this.#machine, manifest, level)) return [manifest, level]
      }
    }
    // What was put off may be due by then.
    this.#place = firstOf(0)
    return null
  }

  #lacks({ target }: Machine, manifest: Manifest, level: CompileLevel): boolean {
    const reached = this.formOf(manifest)?.level
    if (reached !== undefined && COMPILE_LEVELS.indexOf(reached) >= COMPILE_LEVELS.indexOf(level)) {
      return false
    }
    const notBefore = this.#notBefore.get(`${keyOf(manifest)}/${level}`)?.at ?? 0
    if (notBefore > performance.now()) return false
    return this.#deps.store.refusal({ source: manifest.sha256, level, target }) === null
  }

  /** One version to one level, compiled unless an earlier run of the node has done so. */
  async #bring(
    machine: Machine,
    manifest: Manifest,
    wanted: CompileLevel,
    dropped: AbortSignal,
  ): Promise<void> {
    const { store, log } = this.#deps
    const { target } = machine
    // Found again for each module, so that it is never the file that was used longest ago.
    const holder = store.find(holderName(target)) ?? machine.holder
    // A file of a higher level, from before, makes the ones below unnecessary.
    const reached = COMPILE_LEVELS.findLast((level, index) => {
      if (index <= COMPILE_LEVELS.indexOf(wanted)) return level === wanted
      return store.find({ source: manifest.sha256, level, target }) !== null
    }) as CompileLevel
    const name = { source: manifest.sha256, level: reached, target }
    const startedAt = performance.now()
    let module: CompiledFile
    try {
      module = store.find(name) ?? (await this.#compile(machine, manifest, reached, dropped))
    } catch (thrown) {
      const given = this.#deps.closing.aborted || dropped.aborted
      if (!(thrown instanceof EdgefnError) || given) throw thrown
      store.refuse(name, thrown.message)
      return this.#report(manifest, reached, thrown.message)
    }
    const form: CompiledModule = { level: reached, target, module, holder }
    try {
      await this.#deps.swap(manifest, form, () => this.#forms.set(keyOf(manifest), form))
    } catch (thrown) {
      const { code, fault, message } = toEdgefnError(thrown)
      if (fault !== 'guest' || PASSING.has(code)) throw thrown
      store.refuse(name, message)
      return this.#report(manifest, reached, message)
    }
    log.info('A function runs compiled from now on.', {
      function_id: manifest.function_id,
      context: {
        name: manifest.name,
        version: manifest.version,
        level: reached,
        size_bytes: module.size_bytes,
        duration_ms: Math.round(performance.now() - startedAt),
      },
    })
  }

  async #compile(
    { target, stopMode }: Machine,
    manifest: Manifest,
    level: CompileLevel,
    dropped: AbortSignal,
  ): Promise<CompiledFile> {
    const { store, command, closing, memory, artifactPath } = this.#deps
    const source = artifactPath(manifest)
    if (source === null) throw new Error('The artifact is not in the cache now.')
    const output = store.temporaryPath()
    const job = {
      kind: 'module',
      source,
      sha256: manifest.sha256,
      level,
      stop_mode: stopMode,
      output,
      cpu_seconds_max: SECONDS_MAX[level],
    } as const
    try {
      await runCompileProcess(command, job, { closing, shortage: memory.shortage, dropped })
      this.#compiled[level] += 1
      return store.take({ source: manifest.sha256, level, target }, output)
    } catch (thrown) {
      // The compiler has many words for a full disk, and may crash of it.
      if (store.freeBytes() >= spaceBytesMin + spacePerModuleByte * manifest.size_bytes)
        throw thrown
      const cause = { cause: thrown }
      throw new Error(`The disk may be too full to compile: ${errorMessage(thrown)}`, cause)
    } finally {
      store.dropTemporary(output)
    }
  }

  #report(manifest: Manifest, level: CompileLevel, reason: string): void {
    this.#failed[level] += 1
    this.#deps.log.warn('A function could not be compiled; it runs on the level below.', {
      function_id: manifest.function_id,
      error_type: 'internal',
      error_message: reason,
      context: {
        name: manifest.name,
        version: manifest.version,
        level,
        runs: this.formOf(manifest)?.level ?? 'interpreted',
      },
    })
  }
}

interface Place {
  readonly level: number
  index: number
}

function firstOf(level: number): Place {
  return { level, index: 0 }
}

function keyOf({ function_id, version, sha256 }: Manifest): string {
  return `${function_id}/${version}/${sha256}`
}
