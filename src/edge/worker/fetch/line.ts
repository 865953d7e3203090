/** An executor thread's side of fetching: its line to the fetch thread, and what its current call has open. */

import type { MessagePort } from 'node:worker_threads'

import { LIMITS } from '../../../protocol/limits.ts'
import type { WorkerFunction } from '../../ipc.ts'
import { poolKey } from '../call.ts'
import type { GuestRequest } from '../call.ts'
import { placesOf } from './loop.ts'
import type { ToFetchThread } from './messages.ts'
import type { FetchFailure } from './outcome.ts'
import { ResponseReader, sharedResponseBytes } from './shared-response.ts'

/** Bytes of a request from which on handing its memory over is cheaper than copying it. */
const transferBytesMin = 65_536

interface Slot {
  readonly memory: SharedArrayBuffer
  readonly reader: ResponseReader
  open: boolean
}

/** An executor thread's end of the line to the fetch thread, with the memory that responses come in. */
export class FetchLine {
  readonly #port: MessagePort
  /** Kept from call to call; one that the fetch thread has not let go of yet is passed over. */
  readonly #slots: Slot[] = []
  /** Fetches that did not begin, and are not counted yet. */
  readonly #refused = new Map<FetchFailure, number>()
  #fetches = 0

  constructor(port: MessagePort) {
    this.#port = port
  }

  /** The thread ends, and a line that is open would keep it. */
  close(): void {
    this.#port.close()
  }

  /**
   * Begins a fetch for a call of `fn` that answers `cause`. What the text says is the fetch thread's to read: its code for that
   * is warm, and that of a hundred threads that sleep most of the time is not.
   */
  start(
    text: Uint8Array<ArrayBuffer>,
    fn: WorkerFunction,
    cause: GuestRequest,
    leftMs: number,
  ): OpenFetch {
    const slot = this.#freeSlot()
    slot.open = true
    slot.reader.reset()
    const id = (this.#fetches += 1)
    const message: ToFetchThread = {
      type: 'start',
      id,
      memory: slot.memory,
      text,
      places: placesOf(cause.header_lines),
      allow: fn.http_allow,
      owner: poolKey(fn),
      left_ms: leftMs,
    }
    this.#port.postMessage(message, text.length > transferBytesMin ? [text.buffer] : [])
    return new OpenFetch(slot, (type) => this.#port.postMessage({ type, id }))
  }

  /** Notes a fetch that did not begin. */
  refused(failure: FetchFailure): void {
    this.#refused.set(failure, (this.#refused.get(failure) ?? 0) + 1)
  }

  /** Has those counted, when a call is over: a guest that is refused over and over must not flood the thread of all fetches. */
  tellRefused(): void {
    for (const [failure, times] of this.#refused) {
      this.#port.postMessage({ type: 'refused', failure, times } satisfies ToFetchThread)
    }
    this.#refused.clear()
  }

  #freeSlot(): Slot {
    const found = this.#slots.find((slot) => !slot.open && slot.reader.released)
    if (found !== undefined) return found
    const memory = new SharedArrayBuffer(sharedResponseBytes)
    const slot = { memory, reader: new ResponseReader(memory), open: false }
    // A guest that opens and closes faster than the fetch thread follows gets memory that is not kept.
    if (this.#slots.length < 2 * LIMITS.fetchesPerCallMax) this.#slots.push(slot)
    return slot
  }
}

/** A fetch whose head has been waited for, until it is closed. */
export class OpenFetch {
  readonly reader: ResponseReader
  head: Uint8Array<ArrayBuffer> | null = null
  readonly #slot: Slot
  readonly #tell: (type: 'resume' | 'cancel') => void

  constructor(slot: Slot, tell: (type: 'resume' | 'cancel') => void) {
    this.#slot = slot
    this.reader = slot.reader
    this.#tell = tell
  }

  readonly resume = (): void => this.#tell('resume')

  close(): void {
    if (!this.reader.released) this.#tell('cancel')
    this.#slot.open = false
  }
}

/** The fetches that one call has open, by handle. */
export class CallFetches {
  readonly #open = new Map<number, OpenFetch>()
  #handles = 0

  get full(): boolean {
    return this.#open.size >= LIMITS.fetchesPerCallMax
  }

  add(fetch: OpenFetch): number {
    this.#handles += 1
    this.#open.set(this.#handles, fetch)
    return this.#handles
  }

  get(handle: number): OpenFetch | undefined {
    return this.#open.get(handle)
  }

  /** Whether there was one. */
  close(handle: number): boolean {
    this.#open.get(handle)?.close()
    return this.#open.delete(handle)
  }

  closeAll(): void {
    for (const handle of this.#open.keys()) this.close(handle)
  }
}
