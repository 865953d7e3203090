/**
 * The newest head of the audit log that each node has told of: in memory as they come, stored every half minute, so that a control
 * plane that starts anew can name what was seen before. What is stored proves less than the nodes themselves: whoever can write the
 * database can write this table too.
 */

import type { AuditHead } from '../../protocol/audit-chain.ts'
import type { NodeId } from '../../protocol/ids.ts'
import type { Log } from '../../telemetry/log.ts'
import type { Database, Transaction } from '../db/database.ts'
import { hexColumns, textRow } from './hex-text.ts'

/** Milliseconds between transactions, each of all heads that changed meanwhile; what a crash forgets. */
const flushMs = 30_000

export interface ToldHead {
  readonly head: AuditHead
  /** When it was told; of one that is told again, the last time in memory and the first one in the database. */
  readonly at: string
  /** Not told to this process: by an earlier one, or by another on the database. */
  readonly stored: boolean
}

export interface SeenHeadsDeps {
  readonly db: Database
  readonly log: Log
}

export class SeenHeads {
  readonly #deps: SeenHeadsDeps
  readonly #told = new Map<NodeId, ToldHead>()
  /** Whose head is another one than is stored. */
  #dirty = new Set<NodeId>()
  #timer: ReturnType<typeof setInterval> | null = null
  #flushing: Promise<void> = Promise.resolve()

  constructor(deps: SeenHeadsDeps) {
    this.#deps = deps
  }

  open(): void {
    this.#timer = setInterval(() => void this.flush(), flushMs)
  }

  /** Stores what is not stored yet. */
  async close(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer)
    await this.flush()
  }

  /** Costs no transaction, as every heartbeat has one. */
  tell(nodeId: NodeId, head: AuditHead, at: string): void {
    const before = this.#told.get(nodeId)?.head
    if (before?.seq !== head.seq || before.hash !== head.hash) this.#dirty.add(nodeId)
    this.#told.set(nodeId, { head, at, stored: false })
  }

  forget(nodeId: NodeId): void {
    this.#told.delete(nodeId)
    this.#dirty.delete(nodeId)
  }

  /** The node is deleted in this transaction. */
  async delete(tx: Transaction, nodeId: NodeId): Promise<void> {
    await tx.run('DELETE FROM audit_heads WHERE node_id = ?', [nodeId])
  }

  /** Of each node what it told this process, else what is stored. */
  async all(): Promise<Map<NodeId, ToldHead>> {
    const columns = hexColumns(['node_id', 'seq', 'hash', 'at'])
    const rows = await this.#deps.db.all(`SELECT ${columns} FROM audit_heads`)
    const stored = rows.map(textRow).map((row): [NodeId, ToldHead] => {
      const head = { seq: Number(row['seq']), hash: String(row['hash']) }
      return [row['node_id'] as NodeId, { head, at: String(row['at']), stored: true }]
    })
    return new Map([...stored, ...this.#told])
  }

  /** Stores all heads that changed in one transaction; a failure is logged, and the next flush tries again. */
  flush(): Promise<void> {
    this.#flushing = this.#flushing.then(() => this.#write())
    return this.#flushing
  }

  async #write(): Promise<void> {
    const dirty = this.#dirty
    if (dirty.size === 0) return
    this.#dirty = new Set()
    const heads = [...dirty].flatMap((node_id) => {
      const told = this.#told.get(node_id)
      return told === undefined ? [] : [{ node_id, ...told.head, at: told.at }]
    })
    try {
      await this.#deps.db.write((tx) =>
        tx.run(
          `INSERT INTO audit_heads (node_id, seq, hash, at)
           SELECT h.value ->> 'node_id', h.value ->> 'seq', h.value ->> 'hash', h.value ->> 'at'
           FROM json_each(?) AS h WHERE h.value ->> 'node_id' IN (SELECT id FROM nodes)
           ON CONFLICT (node_id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, at = excluded.at`,
          [JSON.stringify(heads)],
        ),
      )
    } catch (thrown) {
      this.#deps.log.failure('The heads that nodes have seen could not be stored.', thrown)
      for (const nodeId of dirty) if (this.#told.has(nodeId)) this.#dirty.add(nodeId)
    }
  }
}
