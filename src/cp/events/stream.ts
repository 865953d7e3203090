/** Everybody who reads events over HTTP: how many may, and when they look. */

import { EdgefnError } from '../../errors.ts'
import type { EventQuery } from '../../protocol/events.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { Log } from '../../telemetry/log.ts'
import type { Caller } from '../context.ts'
import type { Database, Sql } from '../db/database.ts'
import type { EventLog } from './event-log.ts'
import { EventReader } from './reader.ts'

/** Milliseconds between looks for what other control planes on the same database have written. */
const lookMs = 1_000

export interface EventStreamDeps {
  readonly db: Database
  readonly log: Log
  readonly events: EventLog
  /** By id or name. Throws `function_not_found`. */
  readonly resolve: (sql: Sql, idOrName: string) => Promise<{ readonly id: string }>
  /** Whether the caller's key has not been revoked, here or by another control plane. */
  readonly keyHolds: (caller: Caller) => Promise<boolean>
}

export class EventStream {
  readonly #deps: EventStreamDeps
  readonly #readers = new Set<EventReader>()
  #unwatch: (() => void) | null = null
  #timer: ReturnType<typeof setInterval> | null = null
  #closed = false

  constructor(deps: EventStreamDeps) {
    this.#deps = deps
  }

  open(): void {
    this.#unwatch = this.#deps.events.watch(() => this.#changed())
  }

  /** Ends every stream, so that the server need not wait for them. */
  close(): void {
    this.#closed = true
    this.#unwatch?.()
    for (const reader of this.#readers) reader.close()
  }

  /**
   * A stream of the events that the query asks for, after `lastEventId` or the query's `after`; without either from now on.
   * Throws `invalid_field` for an id that is none, `function_not_found`, and `overloaded` when too many read already.
   */
  async read(
    caller: Caller,
    query: EventQuery,
    lastEventId: string | null,
  ): Promise<ReadableStream<Uint8Array>> {
    const { db, resolve, keyHolds } = this.#deps
    const after = lastEventId === null ? (query.after ?? null) : seqOf(lastEventId)
    const wanted = query.function === undefined ? null : await resolve(db, query.function)
    if (this.#closed) throw new EdgefnError('shutting_down', 'The control plane is closing.')
    if (this.#readers.size >= LIMITS.eventReadersMax) {
      throw new EdgefnError(
        'overloaded',
        `Events are read by ${LIMITS.eventReadersMax} clients already; try again.`,
      )
    }
    const reader = new EventReader({
      db,
      log: this.#deps.log,
      after,
      filter: {
        kinds: query.type ?? null,
        function_id: wanted?.id ?? null,
        deployment_id: query.deployment ?? null,
      },
      keep_alive_ms: LIMITS.eventKeepAliveMs,
      mayRead: () => keyHolds(caller),
      ended: () => this.#left(reader),
    })
    this.#readers.add(reader)
    this.#timer ??= setInterval(() => this.#changed(), lookMs)
    return reader.body
  }

  #left(reader: EventReader): void {
    this.#readers.delete(reader)
    if (this.#readers.size > 0 || this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
  }

  #changed(): void {
    for (const reader of this.#readers) reader.changed()
  }
}

function seqOf(lastEventId: string): number {
  if (/^\d{1,15}$/.test(lastEventId)) return Number(lastEventId)
  throw new EdgefnError('invalid_field', 'The header last-event-id must be the id of an event.', {
    details: { field: 'last-event-id' },
  })
}
