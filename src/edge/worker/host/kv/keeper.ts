/**
 * The thread that keeps the stores of a node in order, in one worker of it: removes what has expired, and writes logs back
 * into their files, so that no guest waits for the disk. Finds its work by looking, and so needs no word from anyone.
 */

import { readdirSync, statSync } from 'node:fs'

import { functionIdSchema } from '../../../../protocol/ids.ts'
import type { Log } from '../../../../telemetry/log.ts'
import { kvLogFile, kvStoreDir, kvStoreFile } from '../../../kv-files.ts'
import { KvStore } from './store.ts'

const lookEveryMs = 1_000
/** A log is written back when it is this long, or when it has rested for so long and is longer than a new one. */
const logBytesMax = 1024 * 1024
const logRestMsMax = 10_000
/** What `KvStore.checkpoint` leaves: the header and one page with its own. */
const NEW_LOG_BYTES = 32 + 24 + 4096
const sweepEveryMs = 30_000
/** How long one store may be swept before the others have their turn. */
const sweepMsMax = 200

export interface KeeperOptions {
  readonly dir: string
  readonly log: Log
  /** Milliseconds since the epoch. */
  now(): number
}

export class KvKeeper {
  readonly #options: KeeperOptions
  readonly #sweptAt = new Map<string, number>()

  constructor(options: KeeperOptions) {
    this.#options = options
  }

  /** Looks for ever, once a second. */
  run(): void {
    this.look()
    setTimeout(() => this.run(), lookEveryMs)
  }

  /** Looks once at every store. Never throws. */
  look(): void {
    const { dir } = this.#options
    const names = directories(dir)
    for (const functionId of this.#sweptAt.keys()) {
      if (!names.has(functionId)) this.#sweptAt.delete(functionId)
    }
    for (const functionId of names) this.#lookAt(functionId, kvStoreDir(dir, functionId))
  }

  #lookAt(functionId: string, dir: string): void {
    const now = this.#options.now()
    const log = statSync(kvLogFile(dir), { throwIfNoEntry: false })
    const rested = log !== undefined && now - log.mtimeMs > logRestMsMax
    const isLong =
      log !== undefined && (log.size > logBytesMax || (rested && log.size > NEW_LOG_BYTES))
    const sweeps = now - (this.#sweptAt.get(functionId) ?? 0) >= sweepEveryMs
    // Never makes a store: one that was removed stays so.
    if (!(isLong || sweeps) || !isFile(kvStoreFile(dir))) return
    try {
      const store = new KvStore(dir)
      try {
        if (sweeps) this.#sweep(functionId, store, now)
        if (isLong) store.checkpoint()
      } finally {
        store.close()
      }
    } catch (thrown) {
      // In others' hands, or ill, which the next guest that uses it is told and the log with it.
      const code = (thrown as { code?: unknown }).code
      this.#options.log.debug('A store was left alone.', { error_type: String(code) })
    }
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
    return new Set(readdirSync(dir).filter((name) => functionIdSchema.safeParse(name).success))
  } catch {
    // No function has stored anything yet.
    return new Set()
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true
}
