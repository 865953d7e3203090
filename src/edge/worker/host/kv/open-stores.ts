/** The stores an executor thread has open, and what becomes of a store that is locked, moved away or damaged. */

import { existsSync, renameSync, rmSync, statfsSync } from 'node:fs'

import { kvDamagedDir, kvStoreDir, kvStoreFile } from '../../../kv-files.ts'
import type { NodeLog } from '../node-log.ts'
import { KvLogFull, KvStore } from './store.ts'

/** Open stores per thread, of three file descriptors each; the least recently used is closed between calls. */
const storesMax = 16
/** Milliseconds between two tries to get a store that another thread or process is writing to. */
const retryMsMax = 2
/**
 * Milliseconds of waiting after which the thread rests in between, so that others can run; and between its tries then: not
 * sooner and not shorter, for the more try for one store the longer it takes each of them.
 */
const restAfterMs = 20
const restMs = 8
/** New values are refused when the disk has less left than this, and less than this share of it. */
const freeBytesMin = 256 * 1024 * 1024
const freeShareMin = 0.05
const diskCheckMs = 1_000

/** The time that an operation may take, its waiting for others included. */
export interface Deadline {
  /** Milliseconds; negative when it has passed. */
  leftMs(): number
}

/** The deadline passed while the store was in others' hands. */
export class KvLate extends Error {
  override readonly name = 'KvLate'
}

/** The store cannot be used now: the disk is full or ill, or the file was damaged (the next use begins a new one). */
export class KvUnavailable extends Error {
  override readonly name = 'KvUnavailable'
}

export interface KvStoresOptions {
  /** Directory with one directory per function. */
  readonly dir: string
  readonly log: NodeLog
  nowMs(): number
  /** `Host.sleeping`. */
  readonly sleeping: <T>(leftMs: () => number, wait: () => T) => T
}

/** Nothing ever writes here: waiting on it is sleeping. */
const never = new Int32Array(new SharedArrayBuffer(4))

export class KvStores {
  readonly #options: KvStoresOptions
  /** By function, least recently used first. */
  readonly #open = new Map<string, KvStore>()
  /** The call whose store is known to be in its place. */
  #checkedFor: object | null = null
  #disk = { checkedAt: -Infinity, full: false }

  constructor(options: KvStoresOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#open.size
  }

  /** Whether a function has stored anything; asking makes no store. */
  has(functionId: string): boolean {
    return (
      this.#open.has(functionId) ||
      existsSync(kvStoreFile(kvStoreDir(this.#options.dir, functionId)))
    )
  }

  /**
   * Does `work` with a function's store, again and again while others have it locked or its log is full, until the
   * deadline. `call` is the call it is done for. Throws KvLate and KvUnavailable.
   */
  use<T>(functionId: string, call: object, deadline: Deadline, work: (store: KvStore) => T): T {
    let waitedMs = 0
    for (let retryMs = 0.1; ; retryMs = Math.min(retryMs * 2, retryMsMax)) {
      try {
        return work(this.#store(functionId, call))
      } catch (thrown) {
        const waits = thrown instanceof KvLogFull || isBusy(thrown)
        if (!waits) throw this.#failed(functionId, thrown)
      }
      const leftMs = deadline.leftMs()
      if (leftMs <= 0) throw new KvLate()
      // At random, so that two who met do not meet again.
      const share = 0.5 + Math.random()
      if (waitedMs < restAfterMs) waitedMs += pause(Math.min(leftMs, retryMs * share))
      else
        this.#options.sleeping(
          () => deadline.leftMs(),
          () => pause(Math.min(leftMs, restMs * share)),
        )
    }
  }

  /** Whether the disk is so full that values of guests would soon keep the node itself from writing. */
  get diskFull(): boolean {
    const { dir, log, nowMs } = this.#options
    const now = nowMs()
    if (now < this.#disk.checkedAt + diskCheckMs) return this.#disk.full
    const free = freeBytes(dir)
    const full = free !== null && free.bytes < Math.min(freeBytesMin, free.total * freeShareMin)
    if (full && !this.#disk.full) {
      const cause = new Error(`${dir} has ${free.bytes} bytes left.`)
      log.failure('The disk is nearly full: functions cannot store keys.', cause)
    }
    this.#disk = { checkedAt: now, full }
    return full
  }

  /** Closes what is open too many, which may write to the disk; to be called when no guest waits. */
  trim(): void {
    this.#checkedFor = null
    for (const functionId of this.#open.keys()) {
      if (this.#open.size <= storesMax) return
      this.#close(functionId)
    }
  }

  /** Closes the store of a function that is not run here any more; to be called when no guest waits. */
  forget(functionId: string): void {
    if (this.#open.has(functionId)) this.#close(functionId)
  }

  close(): void {
    for (const functionId of [...this.#open.keys()]) this.#close(functionId)
  }

  #store(functionId: string, call: object): KvStore {
    const kept = this.#open.get(functionId)
    if (kept !== undefined && this.#checkedFor === call) return kept
    if (kept?.moved === true) this.#close(functionId)
    const store =
      this.#open.get(functionId) ?? new KvStore(kvStoreDir(this.#options.dir, functionId))
    this.#open.delete(functionId)
    this.#open.set(functionId, store)
    this.#checkedFor = call
    return store
  }

  #failed(functionId: string, thrown: unknown): unknown {
    const code = codeOf(thrown)
    if (code === null) return thrown
    const { log } = this.#options
    const fields = { function_id: functionId, context: { code } }
    if (isDamage(code)) this.#putAside(functionId, thrown)
    else log.failure('The keys of a function cannot be used now.', thrown, fields)
    // What failed for want of room can still be read.
    if (code !== 'SQLITE_FULL') this.#close(functionId)
    return new KvUnavailable('The store cannot be used now.', { cause: thrown })
  }

  /** A damaged store would fail for ever; moved away with its log and index, it is looked for in vain and begun anew. */
  #putAside(functionId: string, thrown: unknown): void {
    const { dir, log } = this.#options
    const damaged = kvDamagedDir(dir, functionId)
    const store = this.#open.get(functionId)
    // Another thread may have done it already, and what has its name now is the new one.
    if (store?.moved ?? opens(kvStoreDir(dir, functionId))) return
    log.failure('The keys of a function are damaged; a new store is begun.', thrown, {
      function_id: functionId,
      context: { path: damaged },
    })
    try {
      rmSync(damaged, { recursive: true, force: true })
      renameSync(kvStoreDir(dir, functionId), damaged)
    } catch (failure) {
      log.failure('A damaged store could not be put aside.', failure, { function_id: functionId })
    }
  }

  #close(functionId: string): void {
    const store = this.#open.get(functionId)
    this.#open.delete(functionId)
    this.#checkedFor = null
    try {
      store?.close()
    } catch (thrown) {
      const fields = { function_id: functionId }
      this.#options.log.failure('The keys of a function could not be closed.', thrown, fields)
    }
  }
}

/** Does nothing for so many milliseconds, and returns them. */
function pause(ms: number): number {
  Atomics.wait(never, 0, 0, ms)
  return ms
}

/** Whether there is a store in `dir` that can be opened. */
function opens(dir: string): boolean {
  try {
    new KvStore(dir).close()
    return true
  } catch {
    return false
  }
}

function freeBytes(dir: string): { bytes: number; total: number } | null {
  try {
    const { bavail, blocks, bsize } = statfsSync(dir)
    return { bytes: bavail * bsize, total: blocks * bsize }
  } catch {
    // No store was ever made here; opening one will tell what is wrong.
    return null
  }
}

/** What SQLite or the file system says it is; null for what neither threw. */
function codeOf(thrown: unknown): string | null {
  const code = (thrown as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : null
}

function isBusy(thrown: unknown): boolean {
  return /^SQLITE_(?:BUSY|LOCKED|PROTOCOL)/.test(codeOf(thrown) ?? '')
}

function isDamage(code: string): boolean {
  return /^SQLITE_(?:CORRUPT|NOTADB)/.test(code)
}
