/**
 * The memory in which the fetch thread hands a response to an executor thread, which is blocked in its guest's host call and
 * cannot take messages: a few cells, the head, and a ring of body bytes. One writer and one reader at a time.
 */

import { LIMITS } from '../../../protocol/limits.ts'
import { FetchError } from './outcome.ts'

/** Bytes of body that wait for the guest; more of it waits in the socket. */
const ringBytes = 64 * 1024
/** Bytes of a head as the guest gets it. */
const headBytesMax = LIMITS.fetchResponseHeadBytesMax

const CELL = {
  /** Counts up with every change by the writer; the reader waits on it. */
  signal: 0,
  /** 0: no head yet; 1: the head is there; negative: there will be none, and why. */
  head: 1,
  headBytes: 2,
  /** Body bytes so far, put in and taken out. */
  written: 3,
  read: 4,
  /** 0: the body goes on; 1: it has ended; negative: it broke off, and why. */
  body: 5,
  /** 1: the writer waits for room, and whoever takes bytes out must tell it. */
  stalled: 6,
  /** 1: the writer is done and will never touch this memory again. */
  released: 7,
} as const
const CELLS_BYTES = 64

export const sharedResponseBytes = CELLS_BYTES + headBytesMax + ringBytes

class SharedResponse {
  readonly #cells: Int32Array
  protected readonly head: Uint8Array
  protected readonly ring: Uint8Array

  constructor(memory: SharedArrayBuffer) {
    this.#cells = new Int32Array(memory, 0, CELLS_BYTES / 4)
    this.head = new Uint8Array(memory, CELLS_BYTES, headBytesMax)
    this.ring = new Uint8Array(memory, CELLS_BYTES + headBytesMax, ringBytes)
  }

  protected load(cell: keyof typeof CELL): number {
    return Atomics.load(this.#cells, CELL[cell])
  }

  protected store(cell: keyof typeof CELL, value: number): void {
    Atomics.store(this.#cells, CELL[cell], value)
  }

  protected exchange(cell: keyof typeof CELL, value: number): number {
    return Atomics.exchange(this.#cells, CELL[cell], value)
  }

  protected tell(): void {
    Atomics.add(this.#cells, CELL.signal, 1)
    Atomics.notify(this.#cells, CELL.signal)
  }

  /** Waits until the writer changes something after `seen`, and no longer than `ms`. */
  protected wait(seen: number, ms: number): void {
    Atomics.wait(this.#cells, CELL.signal, seen, ms)
  }
}

/** The fetch thread's side. */
export class ResponseWriter extends SharedResponse {
  /** What the ring had no room for; the socket is paused then, so it is at most what had been received already. */
  #waiting: Buffer[] = []

  /** Throws FetchError when the head is over its limit: what came with bare colons and line feeds has grown by now. */
  putHead(bytes: Uint8Array): void {
    if (bytes.length > headBytesMax) {
      throw new FetchError('too_large', 'The head of the response is over its limit.')
    }
    this.head.set(bytes)
    this.store('headBytes', bytes.length)
    this.store('head', 1)
    this.tell()
  }

  /** False when some of the bytes have to wait. */
  putBody(bytes: Uint8Array): boolean {
    const put = this.#waiting.length === 0 ? this.#fill(bytes) : 0
    if (put > 0) this.tell()
    if (put === bytes.length) return true
    this.#waiting.push(Buffer.from(bytes.subarray(put)))
    return this.flush()
  }

  /** Moves into the ring what waits. False when it does not all fit: the reader will ask for more. */
  flush(): boolean {
    for (;;) {
      const piece = this.#waiting[0]
      if (piece === undefined) return true
      const put = this.#fill(piece)
      if (put > 0) this.tell()
      if (put === piece.length) this.#waiting.shift()
      else this.#waiting[0] = piece.subarray(put)
      if (put > 0) continue
      this.store('stalled', 1)
      // The reader may have made room before it could see that somebody waits for it.
      if (this.#room() === 0) return false
      this.store('stalled', 0)
    }
  }

  /** The body has ended, well (1) or not (a code). */
  end(result: number): void {
    if (this.load('head') === 0) this.store('head', result)
    this.store('body', result)
    this.tell()
  }

  release(): void {
    this.store('released', 1)
  }

  #room(): number {
    return ringBytes - (this.load('written') - this.load('read'))
  }

  /** How many of the bytes fitted. */
  #fill(bytes: Uint8Array): number {
    const written = this.load('written')
    const count = Math.min(bytes.length, this.#room())
    const at = written % ringBytes
    const first = Math.min(count, ringBytes - at)
    this.ring.set(bytes.subarray(0, first), at)
    this.ring.set(bytes.subarray(first, count), 0)
    this.store('written', written + count)
    return count
  }
}

/** The executor's side. What waits gives null when `leftMs` says that the time is over. */
export class ResponseReader extends SharedResponse {
  /** Whether the writer has let go of the memory. */
  get released(): boolean {
    return this.load('released') === 1
  }

  /** Makes the memory ready for another response. Only before its first use, or after it was released. */
  reset(): void {
    for (const cell of [
      'head',
      'headBytes',
      'written',
      'read',
      'body',
      'stalled',
      'released',
    ] as const) {
      this.store(cell, 0)
    }
  }

  /** 1 when the head is there, a code when it will never be. */
  waitHead(leftMs: () => number): number | null {
    for (;;) {
      const seen = this.load('signal')
      const head = this.load('head')
      if (head !== 0) return head
      const ms = leftMs()
      if (ms <= 0) return null
      this.wait(seen, ms)
    }
  }

  /** Whether `readBody` has something to say at once. */
  get hasBody(): boolean {
    return this.load('body') !== 0 || this.load('written') !== this.load('read')
  }

  readHead(): Uint8Array<ArrayBuffer> {
    return copy(this.head.subarray(0, this.load('headBytes')))
  }

  /**
   * The next bytes of the body, at least one and at most `bytesMax`; or 0 when it has ended, or the code it broke off with.
   * `resume` tells the writer that there is room.
   */
  readBody(
    bytesMax: number,
    leftMs: () => number,
    resume: () => void,
  ): Uint8Array<ArrayBuffer> | number | null {
    for (;;) {
      const seen = this.load('signal')
      // Before the count of bytes: when the body has ended, that count is the last.
      const body = this.load('body')
      const read = this.load('read')
      const count = Math.min(this.load('written') - read, bytesMax)
      if (count > 0) {
        const at = read % ringBytes
        const bytes = new Uint8Array(count)
        const first = Math.min(count, ringBytes - at)
        bytes.set(this.ring.subarray(at, at + first))
        bytes.set(this.ring.subarray(0, count - first), first)
        this.store('read', read + count)
        if (this.exchange('stalled', 0) === 1) resume()
        return bytes
      }
      if (body !== 0) return body === 1 ? 0 : body
      const ms = leftMs()
      if (ms <= 0) return null
      this.wait(seen, ms)
    }
  }
}

function copy(shared: Uint8Array): Uint8Array<ArrayBuffer> {
  const own = new Uint8Array(shared.length)
  own.set(shared)
  return own
}
