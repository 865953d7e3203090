/**
 * Delivers what waits: one delivery of a webhook at a time and in order, all webhooks beside each other, so that a slow one holds up
 * none. All that matters stands in the table: any number of processes may drive, and a restart loses nothing.
 */

import { backoffMs } from '../../protocol/backoff.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { Log } from '../../telemetry/log.ts'
import type { Database } from '../db/database.ts'
import type { Sealing } from '../sealing.ts'
import { attemptDelivery } from './attempt.ts'
import { claimDeliveries, nextDueMs, settleDelivery, type Claim } from './outbox.ts'
import { purposeOf } from './service.ts'
import { pruneDeliveries } from './store.ts'

/** Milliseconds after which the table is looked at although nobody said so: another process may have written. */
const lookMsMax = 5_000
/** Milliseconds after which a look that failed is taken again. */
const retryLookMs = 1_000
/** Milliseconds between looks for deliveries to be forgotten. */
const pruneMs = 60_000

export interface WebhookDriverDeps {
  readonly db: Database
  readonly sealing: Sealing
  readonly log: Log
  /** Unix time in milliseconds. */
  readonly now: () => number
  /** In [0, 1). */
  readonly random: () => number
}

export class WebhookDriver {
  readonly #deps: WebhookDriverDeps
  /** Webhooks to which a delivery is under way here, and those that have failed and are left alone for a while. */
  readonly #busy = new Map<string, Promise<void>>()
  readonly #paused = new Map<string, ReturnType<typeof setTimeout>>()
  /** How often each has failed since it last took something. */
  readonly #failures = new Map<string, number>()
  #ended = new AbortController()
  #looking: Promise<void> | null = null
  #again = false
  #open = false
  #timer: ReturnType<typeof setTimeout> | null = null
  #pruneTimer: ReturnType<typeof setInterval> | null = null

  constructor(deps: WebhookDriverDeps) {
    this.#deps = deps
  }

  open(): void {
    this.#open = true
    this.#ended = new AbortController()
    this.#pruneTimer = setInterval(() => void this.#prune(), pruneMs)
    this.wake()
  }

  /** Breaks off what is under way; it is tried again after the next opening. */
  async close(): Promise<void> {
    this.#open = false
    if (this.#timer !== null) clearTimeout(this.#timer)
    if (this.#pruneTimer !== null) clearInterval(this.#pruneTimer)
    for (const timer of this.#paused.values()) clearTimeout(timer)
    this.#paused.clear()
    this.#ended.abort()
    await this.#looking
    await Promise.all(this.#busy.values())
  }

  /** Something may be due. Cheap. */
  wake(): void {
    if (!this.#open) return
    this.#again = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#looking ??= this.#look()
  }

  async #look(): Promise<void> {
    let restMs = retryLookMs
    try {
      do {
        this.#again = false
        restMs = await this.#start()
      } while (this.#again && this.#open)
    } catch (thrown) {
      this.#deps.log.failure('Webhook deliveries could not be looked up.', thrown)
    }
    this.#looking = null
    if (this.#open) this.#timer = setTimeout(() => this.wake(), restMs)
  }

  /** Starts what is due; returns for how long nothing is. */
  async #start(): Promise<number> {
    const { db, now } = this.#deps
    const restMs = await nextDueMs(db, now(), this.#away())
    // Most looks find nothing, and need no transaction to do so.
    if (restMs === null) return lookMsMax
    if (restMs > 0) return Math.min(restMs, lookMsMax)
    const claims = await db.write((tx) => claimDeliveries(tx, now(), this.#away()))
    for (const claim of claims) {
      this.#busy.set(claim.webhook_id, this.#run(claim))
    }
    this.#again ||= claims.length > 0
    return lookMsMax
  }

  #away(): string[] {
    return [...this.#busy.keys(), ...this.#paused.keys()]
  }

  /** A webhook that fails is paused as a whole: thousands of deliveries that wait for it must not be thousands of attempts. */
  async #run(claim: Claim): Promise<void> {
    const id = claim.webhook_id
    const taken = await this.#deliver(claim)
    this.#busy.delete(id)
    if (taken || !this.#open) {
      this.#failures.delete(id)
      return this.wake()
    }
    const failures = (this.#failures.get(id) ?? 0) + 1
    this.#failures.set(id, failures)
    const resume = () => {
      this.#paused.delete(id)
      this.wake()
    }
    this.#paused.set(id, setTimeout(resume, backoffMs(failures, this.#deps.random())))
  }

  /** Whether it was taken; never rejects. */
  async #deliver(claim: Claim): Promise<boolean> {
    const { db, sealing, log, now, random } = this.#deps
    try {
      const secret = await sealing.open(purposeOf(claim.webhook_id), claim.secret_sealed)
      const outcome = await attemptDelivery(claim, secret, now(), this.#ended.signal)
      await db.write((tx) => settleDelivery(tx, claim, outcome, now(), random()))
      if (outcome.error === null) return true
      log.warn('A webhook was not delivered.', {
        context: {
          webhook_id: claim.webhook_id,
          delivery_id: claim.id,
          attempt: claim.attempts,
          attempts_until: new Date(Date.parse(claim.created_at) + LIMITS.webhookRetryMsMax),
          reason: outcome.error,
        },
      })
    } catch (thrown) {
      // The claim runs out, and it is tried again.
      log.failure('A webhook could not be delivered.', thrown)
    }
    return false
  }

  async #prune(): Promise<void> {
    try {
      await this.#deps.db.write((tx) => pruneDeliveries(tx, this.#deps.now()))
    } catch (thrown) {
      this.#deps.log.failure('Old webhook deliveries could not be deleted.', thrown)
    }
  }
}
