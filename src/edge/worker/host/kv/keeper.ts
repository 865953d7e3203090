/**
 * The thread that keeps the stores of a node in order, in one worker of it: removes what has expired, and writes logs back
 * into their files, so that no guest waits for the disk. Finds its work by looking, and so needs no word from anyone.
 */

import { readdirSync, statSync } from 'node:fs'

import type { Log } from '../../../../telemetry/log.ts'
import { kvLogFile, kvStoreDir, kvStoreFile } from '../../../kv-files.ts'
import { KvStore } from './store.ts'

const lookEveryMs = 250
/** A log is written back when it is this long, and when something has been in it for so long. */
const logBytesMax = 4 * 1024 * 1024
const logMsMax = 10_000
/** What `KvStore.checkpoint` leaves: the header and one page with its own. */
const NEW_LOG_BYTES = 32 + 24 + 4096
const sweepEveryMs = 30_000
/** So many stores are swept with one look, for logs must not wait until all are. */
const sweepsMax = 16
/** How long one store may be swept before the others have their turn. */
const sweepMsMax = 200

/** What is put aside or on its way out has more to its name. */
const FUNCTION_ID = /^[0-9a-f-]{36}$/

export interface KeeperOptions {
  readonly dir: string
  readonly log: Log
  /** Milliseconds since the epoch. */
  now(): number
}

export class KvKeeper {
  readonly #options: KeeperOptions
  readonly #sweptAt = new Map<string, number>()
  /** When a log was new, or was seen first. */
  readonly #logNewAt = new Map<string, number>()

  constructor(options: KeeperOptions) {
    this.#options = options
  }

  /** Looks for ever. */
  run(): void {
    this.look()
    setTimeout(() => this.run(), lookEveryMs)
  }

  /** Looks once at every store. Never throws. */
  look(): void {
    const { dir } = this.#options
    const names = directories(dir)
    for (const known of [this.#sweptAt, this.#logNewAt]) {
      for (const functionId of known.keys()) if (!names.has(functionId)) known.delete(functionId)
    }
    const now = this.#options.now()
    let sweepsLeft = sweepsMax
    for (const functionId of names) {
      const due = now - (this.#sweptAt.get(functionId) ?? 0) >= sweepEveryMs
      const sweeps = due && sweepsLeft > 0
      if (sweeps) sweepsLeft -= 1
      this.#lookAt(functionId, kvStoreDir(dir, functionId), sweeps, now)
    }
  }

  #lookAt(functionId: string, dir: string, sweeps: boolean, now: number): void {
    const writesBack = this.#isLogDue(functionId, dir, now)
    // Never makes a store: one that was removed stays so.
    if (!(writesBack || sweeps) || !isFile(kvStoreFile(dir))) return
    try {
      const store = new KvStore(dir)
      try {
        if (sweeps) this.#sweep(functionId, store, now)
        if (writesBack) store.checkpoint()
      } finally {
        store.close()
      }
    } catch (thrown) {
      // In others' hands, or ill, which the next guest that uses it is told and the log with it.
      const code = (thrown as { code?: unknown }).code
      this.#options.log.debug('A store was left alone.', { error_type: String(code) })
    }
  }

  #isLogDue(functionId: string, dir: string, now: number): boolean {
    const bytes = statSync(kvLogFile(dir), { throwIfNoEntry: false })?.size ?? 0
    const newAt = this.#logNewAt.get(functionId)
    if (newAt === undefined || bytes <= NEW_LOG_BYTES) this.#logNewAt.set(functionId, now)
    return bytes > logBytesMax || (bytes > NEW_LOG_BYTES && now - (newAt ?? now) >= logMsMax)
  }

  #sweep(functionId: string, store: KvStore, now: number): void {
    const until = performance.now() + sweepMsMax
    const late = () => performance.now() > until
    store.sweep(now, late)
    if (!late()) this.#sweptAt.set(functionId, now)
  }
}

function directories(dir: string): Set<string> {
  try {
    return new Set(readdirSync(dir).filter((name) => FUNCTION_ID.test(name)))
  } catch {
    // No function has stored anything yet.
    return new Set()
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true
}
