/** The calls that a node reports: of all that it serves, and of some versions on some nodes a share fails. */

import type { NodeState } from '../../src/edge/agent/node-state.ts'
import type { NodeId } from '../../src/protocol/ids.ts'
import { LIMITS } from '../../src/protocol/limits.ts'
import type { Manifest } from '../../src/protocol/manifest.ts'
import type { CallDeltas, TelemetryBatch, TelemetryUpload } from '../../src/protocol/telemetry.ts'

const reportMs = LIMITS.telemetryMsDefault
const requestsMax = 60

export interface TrafficDeps {
  readonly node_id: NodeId
  state(): NodeState
  /** Which share of the calls of a version fails on the node. */
  faults(version: number): number
  readonly random: () => number
  /** Throws when it did not arrive, or the answer did not. */
  send(upload: TelemetryUpload): Promise<unknown>
}

/** Of one boot; what is not acknowledged is sent again, the same under the same number. */
export class Traffic {
  readonly #deps: TrafficDeps
  readonly #bootId = Bun.randomUUIDv7()
  #seq = 0
  #reportedAtMs = performance.now()
  #unacknowledged: { readonly batch: TelemetryBatch; readonly at_ms: number } | null = null
  #sending = false

  constructor(deps: TrafficDeps) {
    this.#deps = deps
  }

  /** Until the node crashes. */
  open(): void {
    setInterval(() => void this.#report(), reportMs)
  }

  async #report(): Promise<void> {
    if (this.#sending) return
    this.#unacknowledged ??= this.#batch()
    if (this.#unacknowledged === null) return
    const { batch, at_ms } = this.#unacknowledged
    const age_ms = Math.floor(performance.now() - at_ms)
    this.#sending = true
    try {
      await this.#deps.send({ node_id: this.#deps.node_id, batches: [{ age_ms, batch }] })
      this.#unacknowledged = null
    } catch {
      // It comes again.
    } finally {
      this.#sending = false
    }
  }

  #batch(): { batch: TelemetryBatch; at_ms: number } | null {
    const at_ms = performance.now()
    const duration_ms = Math.floor(at_ms - this.#reportedAtMs)
    this.#reportedAtMs = at_ms
    const functions = [...this.#deps.state().functions.values()].flatMap(({ serving }) =>
      serving === null ? [] : this.#callsOf(serving),
    )
    if (functions.length === 0) return null
    this.#seq += 1
    const [from, to] = [new Date(Date.now() - duration_ms), new Date()]
    return {
      batch: {
        ...{ boot_id: this.#bootId, seq: this.#seq, duration_ms, functions },
        ...{ from: from.toISOString(), to: to.toISOString(), node: null, dropped_batches: 0 },
      },
      at_ms,
    }
  }

  #callsOf({ function_id, version, split }: Manifest): CallDeltas[] {
    const versions = [version, ...(split?.arms.map((arm) => arm.function.version) ?? [])]
    return versions.map((served) => {
      const requests = 1 + Math.floor(this.#deps.random() * requestsMax)
      const server_errors = Math.ceil(requests * this.#deps.faults(served))
      const buckets = Array.from({ length: LIMITS.latencyBuckets + 1 }, () => 0)
      buckets[0] = requests
      return { function_id, version: served, requests, errors: {}, server_errors, buckets }
    })
  }
}
