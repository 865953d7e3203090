/**
 * Who is alive: heartbeats are kept in memory and written in batches, so that a beat costs no transaction. Each control plane on a
 * database hears some of the nodes; before one says that a node has fallen silent it looks whether another has heard it since.
 * Their clocks may differ: what another has written counts from when it is seen here, and the times in it are only shown.
 */

import type { TroubleView } from '../../protocol/api.ts'
import type { FunctionId, NodeId, PopId } from '../../protocol/ids.ts'
import type { FunctionStatus, Heartbeat, NodeStatus } from '../../protocol/messages.ts'
import type { Log } from '../../telemetry/log.ts'
import type { Database, Transaction } from '../db/database.ts'
import type { PublishEvent } from '../events.ts'
import { statusOf } from './life.ts'
import { allNodes, lifeRows, writeLifeSigns, type LifeRow } from './store.ts'

/** Milliseconds between batches of heartbeats; what a crash of the control plane forgets. */
const flushMs = 5_000
/** Milliseconds after which a change of status is written, with all that come meanwhile. */
const changeMs = 20
/** Milliseconds by which the clocks of control planes may differ without a word, and between two such words. */
const clocksApartMs = 5_000
const clocksToldEveryMs = 600_000
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

/** Changed in place: a fleet of ten thousand beats three hundred times a second. */
interface NodeLife {
  readonly id: NodeId
  readonly pop_id: PopId
  /** What the node last said of itself; a last will says offline. */
  said: NodeStatus
  /** Monotonic milliseconds of the last sign of life; null when there was none. */
  seen_ms: number | null
  /** As last derived. */
  status: NodeStatus
  beat: Heartbeat | null
  /** When the last beat came, by the wall clock, here or as read from the database. */
  beat_at_ms: number | null
  /** The last beat that this control plane has written to the database, or read there. */
  stored: string | null
  /** Whether what is known of it is from the database: it has not beaten here, or has beaten elsewhere since. */
  elsewhere: boolean
}

/** What one batch is about. */
interface Batch {
  /** To be written. */
  readonly dirty: Set<NodeLife>
  /** Whose status is another one. */
  readonly changed: Set<NodeLife>
  /** That this control plane has not heard for too long, or has heard of that they are gone. */
  readonly silent: Set<NodeLife>
  /** Beats of nodes that are not known here; another control plane may have taken them in. */
  readonly strangers: Map<NodeId, Heartbeat>
}

export class Liveness {
  readonly #deps: LivenessDeps
  readonly #nodes = new Map<NodeId, NodeLife>()
  #batch = emptyBatch()
  #lookTimer: ReturnType<typeof setInterval> | null = null
  #othersTimer: ReturnType<typeof setInterval> | null = null
  #flushTimer: ReturnType<typeof setInterval> | null = null
  #changeTimer: ReturnType<typeof setTimeout> | null = null
  #flushing: Promise<void> = Promise.resolve()
  /** Monotonic, as is `nowMs` everywhere here. */
  #lookedAtOthersMs = 0
  #clocksToldMs = -clocksToldEveryMs

  constructor(deps: LivenessDeps) {
    this.#deps = deps
  }

  /** Reads the nodes. Those that were alive when the control plane ended get their full time to beat again. */
  async open(): Promise<void> {
    const now = this.#deps.monotonicMs()
    for (const row of await allNodes(this.#deps.db)) this.#add(row, now)
    const lookMs = Math.max(this.#deps.heartbeat_ms / looksPerHeartbeat, 10)
    this.#lookTimer = setInterval(() => this.look(), lookMs)
    this.#othersTimer = setInterval(() => void this.lookAtOthers(), this.#deps.heartbeat_ms)
    this.#flushTimer = setInterval(() => void this.flush(), flushMs)
  }

  /** Writes what is not written yet. */
  async close(): Promise<void> {
    for (const timer of [this.#lookTimer, this.#flushTimer, this.#othersTimer])
      if (timer !== null) clearInterval(timer)
    await this.flush()
    if (this.#changeTimer !== null) clearTimeout(this.#changeTimer)
  }

  /** A node registered; it is offline until it gives a sign. */
  joined(nodeId: NodeId, popId: PopId): void {
    if (this.#nodes.has(nodeId)) return
    this.#add({ id: nodeId, pop_id: popId, status: 'offline', last_heartbeat: null }, 0)
  }

  /** Whether this control plane knows of the node; one that another took in, once it has beaten. */
  knows(nodeId: NodeId): boolean {
    return this.#nodes.has(nodeId)
  }

  /** Whether the node is one that any control plane took in; it is known here then. */
  async learn(nodeId: NodeId): Promise<boolean> {
    const [row] = await lifeRows(this.#deps.db, [nodeId])
    if (row !== undefined && !this.knows(nodeId)) this.#add(row, this.#deps.monotonicMs())
    return row !== undefined
  }

  /** The node is gone. What it said last is not written either: another one may come under its id. */
  forget(nodeId: NodeId): void {
    this.#nodes.delete(nodeId)
    this.#batch.strangers.delete(nodeId)
  }

  /** Takes a heartbeat of a node that has been authenticated; of a node that no control plane took in nothing is kept. */
  beat(beat: Heartbeat): void {
    const life = this.#nodes.get(beat.node_id)
    if (life === undefined) {
      this.#batch.strangers.set(beat.node_id, beat)
      return this.#flushSoon()
    }
    this.#take(life, beat)
  }

  /** Takes a status message, or the last will. */
  said(nodeId: NodeId, status: NodeStatus): void {
    const life = this.#nodes.get(nodeId)
    if (life === undefined) return
    life.said = status
    const now = this.#deps.monotonicMs()
    if (status !== 'offline') life.seen_ms = now
    this.#derive(life, now)
  }

  /** Derives every status anew; called by a timer, and by tests with their own clock. */
  look(): void {
    const now = this.#deps.monotonicMs()
    for (const life of this.#nodes.values()) this.#derive(life, now)
  }

  /** The status of a node as it is to be shown: by whoever heard it last. */
  statusIn(row: LifeRow): NodeStatus {
    const life = this.#nodes.get(row.id)
    if (life === undefined) return row.status
    const isWritten = textOf(life.beat_at_ms) === life.stored
    return isWritten && row.last_heartbeat !== life.stored ? row.status : life.status
  }

  /** When the last heartbeat came, by the wall clock; null when none came. */
  lastBeatAt(nodeId: NodeId): string | null {
    return textOf(this.#nodes.get(nodeId)?.beat_at_ms ?? null)
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

  #add(row: LifeRow & { readonly pop_id: PopId }, nowMs: number): NodeLife {
    const life = {
      id: row.id,
      pop_id: row.pop_id,
      said: row.status,
      seen_ms: row.status === 'offline' ? null : nowMs,
      status: row.status,
      beat: null,
      beat_at_ms: timeOf(row.last_heartbeat),
      stored: row.last_heartbeat,
      elsewhere: true,
    }
    this.#nodes.set(row.id, life)
    return life
  }

  #take(life: NodeLife, beat: Heartbeat): void {
    const now = this.#deps.monotonicMs()
    life.said = beat.status
    life.seen_ms = now
    life.beat = beat
    life.beat_at_ms = Date.now()
    life.elsewhere = false
    this.#batch.dirty.add(life)
    this.#derive(life, now)
  }

  /** Of a node that another control plane hears it takes a batch longer until a beat is seen here. */
  #statusOf(life: NodeLife, nowMs: number): NodeStatus {
    return statusOf(life, nowMs - (life.elsewhere ? flushMs : 0), this.#deps.heartbeat_ms)
  }

  /** What a node says of itself is so; that it says nothing is looked into before it counts. */
  #derive(life: NodeLife, nowMs: number): void {
    const status = this.#statusOf(life, nowMs)
    if (status === life.status) return
    if (status === 'offline' || status !== life.said) this.#batch.silent.add(life)
    else {
      life.status = status
      this.#batch.changed.add(life)
    }
    this.#flushSoon()
  }

  /** Lists filter by the stored status, so a change does not wait for the next batch; those of a fleet go together. */
  #flushSoon(): void {
    this.#changeTimer ??= setTimeout(() => {
      this.#changeTimer = null
      void this.flush()
    }, changeMs)
  }

  async #write(): Promise<void> {
    const batch = this.#batch
    if (Object.values(batch).every((part: { readonly size: number }) => part.size === 0)) return
    this.#batch = emptyBatch()
    try {
      const told = await this.#deps.db.write((tx) => this.#writeBatch(tx, batch))
      for (const life of told) this.#tell(life)
      // Whoever spoke while that was written.
      const now = this.#deps.monotonicMs()
      for (const life of batch.silent) {
        if (this.#nodes.get(life.id) === life) this.#derive(life, now)
      }
    } catch (thrown) {
      this.#deps.log.failure('Heartbeats could not be written.', thrown)
      for (const life of batch.dirty) this.#batch.dirty.add(life)
      for (const life of batch.changed) this.#batch.changed.add(life)
    }
  }

  /** Returns the nodes whose stored status has become another one. */
  async #writeBatch(tx: Transaction, batch: Batch): Promise<NodeLife[]> {
    const { dirty, changed, silent, strangers } = batch
    for (const part of [dirty, changed, silent]) this.#dropForgotten(part)
    // A beat that changes nothing here may change the row: another control plane wrote the will of the node's last connection.
    const heard = dirty.union(changed)
    const asked = [...heard.union(silent)].map((life) => life.id)
    const stored = new Map<NodeId, LifeRow>()
    if (asked.length + strangers.size > 0) {
      for (const row of await lifeRows(tx, [...asked, ...strangers.keys()])) {
        stored.set(row.id, row)
        const beat = strangers.get(row.id)
        if (beat !== undefined && !this.#nodes.has(row.id)) this.#take(this.#add(row, 0), beat)
      }
    }
    const now = this.#deps.monotonicMs()
    for (const life of silent) {
      const row = stored.get(life.id)
      if (row === undefined) this.#nodes.delete(life.id)
      else if (this.#heardElsewhere(life, row, now)) continue
      else {
        life.status = this.#statusOf(life, now)
        changed.add(life)
        heard.add(life)
      }
    }
    await writeLifeSigns(tx, [...heard].map(signOf), new Date().toISOString())
    for (const life of heard) life.stored = textOf(life.beat_at_ms)
    return [...heard].filter((life) => {
      const row = stored.get(life.id)
      return row !== undefined && row.status !== life.status
    })
  }

  /** Rows are written by id: what a node said before it was deleted must not go to its successor. */
  #dropForgotten(lives: Set<NodeLife>): void {
    for (const life of lives) if (this.#nodes.get(life.id) !== life) lives.delete(life)
  }

  /**
   * Takes over what another control plane has written of a node since it was last heard here. When that was is not asked: its
   * clock may differ, and whoever beats is written again soon.
   */
  #heardElsewhere(life: NodeLife, row: LifeRow, nowMs: number): boolean {
    if (row.last_heartbeat === life.stored) return false
    life.elsewhere = true
    life.stored = row.last_heartbeat
    life.beat_at_ms = timeOf(row.last_heartbeat)
    life.said = row.status
    life.seen_ms = nowMs
    life.status = row.status
    return true
  }

  /** Follows the nodes that other control planes hear: if one of these ends, this one knows of its nodes and can miss them. */
  async lookAtOthers(): Promise<void> {
    try {
      const known = [...this.#nodes.keys()]
      const rows = new Map((await allNodes(this.#deps.db)).map((row) => [row.id, row]))
      const now = this.#deps.monotonicMs()
      for (const row of rows.values()) {
        const life = this.#nodes.get(row.id)
        if (life === undefined) this.#add(row, now)
        else if (!life.elsewhere) continue
        else if (this.#heardElsewhere(life, row, now))
          this.#compareClocks(life.beat_at_ms ?? 0, now)
        else if (row.status !== life.status) life.said = life.status = row.status
      }
      // Another control plane has deleted them; who has joined while that was read is not among them.
      for (const id of known) if (!rows.has(id)) this.forget(id)
      this.#lookedAtOthersMs = now
    } catch (thrown) {
      this.#deps.log.failure('The nodes of other control planes could not be read.', thrown)
    }
  }

  /** A beat was written since the last look, at `beatAtMs` by another control plane's clock. */
  #compareClocks(beatAtMs: number, nowMs: number): void {
    const aheadMs = beatAtMs - Date.now()
    const oldestMs = nowMs - this.#lookedAtOthersMs + flushMs
    if (aheadMs < clocksApartMs && aheadMs > -oldestMs - clocksApartMs) return
    if (nowMs < this.#clocksToldMs + clocksToldEveryMs) return
    this.#clocksToldMs = nowMs
    this.#deps.log.warn(
      'The clock of another control plane differs, or one was set: deadlines of commands and the times shown are not to be relied on.',
      { context: { ahead_seconds: Math.round(aheadMs / 1000) } },
    )
  }

  #tell({ id, pop_id, status }: NodeLife): void {
    this.#deps.log.info('A node changed its status.', { node_id: id, status })
    const at = new Date().toISOString()
    this.#deps.publishEvent({ type: 'node', node_id: id, pop_id, status, at })
  }
}

function emptyBatch(): Batch {
  return { dirty: new Set(), changed: new Set(), silent: new Set(), strangers: new Map() }
}

function signOf({ id, status, beat, beat_at_ms }: NodeLife) {
  return {
    id,
    status,
    last_heartbeat: textOf(beat_at_ms),
    version: beat?.version ?? null,
    cpu_percent: beat?.cpu_percent ?? null,
    mem_bytes: beat?.mem_bytes ?? null,
  }
}

function textOf(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString()
}

function timeOf(text: string | null): number | null {
  return text === null ? null : Date.parse(text)
}
