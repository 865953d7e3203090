/** The executor threads of a worker and their watchdog: started as needed, within bounds (DESIGN section 1). */

import type { Worker } from 'node:worker_threads'

import { errorMessage } from '../../../errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { RunningSeat } from '../../running.ts'
import { RunningFile } from '../../running.ts'
import type { StatsFile } from '../../stats.ts'
import type { HostOptions } from '../host/host.ts'
import type { SharedForm } from '../runtime/module-source.ts'
import { FormCache } from './form-cache.ts'
import { controlBytes, ControlHeader } from './control.ts'
import { ExecutorThread, type StuckGuest } from './executor-thread.ts'
import { FetchThread } from './fetch-thread.ts'
import { InlineLane } from './inline-lane.ts'
import { restBytes, RestBoard } from './rest.ts'
import { startThread, threadEnd } from './thread.ts'

export interface ThreadSetOptions {
  /** Path of `main.ts`, which threads re-enter; `Bun.main` in the program itself. */
  readonly entry: string
  readonly max: number
  readonly stats: StatsFile
  /** Public key of what the node compiles (SPKI, DER, base64). */
  readonly compile_key: string
  /** Milliseconds of the clock of the calls' deadlines. */
  readonly nowMs: () => number
  readonly host: HostOptions
  /** Ranges of addresses that `http_fetch` may reach besides public ones. */
  readonly fetch_allow_private: readonly string[]
  readonly running: RunningSeat
  /** A thread is gone or cannot be stopped: the process must be replaced, for its core may be burning. */
  readonly onDefect: (reason: string, stuck: StuckGuest | null) => void
}

/** There may be so many times `max` threads, for functions that run nowhere while others hold `max` of them. */
const reserveFactor = 4

/** Threads that wait in a host function of their guest (`rest.ts`): in all, and by pool key. */
export interface Asleep {
  readonly all: number
  readonly by: ReadonlyMap<string, number>
}

export const NONE_ASLEEP: Asleep = { all: 0, by: new Map() }

export class ThreadSet {
  readonly max: number
  readonly inline: InlineLane
  readonly #total: number
  readonly #options: ThreadSetOptions
  readonly #control: SharedArrayBuffer
  readonly #restMemory: SharedArrayBuffer
  readonly #rest: RestBoard
  readonly #running: RunningFile
  readonly #threads: ExecutorThread[] = []
  readonly #forms = new FormCache(LIMITS.formBytesMax)
  /** Which modules each thread has parsed. */
  readonly #loaded: Set<string>[] = []
  readonly #fetches: FetchThread
  /** How many threads there shall be, when they are started ahead of their calls. */
  #wanted = 0
  #closed = false
  #watchdog: Worker | null = null
  #tellLost: (thread: number) => void = () => {}
  #tellAsleep: () => void = () => {}

  constructor(options: ThreadSetOptions) {
    this.max = options.max
    this.#total = Math.min(options.max * reserveFactor, LIMITS.executorThreadsMax)
    this.#options = options
    this.#running = new RunningFile(options.running.path, options.running.seats)
    this.#running.occupy(options.running.seat, process.pid)
    const slots = this.#total + LIMITS.sleepingThreadsMax
    this.#control = new SharedArrayBuffer(controlBytes(slots + 1))
    this.inline = new InlineLane({
      control: this.#control,
      index: slots,
      running: options.running,
      host: options.host,
      compile_key: options.compile_key,
    })
    this.#restMemory = new SharedArrayBuffer(restBytes(slots))
    this.#rest = new RestBoard(this.#restMemory, {
      awakeMax: options.max,
      ownerAwakeMax: this.ownMax,
      totalAwakeMax: this.#total,
    })
    this.#fetches = new FetchThread({
      entry: options.entry,
      allow_private: options.fetch_allow_private,
      stats: options.stats,
      onDefect: (reason) => options.onDefect(reason, null),
    })
  }

  /** Starts the first thread and the watchdog. Resolves to the engine's version; rejects with `engine_missing`. */
  async open(): Promise<string> {
    const version = await this.#add().ready
    this.#watchdog = startThread(this.#options.entry, {
      edgefn_thread: 'watchdog',
      control: this.#control,
      threads: this.#total + LIMITS.sleepingThreadsMax,
      running: this.#options.running,
    })
    this.#watchdog.on('error', (thrown) =>
      this.#options.onDefect(`The watchdog failed: ${errorMessage(thrown)}.`, null),
    )
    return version
  }

  onLost(listener: (thread: number) => void): void {
    this.#tellLost = listener
  }

  /** `listener` is called when a thread falls asleep after `tellWhenAsleep`. */
  onAsleep(listener: () => void): void {
    this.#tellAsleep = listener
  }

  /** Has the next thread that falls asleep say so, or none. */
  tellWhenAsleep(wanted: boolean): void {
    this.#rest.want(wanted)
  }

  /** Changes whenever a thread has fallen asleep. */
  get naps(): number {
    return this.#rest.naps
  }

  /** Threads of one function that may be awake at once: never all of them. */
  get ownMax(): number {
    return Math.max(this.max - 1, 1)
  }

  /** How many threads sleep in a call, by what they run; as far as they do not count as busy. */
  asleep(): Asleep {
    const by = new Map<string, number>()
    let all = 0
    if (this.#rest.naps > 0) {
      for (const { index, runs } of this.#threads) {
        if (runs === null || !this.#rest.isAsleep(index)) continue
        const own = by.get(runs) ?? 0
        if (all === LIMITS.sleepingThreadsMax || own === LIMITS.sleepingThreadsPerFunctionMax)
          continue
        all += 1
        by.set(runs, own + 1)
      }
    }
    return { all, by }
  }

  get(index: number): ExecutorThread | undefined {
    return this.#threads[index]
  }

  isFree(index: number): boolean {
    return this.#threads[index]?.busy === false
  }

  anyFree({ all }: Asleep): boolean {
    return this.#mayAdd(all) || this.#threads.some((thread) => !thread.busy)
  }

  /**
   * Whether a function that runs on `running` threads may have one more: with `max` threads busy, only one that runs on
   * none. So functions that run long hold up themselves, and not those that nobody has called for a while. Those that sleep
   * count neither here nor there.
   */
  hasRoom(running: number, asleep: Asleep): boolean {
    if (running === 0) return true
    const busy = this.#threads.reduce((sum, each) => sum + Number(each.busy), 0)
    return busy - asleep.all < this.max
  }

  /**
   * A free thread, best one that has the module already; a new one when all are busy and there may be more; or null. No
   * other than those that have the module once `holdersMax` threads do.
   */
  free(key: string, holdersMax: number, asleep: Asleep): ExecutorThread | null {
    let found: ExecutorThread | null = null
    let holders = 0
    for (const thread of this.#threads) {
      const holds = this.hasLoaded(thread.index, key)
      if (holds) holders += 1
      if (thread.busy) continue
      if (holds) return thread
      found ??= thread
    }
    if (holders >= holdersMax) return null
    if (found !== null) return found
    return this.#mayAdd(asleep.all) ? this.#add() : null
  }

  /** Whether a thread has a module, or is about to. */
  hasLoaded(index: number, key: string): boolean {
    return this.#loaded[index]?.has(key) === true
  }

  /**
   * Notes that a thread, which is about to be busy, is given a module. When it was the last free one of at least `max`, one more is
   * started: who comes next may be the first call of a quiet function, and starting takes long while all cores are burning.
   */
  load(index: number, key: string): void {
    this.#loaded[index]?.add(key)
    const isFull = this.#threads.length >= this.max && this.#mayAdd(0)
    const others = isFull && this.#threads.some((each) => each.index !== index && !each.busy)
    if (isFull && !others) this.#add()
  }

  /** Notes that a thread could not load what it was given, and so does not hold it. */
  notLoaded(index: number, key: string): void {
    this.#loaded[index]?.delete(key)
  }

  /** Has every thread that holds the module drop it. */
  unload(key: string): void {
    this.#forms.unloaded(key)
    this.inline.unload(key)
    for (const thread of this.#threads) {
      if (this.#loaded[thread.index]?.delete(key) === true) thread.unload(key)
    }
  }

  /** A function in the form of a pool is not run any more; `functionId` when the function is not run at all. */
  forget(key: string, functionId: string | null): void {
    if (functionId !== null) this.inline.forget(functionId)
    for (const thread of this.#threads) thread.forget(key, functionId)
  }

  /** What is known of a module that a thread has loaded. */
  form(key: string): SharedForm | null {
    return this.#forms.get(key)
  }

  destroy(thread: number, instance: number): void {
    if (thread === this.inline.index) this.inline.destroy(instance)
    else this.#threads[thread]?.destroy(instance)
  }

  /** Keeps no code for threads that may load it: memory is short. */
  dropForms(): void {
    this.#forms.drop()
  }

  /** Has a thread that is free give the process's freed memory back to the system; false when all are busy. */
  returnMemory(): boolean {
    const thread = this.#threads.findLast(({ busy }) => !busy)
    thread?.returnMemory()
    return thread !== undefined
  }

  /** Starts threads, one after the other, until there are `count`: so many were asked for by calls that came together. */
  growTo(count: number): void {
    const growing = this.#threads.length < this.#wanted
    this.#wanted = Math.max(this.#wanted, Math.min(count, this.#total + LIMITS.sleepingThreadsMax))
    if (!growing) this.#grow()
  }

  #grow(): void {
    if (this.#closed || this.#threads.length >= this.#wanted) return
    const grow = () => this.#grow()
    // One that cannot start is lost, and the worker with it.
    this.#add().ready.then(grow, () => {})
  }

  /**
   * Ends threads beyond `max` that have run nothing for `idleMs`, the last started first: a burst of sleeping guests leaves a
   * hundred behind.
   */
  reap(idleMs: number): void {
    this.#wanted = 0
    for (;;) {
      const last = this.#threads.at(-1)
      if (last === undefined || this.#threads.length <= this.max) break
      if (last.busy || last.idleMs < idleMs) break
      this.#threads.pop()
      const keys = this.#loaded.pop() ?? []
      for (const key of keys) if (!this.anyHas(key)) this.#forms.unloaded(key)
      this.#tellLost(last.index)
      void last.end()
    }
    this.#countThreads()
  }

  #countThreads(): void {
    this.#rest.started(this.#threads.length)
    this.#options.stats.setWorker('executor_threads', this.#threads.length)
  }

  /** Whether any thread has a module, or is about to. */
  anyHas(key: string): boolean {
    return this.#loaded.some((keys) => keys.has(key))
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all(this.#threads.map((thread) => thread.close()))
    await this.#fetches.close()
    if (this.#watchdog === null) return
    new ControlHeader(this.#control).close()
    await threadEnd(this.#watchdog)
  }

  #mayAdd(asleep: number): boolean {
    return this.#threads.length < this.#total + asleep
  }

  #add(): ExecutorThread {
    const index = this.#threads.length
    const thread = new ExecutorThread({
      entry: this.#options.entry,
      control: this.#control,
      rest: this.#restMemory,
      running: this.#options.running,
      index,
      host: this.#options.host,
      compile_key: this.#options.compile_key,
      forms: this.#forms,
      nowMs: this.#options.nowMs,
      connectFetches: () => this.#fetches.connect(),
      onAsleep: () => this.#tellAsleep(),
      onLost: (reason, stuck) => {
        this.#running.lost(this.#options.running.seat, index)
        if (stuck !== null) this.#options.stats.addWorker('guest_stop_defects', 1)
        this.#tellLost(index)
        this.#options.onDefect(reason, stuck)
      },
    })
    this.#threads.push(thread)
    this.#loaded.push(new Set())
    this.#countThreads()
    return thread
  }
}
