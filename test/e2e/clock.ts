/** A wall clock of a process's own, which a test sets while the process runs: Debian's libfaketime. Its monotonic clock stays. */

import { existsSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { until, type World } from './harness.ts'

const LIBRARIES = '/usr/lib'
const SHARED_OBJECT = 'faketime/libfaketimeMT.so.1'

/** Milliseconds that an answer may be under way, and that the HTTP header leaves out. */
const roundedMs = 5_000

function libraryPath(): string {
  const found = readdirSync(LIBRARIES)
    .map((name) => join(LIBRARIES, name, SHARED_OBJECT))
    .find((path) => existsSync(path))
  if (found === undefined) throw new Error('libfaketime is missing; scripts/setup installs it.')
  return found
}

export class Clock {
  readonly #path: string
  #aheadMs = 0

  constructor(world: World, name: string, aheadSeconds = 0) {
    this.#path = join(world.dir, `clock-${name}`)
    this.#write(aheadSeconds)
  }

  /** What the process is started with. */
  get env(): Record<string, string> {
    return {
      LD_PRELOAD: libraryPath(),
      FAKETIME_TIMESTAMP_FILE: this.#path,
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      FAKETIME_CACHE_DURATION: '1',
    }
  }

  /** What it shows now, in Unix milliseconds. */
  get now(): number {
    return Date.now() + this.#aheadMs
  }

  /** Sets it; resolves when the process that answers at `url` goes by it. */
  async set(aheadSeconds: number, url: string): Promise<void> {
    this.#write(aheadSeconds)
    await until('the clock is set', async () => this.isShownBy(url))
  }

  /** Whether answers bear its time. */
  async isShownBy(url: string): Promise<boolean> {
    const date = (await fetch(url)).headers.get('date')
    return date !== null && Math.abs(Date.parse(date) - this.now) < roundedMs
  }

  #write(aheadSeconds: number): void {
    this.#aheadMs = aheadSeconds * 1000
    const sign = aheadSeconds < 0 ? '' : '+'
    // At once, or a process might read half of it.
    writeFileSync(`${this.#path}.new`, `${sign}${aheadSeconds}\n`)
    renameSync(`${this.#path}.new`, this.#path)
  }
}
