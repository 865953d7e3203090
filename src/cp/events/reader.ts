/** One reader of the stream: takes events from the log as fast as it is read, no faster, and is let go when it stands still. */

import type { EventGap } from '../../protocol/events.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { Log } from '../../telemetry/log.ts'
import type { Database } from '../db/database.ts'
import { eventsAfter, newestSeq, oldestSeq, type EventFilter, type EventRow } from './store.ts'

/** Events sent in one piece. */
const rowsPerPieceMax = 100
/** Milliseconds after which a client is to come again when its connection ends. */
const retryMs = 2_000

export interface ReaderDeps {
  readonly db: Database
  readonly log: Log
  readonly filter: EventFilter
  /** The number after which to begin; null: after the newest. */
  readonly after: number | null
  /** Milliseconds without an event after which the client is told that the connection lives. */
  readonly keep_alive_ms: number
  /** Asked before each piece: a key may be revoked while it is read by. */
  readonly mayRead: () => Promise<boolean>
  readonly ended: () => void
}

/** A `text/event-stream` body. Its memory is one piece: what is not read stays in the log. */
export class EventReader {
  readonly body: ReadableStream<Uint8Array>
  readonly #deps: ReaderDeps
  #seq = 0
  #begun = false
  #closed = false
  #changed = false
  #stallTimer: ReturnType<typeof setTimeout> | null = null
  #keepAliveTimer: ReturnType<typeof setTimeout> | null = null
  #wake: (() => void) | null = null
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null

  constructor(deps: ReaderDeps) {
    this.#deps = deps
    this.body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller
        },
        pull: () => this.#pull(),
        cancel: () => this.#end(),
      },
      // Made only when it is asked for: nothing lies about that nobody reads.
      { highWaterMark: 0 },
    )
  }

  /** There may be new events. */
  changed(): void {
    this.#changed = true
    this.#wake?.()
  }

  /** Ends the stream; the client comes again by itself. */
  close(): void {
    if (this.#closed) return
    this.#end()
    this.#controller?.close()
  }

  #end(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#stallTimer !== null) clearTimeout(this.#stallTimer)
    this.#wake?.()
    this.#deps.ended()
  }

  /** Resolves when something was sent: that is when the next piece may be asked for. */
  async #pull(): Promise<void> {
    if (this.#stallTimer !== null) clearTimeout(this.#stallTimer)
    const text = await this.#piece()
    if (this.#closed || text === null) return
    this.#stallTimer = setTimeout(() => this.close(), LIMITS.eventStallMsMax)
    this.#controller?.enqueue(new TextEncoder().encode(text))
  }

  /** Null when there is none any more. A log that cannot be read ends the stream; the client comes again. */
  async #piece(): Promise<string | null> {
    try {
      return this.#begun ? await this.#next() : await this.#begin()
    } catch (thrown) {
      this.#deps.log.failure('Events could not be read.', thrown)
      this.close()
      return null
    }
  }

  /** Where the reader stands, so that it can come back there although it has been sent no event. */
  async #begin(): Promise<string> {
    const { db, after } = this.#deps
    const newest = await newestSeq(db)
    this.#begun = true
    this.#seq = after ?? newest
    const begin = `retry: ${retryMs}\n`
    if (after === null) return `${begin}id: ${newest}\n\n`
    // A number that was never given: of another database, or of this one before it was put back.
    const next = after > newest ? newest + 1 : await oldestSeq(db)
    if (after <= newest && after + 1 >= next) return `${begin}id: ${after}\n\n`
    this.#seq = next - 1
    return `${begin}\n${gapText({ after, next })}`
  }

  async #next(): Promise<string | null> {
    const silentUntilMs = performance.now() + this.#deps.keep_alive_ms
    while (!this.#closed) {
      this.#changed = false
      const { db, filter, mayRead } = this.#deps
      const { rows, seq } = await eventsAfter(db, this.#seq, filter, rowsPerPieceMax)
      // The looks of every second come by here, so the stream of a revoked key ends soon although nothing happens.
      if (!(await mayRead())) {
        this.close()
        return null
      }
      this.#seq = seq
      if (rows.length > 0) return rows.map(eventText).join('')
      if (!(await this.#waited(silentUntilMs))) return `: nothing new\nid: ${this.#seq}\n\n`
    }
    return null
  }

  /** False when it is time to tell the client that the connection lives: waking up for nothing does not put that off. */
  async #waited(untilMs: number): Promise<boolean> {
    const waitMs = untilMs - performance.now()
    if (waitMs <= 0) return false
    if (this.#changed) return true
    return new Promise((resolve) => {
      const settle = (came: boolean) => {
        if (this.#keepAliveTimer !== null) clearTimeout(this.#keepAliveTimer)
        this.#keepAliveTimer = null
        this.#wake = null
        resolve(came)
      }
      this.#keepAliveTimer = setTimeout(() => settle(false), waitMs)
      this.#wake = () => settle(true)
    })
  }
}

/** JSON has no line ends, so that the data is one line. */
function eventText({ seq, kind, payload }: EventRow): string {
  return `id: ${seq}\nevent: ${kind.slice(0, kind.indexOf('.'))}\ndata: ${payload}\n\n`
}

function gapText(gap: EventGap): string {
  return `id: ${gap.next - 1}\nevent: gap\ndata: ${JSON.stringify(gap)}\n\n`
}
