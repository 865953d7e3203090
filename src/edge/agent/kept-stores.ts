/** Directories of one kind of what functions keep, one per function, and how they go when their function has gone. */

import {
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'

import type { Log } from '../../telemetry/log.ts'

export const keptMsMax = 24 * 3600 * 1000

/** Beside a store whose function is missing: since when, by the time of this file. */
const LEFT = '.left'
/** A store on its way out; one move takes it from whoever might open it. */
const REMOVED = '.removed'
/** What belongs to a function: its store, and with a suffix what was put aside or is noted of it. */
const OF_FUNCTION = /^([0-9a-f-]{36})(\..+)?$/

export interface KeptStoresOptions {
  /** One directory per function. */
  readonly dir: string
  /** What it is for people: `The keys`. */
  readonly words: string
  readonly log: Log
  /** Milliseconds since the epoch. */
  now(): number
}

export class KeptStores {
  readonly #options: KeptStoresOptions

  /** Makes the directory. */
  constructor(options: KeptStoresOptions) {
    this.#options = options
    mkdirSync(options.dir, { recursive: true, mode: 0o700 })
  }

  /** Removes those of functions that were deleted. Never throws. */
  remove(functionIds: readonly string[]): void {
    const kept = functionIds.length === 0 ? new Set() : functionsOf(this.#names())
    for (const functionId of functionIds) if (kept.has(functionId)) this.#removeStore(functionId)
  }

  /** Notes which functions with data are missing, and removes what was missed for long enough. Never throws. */
  sweep(held: { has(functionId: string): boolean }): void {
    const names = this.#names()
    const removed = [...names].filter((name) => name.endsWith(REMOVED))
    for (const name of removed) names.delete(name)
    for (const name of [...removed, ...functionsOf(names)]) {
      try {
        if (name.endsWith(REMOVED)) this.#erase(name)
        else this.#look(name, held.has(name))
      } catch (thrown) {
        const { words, log } = this.#options
        log.failure(`${words} of a missing function could not be looked at.`, thrown)
      }
    }
  }

  #look(functionId: string, isHeld: boolean): void {
    const left = this.#path(`${functionId}${LEFT}`)
    const stat = statSync(left, { throwIfNoEntry: false })
    if (isHeld) {
      if (stat !== undefined) rmSync(left, { force: true })
    } else if (stat === undefined) {
      writeFileSync(left, '')
    } else if (this.#options.now() - stat.mtimeMs >= keptMsMax) {
      this.#removeStore(functionId)
    }
  }

  #removeStore(functionId: string): void {
    const { words, log } = this.#options
    const fields = { function_id: functionId }
    try {
      const removed = `${functionId}${REMOVED}`
      this.#erase(removed)
      // Of one that was damaged, nothing may be left but what was put aside.
      if (existsSync(this.#path(functionId))) {
        renameSync(this.#path(functionId), this.#path(removed))
      }
      for (const name of this.#names()) if (name.startsWith(`${functionId}.`)) this.#erase(name)
      log.info(`${words} of a deleted function were removed.`, fields)
    } catch (thrown) {
      log.failure(`${words} of a deleted function could not be removed.`, thrown, fields)
    }
  }

  #names(): Set<string> {
    const { dir, words, log } = this.#options
    try {
      return new Set(readdirSync(dir))
    } catch (thrown) {
      log.failure(`The directory of ${words.toLowerCase()} cannot be read.`, thrown)
      return new Set()
    }
  }

  #path(name: string): string {
    return join(this.#options.dir, name)
  }

  #erase(name: string): void {
    rmSync(this.#path(name), { recursive: true, force: true })
  }
}

/** The functions that something is there of. */
function functionsOf(names: ReadonlySet<string>): Set<string> {
  const functions = new Set<string>()
  for (const name of names) {
    const functionId = OF_FUNCTION.exec(name)?.[1]
    if (functionId !== undefined) functions.add(functionId)
  }
  return functions
}
