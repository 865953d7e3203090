/**
 * Time and chance that a seed decides: clocks, timers and random numbers of the whole process are replaced. What is started for an
 * owner (a simulated process) belongs to it, also through promises, and ends with it.
 */

import { AsyncLocalStorage } from 'node:async_hooks'

export interface Owner {
  readonly name: string
  alive: boolean
}

interface Timer {
  readonly at: number
  readonly order: number
  readonly owner: Owner | undefined
  readonly run: () => void
  readonly everyMs: number | null
}

const RealDate = Date
const realImmediate = setImmediate
const owners = new AsyncLocalStorage<Owner>()
/** 2026-01-01; the wall clock of a schedule begins here. */
const beginMs = RealDate.UTC(2026, 0, 1)
/** Turns of the real event loop after which whatever an event started has come to rest: all of it runs in microtasks. */
const settlingTurns = 2

export class VirtualTime {
  readonly random: () => number
  #now = 0
  #order = 0
  #ids = 0
  readonly #held = new Set<Promise<void>>()
  readonly #timers = new Map<number, Timer>()
  /** Milliseconds by which the wall clock of an owner was set, by its name. */
  readonly #setMs = new Map<string, number>()

  constructor(seed: number) {
    this.random = mulberry32(seed)
  }

  /** Milliseconds since the schedule began. */
  get now(): number {
    return this.#now
  }

  /** Replaces the process's own; the last one installed counts. */
  install(): void {
    const wallMs = () =>
      beginMs + Math.floor(this.#now) + (this.#setMs.get(owners.getStore()?.name ?? '') ?? 0)
    const VirtualDate = class extends RealDate {
      constructor(...parts: unknown[]) {
        // The cast is that of a constructor with many forms.
        super(...((parts.length === 0 ? [wallMs()] : parts) as [number]))
      }
      static override now(): number {
        return wallMs()
      }
    }
    Object.assign(globalThis, {
      Date: VirtualDate,
      setTimeout: (run: () => void, ms = 0) => this.#add(run, ms, null),
      setInterval: (run: () => void, ms = 0) => this.#add(run, ms, Math.max(ms, 1)),
      clearTimeout: (id: number) => this.#timers.delete(id),
      clearInterval: (id: number) => this.#timers.delete(id),
    })
    Math.random = this.random
    // Ids follow the clock, as those of the control plane do.
    Bun.randomUUIDv7 = (() => this.#uuid(wallMs())) as typeof Bun.randomUUIDv7
    performance.now = () => this.#now
  }

  /** Sets the wall clock of an owner forward, or back; timers and the monotonic clock go on as they did. */
  setClock(name: string, byMs: number): void {
    this.#setMs.set(name, (this.#setMs.get(name) ?? 0) + Math.floor(byMs))
  }

  /** Runs `work` for an owner: what it starts belongs to it. */
  as<T>(owner: Owner, work: () => T): T {
    return owners.run(owner, work)
  }

  at(ms: number, run: () => void, owner?: Owner): void {
    const order = this.#order++
    const at = this.#now + Math.max(ms, 0)
    this.#timers.set(order, { at, order, owner, run, everyMs: null })
  }

  /** Goes on to the next event and lets it come to rest; false when nothing is left or it lies after `untilMs`. */
  async step(untilMs: number): Promise<boolean> {
    const next = this.#next()
    if (next === null || next.at > untilMs) return false
    this.#timers.delete(next.order)
    this.#now = Math.max(this.#now, next.at)
    if (next.owner?.alive === false) return true
    if (next.everyMs !== null) {
      this.#timers.set(next.order, { ...next, at: this.#now + next.everyMs })
    }
    if (next.owner === undefined) next.run()
    else owners.run(next.owner, next.run)
    await this.settle()
    return true
  }

  /** Time stands still until the work is done: it waits for the real world (files), whose pace decides nothing then. */
  hold<T>(work: Promise<T>): Promise<T> {
    const done = work.then(
      () => {},
      () => {},
    )
    this.#held.add(done)
    void done.then(() => this.#held.delete(done))
    return work
  }

  async settle(): Promise<void> {
    while (this.#held.size > 0) await Promise.all(this.#held)
    for (let turn = 0; turn < settlingTurns; turn += 1) {
      await new Promise((resolve) => realImmediate(resolve))
    }
  }

  #add(run: () => void, ms: number, everyMs: number | null): number {
    const order = this.#order++
    const at = this.#now + Math.max(ms, everyMs ?? 0, 0)
    this.#timers.set(order, { at, order, owner: owners.getStore(), run, everyMs })
    return order
  }

  /** A UUIDv7 of the moment; those of one moment ascend. */
  #uuid(ms: number): string {
    const time = ms.toString(16).padStart(12, '0')
    const random = () => Math.floor(this.random() * 0x1000000)
    const tail = `${hex(random(), 6)}${hex(random(), 6)}`
    const count = hex(this.#ids++ % 0x1000, 3)
    return `${time.slice(0, 8)}-${time.slice(8)}-7${count}-8${hex(random(), 6).slice(3)}-${tail}`
  }

  #next(): Timer | null {
    let next: Timer | null = null
    for (const timer of this.#timers.values()) {
      if (next === null || timer.at < next.at || (timer.at === next.at && timer.order < next.order))
        next = timer
    }
    return next
  }
}

function hex(number: number, digits: number): string {
  return number.toString(16).padStart(digits, '0')
}

/** A small generator whose numbers its seed decides (mulberry32). */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
