/** The log of events: written in the transactions of what they tell of, told to watchers after the commit. */

import type { EventMessage } from '../../protocol/messages.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { Log } from '../../telemetry/log.ts'
import type { Database, Transaction } from '../db/database.ts'
import type { PublishEvent, RecordEvent } from '../events.ts'
import { appendEvents, pruneEvents, pruneRowsMax } from './store.ts'

/** Milliseconds between looks for events that are too old. */
const pruneMs = 60_000

export interface EventLogDeps {
  readonly db: Database
  readonly log: Log
  /** Tells MQTT watchers; never throws. */
  readonly publish: (event: EventMessage) => void
  /** Writes what must be sent of an event; returns whether there is anything. */
  readonly enqueue: (tx: Transaction, seq: number, event: EventMessage) => Promise<boolean>
  /** Something is to be sent. */
  readonly wakeDeliveries: () => void
  /** Unix time in milliseconds. */
  readonly now: () => number
}

export class EventLog {
  readonly #deps: EventLogDeps
  readonly #watchers = new Set<() => void>()
  #soft: EventMessage[] = []
  #writing: Promise<void> | null = null
  #timer: ReturnType<typeof setInterval> | null = null

  constructor(deps: EventLogDeps) {
    this.#deps = deps
  }

  open(): void {
    this.#timer = setInterval(() => void this.#prune(), pruneMs)
    void this.#prune()
  }

  /** Waits for what is being written. */
  async close(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
    while (this.#writing !== null) await this.#writing
  }

  readonly record: RecordEvent = async (tx, event) => {
    const deliveries = await this.#append(tx, [event])
    return () => this.#tell([event], deliveries)
  }

  /** Those that come together, a POP that is cut off, are written together; what cannot be kept up with is dropped. */
  readonly publish: PublishEvent = (event) => {
    if (this.#soft.length >= LIMITS.eventsWaitingMax) return
    this.#soft.push(event)
    this.#writing ??= this.#writeSoft()
  }

  /** `changed` is called when there are new events, perhaps also when there are none. Returns what ends it. */
  watch(changed: () => void): () => void {
    this.#watchers.add(changed)
    return () => void this.#watchers.delete(changed)
  }

  async #writeSoft(): Promise<void> {
    // Not within the call: those that come in the same turn are taken along.
    await Promise.resolve()
    while (this.#soft.length > 0) {
      const events = this.#soft
      this.#soft = []
      try {
        const deliveries = await this.#deps.db.write((tx) => this.#append(tx, events))
        this.#tell(events, deliveries)
      } catch (thrown) {
        this.#deps.log.failure('Events could not be written.', thrown)
      }
    }
    this.#writing = null
  }

  /** Returns whether something is to be sent. */
  async #append(tx: Transaction, events: readonly EventMessage[]): Promise<boolean> {
    const seqs = await appendEvents(tx, events)
    let deliveries = false
    for (const [index, event] of events.entries()) {
      if (await this.#deps.enqueue(tx, seqs[index] ?? 0, event)) deliveries = true
    }
    return deliveries
  }

  #tell(events: readonly EventMessage[], deliveries: boolean): void {
    for (const event of events) this.#deps.publish(event)
    for (const changed of this.#watchers) changed()
    if (deliveries) this.#deps.wakeDeliveries()
  }

  async #prune(): Promise<void> {
    try {
      let deleted: number
      do {
        deleted = await this.#deps.db.write((tx) => pruneEvents(tx, this.#deps.now()))
      } while (deleted === pruneRowsMax && this.#timer !== null)
    } catch (thrown) {
      this.#deps.log.failure('Old events could not be deleted.', thrown)
    }
  }
}
