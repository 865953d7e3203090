/**
 * Counters of one function's guests in a memory-mapped file: every executor thread of the node adds to it, the agent reads
 * it at scrape. Nothing is sent, so nothing is lost with a worker and no guest can flood the agent. A record is claimed by
 * compare-and-swap, filled in, and then published; its key never changes after that.
 */

import { readFileSync } from 'node:fs'

import { LIMITS } from '../protocol/limits.ts'
import { mapShared } from './shared-file.ts'

const HEADER_BYTES = 64
const RECORD_BYTES = 512
const KEY_AT = 24
export const seriesKeyBytesMax = RECORD_BYTES - KEY_AT

/** States of a record. One that stays claimed belonged to a thread that died over it: it counts as used. */
const RECORD = { free: 0, claimed: 1, published: 2 } as const
/** Looks at a record that another thread is filling in; each takes well under a microsecond. */
const claimedLooksMax = 10_000

const FILE_BYTES = HEADER_BYTES + LIMITS.guestSeriesMax * RECORD_BYTES

const decoder = new TextDecoder()

export interface Series {
  readonly key: string
  readonly value: number
}

export class GuestMetricsFile {
  readonly #words: Int32Array<ArrayBufferLike>
  readonly #cells: BigInt64Array<ArrayBufferLike>
  readonly #bytes: Uint8Array<ArrayBufferLike>
  readonly #float = new Float64Array(1)
  readonly #bits = new BigInt64Array(this.#float.buffer)

  private constructor(buffer: ArrayBufferLike) {
    this.#words = new Int32Array(buffer)
    this.#cells = new BigInt64Array(buffer)
    this.#bytes = new Uint8Array(buffer)
  }

  /** Opens the file to add to it; made when it is missing. Throws what the file system throws. */
  static open(path: string): GuestMetricsFile {
    return new GuestMetricsFile(mapShared(path, FILE_BYTES))
  }

  /** The file as it is now; null when it is not there or only just being made. */
  static read(path: string): GuestMetricsFile | null {
    try {
      const bytes = new Uint8Array(readFileSync(path))
      return bytes.length < FILE_BYTES ? null : new GuestMetricsFile(bytes.buffer)
    } catch {
      return null
    }
  }

  /** The record of a series, claimed for it on first use; null when all `guestSeriesMax` belong to others. */
  find(key: Uint8Array): number | null {
    for (let record = 0; record < LIMITS.guestSeriesMax; record += 1) {
      const at = (HEADER_BYTES + record * RECORD_BYTES) / 4
      const state = this.#settledState(at)
      if (state === RECORD.free && this.#claim(at, key)) return record
      if (this.#holds(at, key)) return record
    }
    return null
  }

  /** Adds to a record's counter. */
  add(record: number, amount: number): void {
    const at = (HEADER_BYTES + record * RECORD_BYTES) / 8 + 2
    for (;;) {
      const before = Atomics.load(this.#cells, at)
      this.#bits[0] = before
      this.#float[0] = (this.#float[0] ?? 0) + amount
      const after = this.#bits[0] ?? 0n
      if (Atomics.compareExchange(this.#cells, at, before, after) === before) return
    }
  }

  /** Counts an increment that was refused because all records belong to others. */
  drop(): void {
    Atomics.add(this.#cells, 0, 1n)
  }

  get dropped(): number {
    return Number(Atomics.load(this.#cells, 0))
  }

  /** Every published record. The same key may come twice, when a thread had to give up waiting for another. */
  series(): Series[] {
    const found: Series[] = []
    for (let record = 0; record < LIMITS.guestSeriesMax; record += 1) {
      const byte = HEADER_BYTES + record * RECORD_BYTES
      const state = Atomics.load(this.#words, byte / 4)
      // The first free one is always the next to be claimed.
      if (state === RECORD.free) break
      if (state !== RECORD.published) continue
      const length = Math.min(this.#words[byte / 4 + 1] ?? 0, seriesKeyBytesMax)
      const key = this.#bytes.slice(byte + KEY_AT, byte + KEY_AT + length)
      this.#bits[0] = Atomics.load(this.#cells, byte / 8 + 2)
      found.push({ key: decoder.decode(key), value: this.#float[0] ?? 0 })
    }
    return found
  }

  #settledState(at: number): number {
    let state: number = Atomics.load(this.#words, at)
    for (let looks = 0; state === RECORD.claimed && looks < claimedLooksMax; looks += 1) {
      state = Atomics.load(this.#words, at)
    }
    return state
  }

  #claim(at: number, key: Uint8Array): boolean {
    const { free, claimed, published } = RECORD
    if (Atomics.compareExchange(this.#words, at, free, claimed) !== free) {
      this.#settledState(at)
      return false
    }
    this.#words[at + 1] = key.length
    this.#bytes.set(key, at * 4 + KEY_AT)
    Atomics.store(this.#words, at, published)
    return true
  }

  #holds(at: number, key: Uint8Array): boolean {
    if (Atomics.load(this.#words, at) !== RECORD.published) return false
    if (this.#words[at + 1] !== key.length) return false
    const from = at * 4 + KEY_AT
    return Buffer.compare(this.#bytes.subarray(from, from + key.length), key) === 0
  }
}

/** The key of a series: its name, and its labels in the order of their names. Names and values hold no line feed. */
export function seriesKey(name: string, labels: readonly (readonly [string, string])[]): string {
  const sorted = [...labels].sort(([a], [b]) => (a < b ? -1 : 1))
  return [name, ...sorted.map(([label, value]) => `${label}=${value}`)].join('\n')
}

/** What `seriesKey` was made of. */
export function readSeriesKey(key: string): { name: string; labels: Record<string, string> } {
  const [name = '', ...lines] = key.split('\n')
  const labels = lines.map((line): [string, string] => {
    const equals = line.indexOf('=')
    return [line.slice(0, equals), line.slice(equals + 1)]
  })
  return { name, labels: Object.fromEntries(labels) }
}
