/** Who is alive: heartbeats are kept in memory and written in batches, so that a beat costs no transaction. */

import type { TroubleView } from '../../protocol/api.ts'
import type { FunctionId, NodeId, PopId } from '../../protocol/ids.ts'
import type { FunctionStatus, Heartbeat, NodeStatus } from '../../protocol/messages.ts'
import type { Log } from '../../telemetry/log.ts'
import type { Database } from '../db/database.ts'
import type { PublishEvent } from '../events.ts'
import { statusOf, type Life } from './life.ts'
import { allNodes, writeLifeSigns, type LifeSigns } from './store.ts'

/** Milliseconds between batches of heartbeats; what a crash of the control plane forgets. */
const flushMs = 5_000
/** Looks at the clock per heartbeat interval; a change of status is seen this much late at most. */
const looksPerHeartbeat = 10

export interface LivenessDeps {
  readonly db: Database
  readonly log: Log
  readonly publishEvent: PublishEvent
  readonly heartbeat_ms: number
  /** Milliseconds that never step back. */
  readonly monotonicMs: () => number
}

interface NodeLife extends Life {
  readonly pop_id: PopId
  /** As last derived, and as last written. */
  readonly status: NodeStatus
  readonly beat: Heartbeat | null
  readonly beat_at: string | null
  readonly dirty: boolean
}

export class Liveness {
  readonly #deps: LivenessDeps
  readonly #nodes = new Map<NodeId, NodeLife>()
  #lookTimer: ReturnType<typeof setInterval> | null = null
  #flushTimer: ReturnType<typeof setInterval> | null = null
  #flushing: Promise<void> = Promise.resolve()

  constructor(deps: LivenessDeps) {
    this.#deps = deps
  }

  /** Reads the nodes. Those that were alive when the control plane ended get their full time to beat again. */
  async open(): Promise<void> {
    const now = this.#deps.monotonicMs()
    for (const row of await allNodes(this.#deps.db)) {
      const seen_ms = row.status === 'offline' ? null : now
      const { pop_id, status } = row
      const life = {
        pop_id,
        said: status,
        seen_ms,
        status,
        beat: null,
        beat_at: null,
        dirty: false,
      }
      this.#nodes.set(row.id, life)
    }
    this.#lookTimer = setInterval(
      () => this.look(),
      Math.max(this.#deps.heartbeat_ms / looksPerHeartbeat, 10),
    )
    this.#flushTimer = setInterval(() => void this.flush(), flushMs)
  }

  /** Writes what is not written yet. */
  async close(): Promise<void> {
    if (this.#lookTimer !== null) clearInterval(this.#lookTimer)
    if (this.#flushTimer !== null) clearInterval(this.#flushTimer)
    this.#lookTimer = null
    this.#flushTimer = null
    await this.flush()
  }

  /** A node registered; it is offline until it gives a sign. */
  joined(nodeId: NodeId, popId: PopId): void {
    if (this.#nodes.has(nodeId)) return
    this.#nodes.set(nodeId, {
      pop_id: popId,
      said: 'offline',
      seen_ms: null,
      status: 'offline',
      beat: null,
      beat_at: null,
      dirty: false,
    })
  }

  forget(nodeId: NodeId): void {
    this.#nodes.delete(nodeId)
  }

  /** Takes a heartbeat of a node that has been authenticated; of an unknown node nothing is kept. */
  beat(beat: Heartbeat): void {
    const life = this.#nodes.get(beat.node_id)
    if (life === undefined) return
    const beat_at = new Date().toISOString()
    const seen_ms = this.#deps.monotonicMs()
    this.#update(beat.node_id, { ...life, said: beat.status, seen_ms, beat, beat_at, dirty: true })
  }

  /** Takes a status message, or the last will. */
  said(nodeId: NodeId, status: NodeStatus): void {
    const life = this.#nodes.get(nodeId)
    if (life === undefined) return
    this.#update(nodeId, { ...life, said: status, seen_ms: this.#deps.monotonicMs() })
  }

  /** Derives every status anew; called by a timer, and by tests with their own clock. */
  look(): void {
    for (const [nodeId, life] of this.#nodes) this.#update(nodeId, life)
  }

  status(nodeId: NodeId): NodeStatus {
    return this.#nodes.get(nodeId)?.status ?? 'offline'
  }

  /** When the last heartbeat came, by the wall clock; null when none came since the start. */
  lastBeatAt(nodeId: NodeId): string | null {
    return this.#nodes.get(nodeId)?.beat_at ?? null
  }

  /** The newest heartbeat, null when none came since the start. */
  lastBeat(nodeId: NodeId): Heartbeat | null {
    return this.#nodes.get(nodeId)?.beat ?? null
  }

  /** What the node last reported of its functions. */
  functions(nodeId: NodeId): readonly FunctionStatus[] {
    return this.lastBeat(nodeId)?.functions ?? []
  }

  /** Where a function is not well, as the nodes last reported; nodes that are offline say nothing. */
  troubles(functionId: FunctionId): TroubleView[] {
    return [...this.#nodes].flatMap(([node_id, { status, beat }]) => {
      if (status === 'offline') return []
      return (beat?.functions ?? []).flatMap(({ function_id, version, state, reason }) =>
        function_id === functionId && reason !== null ? [{ node_id, version, state, reason }] : [],
      )
    })
  }

  /** How many nodes are in each status, for the metrics [C12.1]. */
  counts(): Record<NodeStatus, number> {
    const counts = { online: 0, degraded: 0, offline: 0 }
    for (const life of this.#nodes.values()) counts[life.status] += 1
    return counts
  }

  /** Writes all unwritten signs in one transaction; a failure is logged and the next flush tries again. */
  flush(): Promise<void> {
    this.#flushing = this.#flushing.then(() => this.#write())
    return this.#flushing
  }

  #update(nodeId: NodeId, life: NodeLife): void {
    const status = statusOf(life, this.#deps.monotonicMs(), this.#deps.heartbeat_ms)
    const changed = status !== life.status
    this.#nodes.set(nodeId, { ...life, status, dirty: life.dirty || changed })
    if (!changed) return
    // Lists filter by the stored status, so a change does not wait for the next batch.
    void this.flush()
    this.#deps.log.info('A node changed its status.', { node_id: nodeId, status })
    const at = new Date().toISOString()
    this.#deps.publishEvent({ type: 'node', node_id: nodeId, pop_id: life.pop_id, status, at })
  }

  async #write(): Promise<void> {
    const signs: LifeSigns[] = []
    for (const [id, life] of this.#nodes) {
      if (!life.dirty) continue
      this.#nodes.set(id, { ...life, dirty: false })
      signs.push({
        id,
        status: life.status,
        last_heartbeat: life.beat_at,
        version: life.beat?.version ?? null,
        cpu_percent: life.beat?.cpu_percent ?? null,
        mem_bytes: life.beat?.mem_bytes ?? null,
      })
    }
    if (signs.length === 0) return
    try {
      await this.#deps.db.write((tx) => writeLifeSigns(tx, signs, new Date().toISOString()))
    } catch (thrown) {
      this.#deps.log.failure('Heartbeats could not be written.', thrown)
      for (const { id } of signs) {
        const life = this.#nodes.get(id)
        if (life !== undefined) this.#nodes.set(id, { ...life, dirty: true })
      }
    }
  }
}
