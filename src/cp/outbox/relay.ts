/**
 * The relay pushes due notices to connected nodes until they are acknowledged: at least once, with backoff [R2.3 R2.4].
 * All its state that matters is in the outbox table, so a restart loses nothing.
 */

import { LIMITS } from '../../protocol/limits.ts'
import type { DeploymentId, NodeId } from '../../protocol/ids.ts'
import type { Notice } from '../../protocol/messages.ts'
import type { Log } from '../../telemetry/log.ts'
import type { Database, Transaction } from '../db/database.ts'
import type { DeployContent } from './notices.ts'
import { noticeOf } from './payload.ts'
import type { Outbox, OutboxRow } from './store.ts'

/** Notices taken from the table at once, and of those for one node. */
const pushesPerTickMax = 256
const pushesPerNodeMax = 16
/** Milliseconds between ticks: what nodes do together, a thousand acknowledgements, is looked at together. */
const tickMsMin = 10
/** Milliseconds between looks at whether another control plane has made a change. */
const othersMs = 1000
/** Milliseconds after which a tick that failed is tried again. */
const tickRetryMs = 1000

export interface RelayDeps {
  readonly db: Database
  readonly outbox: Outbox
  readonly deployContent: DeployContent
  /** Resolves when the packet is written to the node's connection; rejects when it cannot be. */
  readonly publish: (nodeId: NodeId, notice: Notice) => Promise<void>
  /** Given by deployments: a node has a deploy notice; the result is run after the commit. */
  readonly notified: (
    tx: Transaction,
    nodeId: NodeId,
    deploymentId: DeploymentId,
  ) => Promise<() => void>
  readonly log: Log
  /** Unix time in milliseconds. */
  readonly now: () => number
  readonly random: () => number
}

export class Relay {
  readonly #deps: RelayDeps
  /** Connected nodes, and whether a push to them is under way. */
  readonly #nodes = new Map<NodeId, { pushing: boolean }>()
  #acks: { node_id: NodeId; notice_id: string }[] = []
  #arrivals: NodeId[] = []
  #timer: ReturnType<typeof setTimeout> | null = null
  #running: Promise<void> | null = null
  #again = false
  #open = false
  /** When the last tick ended, and when the next is (performance.now). */
  #tickedAt = 0
  #lookAt = 0
  #othersTimer: ReturnType<typeof setInterval> | null = null
  /** The newest revision when it was last looked at. */
  #revision = 0

  constructor(deps: RelayDeps) {
    this.#deps = deps
  }

  open(): void {
    this.#open = true
    this.#othersTimer = setInterval(() => void this.#lookAtOthers(), othersMs)
    this.wake()
  }

  /** Waits for the tick under way; pushes not yet acknowledged are made again after the next open. */
  async close(): Promise<void> {
    this.#open = false
    if (this.#othersTimer !== null) clearInterval(this.#othersTimer)
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    await this.#running
  }

  /** Something may be due. Cheap, and safe to call from inside a transaction: the look comes after it. */
  wake(): void {
    this.#again = true
    if (!this.#open || this.#running !== null) return
    const restMs = this.#tickedAt + tickMsMin - performance.now()
    this.#lookIn(Math.max(restMs, 0))
  }

  /** Sets when the next tick is; one that was further off is off. */
  #lookIn(ms: number): void {
    const at = performance.now() + ms
    if (this.#timer !== null && this.#lookAt <= at) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#lookAt = at
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#again = true
      this.#running = this.#run()
    }, ms)
  }

  /** The node can receive: whatever waits for it is due now. */
  connected(nodeId: NodeId): void {
    this.#nodes.set(nodeId, { pushing: false })
    this.#arrivals.push(nodeId)
    this.wake()
  }

  disconnected(nodeId: NodeId): void {
    this.#nodes.delete(nodeId)
  }

  /** The node has the notice. Acknowledgements that come together are written together. */
  acknowledge(nodeId: NodeId, noticeId: string): void {
    this.#acks.push({ node_id: nodeId, notice_id: noticeId })
    this.wake()
  }

  /** A change that was made at another control plane concerns nodes that are connected here as well. */
  async #lookAtOthers(): Promise<void> {
    if (this.#nodes.size === 0) return
    try {
      const revision = await this.#deps.outbox.revision(this.#deps.db)
      if (revision !== this.#revision) this.wake()
      this.#revision = revision
    } catch {
      // The database is away; what this control plane itself does with it says so.
    }
  }

  async #run(): Promise<void> {
    let delayMs: number | null = null
    let failed = false
    try {
      this.#again = false
      await this.#writeAcks()
      if (this.#open && this.#nodes.size > 0) await this.#push()
      delayMs = await this.#delayMs()
    } catch (thrown) {
      this.#deps.log.failure('Pushing notices failed.', thrown)
      failed = true
    }
    this.#running = null
    this.#tickedAt = performance.now()
    if (!this.#open) return
    if (this.#again && !failed) return this.wake()
    if (failed) delayMs = tickRetryMs
    if (delayMs !== null) this.#lookIn(delayMs)
  }

  /** Those that cannot be written are not kept: their notices are pushed again, and one at fault would hold up all pushes. */
  async #writeAcks(): Promise<void> {
    const acks = this.#acks
    if (acks.length === 0) return
    this.#acks = []
    const { db, outbox, notified } = this.#deps
    const afterCommit = await db.write(async (tx) => {
      const steps: (() => void)[] = []
      for (const ack of acks) {
        const row = await outbox.acknowledge(tx, ack.node_id, ack.notice_id)
        if (row?.type !== 'deploy' || row.deployment_id === null) continue
        steps.push(await notified(tx, row.node_id, row.deployment_id))
      }
      return steps
    })
    for (const step of afterCommit) step()
  }

  /** Claims what is due for nodes that are not busy and sends it; nobody waits for a slow node. */
  async #push(): Promise<void> {
    const arrivals = this.#arrivals
    this.#arrivals = []
    const { db, outbox, now, random } = this.#deps
    const claim = async (): Promise<OutboxRow[]> => {
      const waiting = await outbox.nodesWaiting(db)
      const come = new Set(arrivals).intersection(new Set(waiting))
      if (come.size === 0 && this.#idleOf(waiting).length === 0) return []
      return db.write(async (tx) => {
        for (const nodeId of come) await outbox.makeDue(tx, nodeId, now())
        return outbox.claimDue(tx, {
          node_ids: this.#idleOf(waiting),
          now_ms: now(),
          rows_max: pushesPerTickMax,
          rows_per_node_max: pushesPerNodeMax,
          random,
        })
      })
    }
    const rows = await claim().catch((thrown: unknown) => {
      this.#arrivals.unshift(...arrivals)
      throw thrown
    })
    if (rows.length === 0) return
    if (rows.length === pushesPerTickMax) this.#again = true
    const overtaken: string[] = []
    for (const [nodeId, ofNode] of Map.groupBy(rows, (row) => row.node_id)) {
      const notices: Notice[] = []
      for (const row of ofNode) {
        const notice = await this.#build(row)
        if (notice === 'overtaken') overtaken.push(row.id)
        else if (notice !== 'unavailable') notices.push(notice)
      }
      void this.#send(nodeId, notices)
    }
    if (overtaken.length > 0) await db.write((tx) => outbox.discard(tx, overtaken))
  }

  /** A notice that cannot be made now waits for its next attempt and holds up no other. */
  async #build(row: OutboxRow): Promise<Notice | 'overtaken' | 'unavailable'> {
    const { db, deployContent, log } = this.#deps
    try {
      return (await noticeOf(db, row, deployContent)) ?? 'overtaken'
    } catch (thrown) {
      log.failure('A notice could not be made.', thrown, { node_id: row.node_id })
      return 'unavailable'
    }
  }

  async #send(nodeId: NodeId, notices: readonly Notice[]): Promise<void> {
    const node = this.#nodes.get(nodeId)
    if (node === undefined || notices.length === 0) return
    node.pushing = true
    try {
      for (const notice of notices) await this.#deps.publish(nodeId, notice)
    } catch (thrown) {
      // The row stays and its next attempt is set already; the backoff is the handling.
      this.#deps.log.with({ node_id: nodeId }).failure('A notice could not be pushed.', thrown)
    } finally {
      node.pushing = false
      this.wake()
    }
  }

  /** Milliseconds until the next row of a node is due; null when none waits. A busy node wakes us when it is done. */
  async #delayMs(): Promise<number | null> {
    const { db, outbox } = this.#deps
    if (this.#nodes.size === 0) return null
    const idle = this.#idleOf(await outbox.nodesWaiting(db))
    if (idle.length === 0) return null
    const due = await outbox.nextDueMs(db, idle)
    if (due === null) return null
    return Math.min(Math.max(due - this.#deps.now(), 1), LIMITS.backoffMsMax)
  }

  /** Those that are connected and not being sent to. */
  #idleOf(nodeIds: readonly NodeId[]): NodeId[] {
    return nodeIds.filter((nodeId) => this.#nodes.get(nodeId)?.pushing === false)
  }
}
