/**
 * Nodes as witnesses of the audit log: each keeps the newest head it was told of and sends it with its heartbeats. Whoever cuts
 * or rewrites the log, in the database and consistently, cannot change what nodes have seen [R14.4 P33].
 */

import { headOf, type AuditHead } from '../../protocol/audit-chain.ts'
import type { SeenHead } from '../../protocol/audit.ts'
import type { NodeId } from '../../protocol/ids.ts'
import type { Log } from '../../telemetry/log.ts'
import type { RequestContext } from '../context.ts'
import type { Database, Row, Sql, SqlValue, Transaction } from '../db/database.ts'
import type { RecordEvent } from '../events.ts'
import type { Sealing } from '../sealing.ts'
import { isAccepted, proveAcceptance } from './acceptance.ts'
import type { RecordAudit } from './audit.ts'
import { hexColumns, hexOf, textOf, textRow } from './hex-text.ts'
import { SeenHeads, type ToldHead } from './seen-heads.ts'
import type { AuditStore } from './store.ts'

/** How long a row that was compared counts as it was, for heads without an answer: most nodes have seen the same one. */
const comparedMs = 5_000
const comparedMax = 1_000
/** Mismatches of one node that are recorded until they are accepted: a node that invents heads does not fill the log. */
const recordedPerNodeMax = 10
/** Heads in one verification. */
const headsMax = 1_000

export interface WitnessDeps {
  readonly db: Database
  readonly store: AuditStore
  /** Proves what was accepted. */
  readonly sealing: Sealing
  readonly recordEvent: RecordEvent
  readonly log: Log
  /** Counts heads that the log does not have, for the metrics. */
  readonly countMismatch: () => void
  readonly now: () => number
}

/** A head for a node to keep. */
export type GivenHead = AuditHead & { readonly replaces: boolean }

type SeenKey = Pick<SeenHead, 'node_id' | 'seq' | 'hash'>

type Comparison = 'matches' | 'missing' | 'differs'

export class AuditWitness {
  readonly #deps: WitnessDeps
  readonly #seen: SeenHeads
  readonly #compared = new Map<number, { readonly hash: string | null; readonly at: number }>()
  /** Mismatches that this process has told of; the table has those of others. */
  readonly #told = new Set<string>()

  constructor(deps: WitnessDeps) {
    this.#deps = deps
    this.#seen = new SeenHeads(deps)
  }

  open(): void {
    this.#seen.open()
  }

  /** Stores the heads that are not stored yet. */
  close(): Promise<void> {
    return this.#seen.close()
  }

  /** The node is deleted in this transaction. */
  nodeLeaving(tx: Transaction, nodeId: NodeId): Promise<void> {
    return this.#seen.delete(tx, nodeId)
  }

  /** Takes the head that came with a heartbeat. Never throws: a heartbeat is a sign of life first. */
  async heard(nodeId: NodeId, head: AuditHead | undefined): Promise<void> {
    try {
      if (head !== undefined) await this.#check(nodeId, head, await this.#hashAt(head.seq))
    } catch (thrown) {
      this.#deps.log.failure('The head of a node was not compared with the audit log.', thrown, {
        node_id: nodeId,
      })
    }
  }

  /**
   * Takes a head and gives the newest one for the answer. Undefined where the log does not have what the node has seen:
   * the node keeps that then, and goes on telling of it. Both are read at one moment: a node that is given the head of a
   * log just rewritten would forget what it can prove. Never throws.
   */
  async exchange(nodeId: NodeId, head: AuditHead | undefined): Promise<GivenHead | undefined> {
    try {
      const { newest, found } = await headAndHash(this.#deps.db, head?.seq ?? 0)
      const comparison = head === undefined ? 'matches' : await this.#check(nodeId, head, found)
      const replaces = comparison !== 'matches'
      if (replaces && !(head !== undefined && (await this.#isAccepted(nodeId, head)))) {
        return undefined
      }
      return newest === null ? undefined : { ...newest, replaces }
    } catch (thrown) {
      this.#deps.log.failure('The head of the audit log could not be given to a node.', thrown, {
        node_id: nodeId,
      })
      return undefined
    }
  }

  forget(nodeId: NodeId): void {
    this.#seen.forget(nodeId)
  }

  /** All heads that nodes have told of, now or before this start, compared anew: those that the log does not have first, then by node. */
  async heads(): Promise<{
    heads: SeenHead[]
    nodes: number
    nodes_stored: number
    mismatches: number
  }> {
    const { db, sealing } = this.#deps
    const told = await this.#seen.all()
    const found = await hashesAt(
      db,
      [...told.values()].map(({ head }) => head.seq),
    )
    const seen = new Map<string, SeenHead>()
    for (const [node_id, { head, at }] of told) {
      const state = compareHash(head, found.get(head.seq) ?? null)
      seen.set(keyOf(node_id, head), { node_id, ...head, state, reported_at: at })
    }
    for (const row of await mismatches(db, 'ORDER BY detected_at')) {
      const { node_id, seq, hash } = row as unknown as SeenHead
      const state = (await isAccepted(sealing, row))
        ? 'accepted'
        : row['found_hash'] === null
          ? 'missing'
          : 'differs'
      const reported_at = String(row['detected_at'])
      seen.set(keyOf(node_id, { seq, hash }), { node_id, seq, hash, state, reported_at })
    }
    const heads = [...seen.values()].sort((a, b) => a.node_id.localeCompare(b.node_id))
    const bad = heads.filter(({ state }) => state === 'missing' || state === 'differs')
    const others = heads.filter((head) => !bad.includes(head))
    return {
      heads: [...bad, ...others].slice(0, headsMax),
      nodes: told.size,
      nodes_stored: [...told.values()].filter(({ stored }) => stored).length,
      mismatches: bad.length,
    }
  }

  /** Takes all mismatches as known; their nodes get the head of the log as it is. Answers how many. */
  async accept(context: RequestContext, reason: string): Promise<number> {
    const { sealing } = this.#deps
    const told = await this.#seen.all()
    return this.#deps.db.write(async (tx) => {
      const at = new Date(this.#deps.now()).toISOString()
      // Of nodes that have not spoken since the log became another one, and perhaps never will.
      await recordStored(tx, told, at)
      const open: SeenKey[] = []
      for (const row of await mismatches(tx, 'ORDER BY node_id')) {
        if (await isAccepted(sealing, row)) continue
        const { node_id, seq, hash } = row as unknown as SeenKey
        open.push({ node_id, seq, hash })
        await tx.run(
          `UPDATE audit_mismatches SET accepted_at = ?, accepted_proof = ?
           WHERE node_id = ? AND seq = ? AND hash = ?`,
          [at, await proveAcceptance(sealing, node_id, { seq, hash }), node_id, seq, hash],
        )
      }
      await this.#deps.store.record(tx, context, {
        resource_type: 'audit_log',
        resource_id: 'mismatches',
        operation: 'accept',
        before: open.slice(0, headsMax),
        after: { reason, accepted: open.length },
      })
      return open.length
    })
  }

  async #check(nodeId: NodeId, head: AuditHead, found: string | null): Promise<Comparison> {
    const at = new Date(this.#deps.now()).toISOString()
    this.#seen.tell(nodeId, head, at)
    const comparison = compareHash(head, found)
    if (comparison !== 'matches') await this.#tell(nodeId, head, comparison, found, at)
    return comparison
  }

  async #hashAt(seq: number): Promise<string | null> {
    const now = this.#deps.now()
    const known = this.#compared.get(seq)
    if (known !== undefined && now - known.at < comparedMs && now >= known.at) return known.hash
    const hash = (await hashesAt(this.#deps.db, [seq])).get(seq) ?? null
    if (this.#compared.size >= comparedMax) this.#compared.clear()
    // What is not there may be written any moment.
    if (hash !== null) this.#compared.set(seq, { hash, at: now })
    return hash
  }

  /** Recorded once for ever, told of once by each process. */
  async #tell(
    nodeId: NodeId,
    head: AuditHead,
    state: 'missing' | 'differs',
    found: string | null,
    at: string,
  ): Promise<void> {
    const key = keyOf(nodeId, head)
    if (this.#told.has(key)) return
    const { db, log, recordEvent, countMismatch, store } = this.#deps
    const told = await db.write(async (tx) => {
      const added = await tx.run(
        `INSERT INTO audit_mismatches (node_id, seq, hash, found_hash, detected_at) SELECT ?1, ?2, ?3, ?4, ?5
         WHERE (SELECT count(*) FROM audit_mismatches WHERE node_id = ?1 AND accepted_at IS NULL) < ?6
         ON CONFLICT DO NOTHING`,
        [nodeId, head.seq, head.hash, found, at, recordedPerNodeMax],
      )
      if (added === 0) return null
      const caller = { kind: 'node', node_id: nodeId } as const
      const entry = { seq: head.seq, hash: head.hash, found_hash: found, state }
      await store.record(tx, { caller, request_id: 'heartbeat', ip: '' }, {
        resource_type: 'audit_log',
        resource_id: String(head.seq),
        operation: 'mismatch',
        before: null,
        after: entry,
      } satisfies Parameters<RecordAudit>[2])
      return recordEvent(tx, { type: 'audit', node_id: nodeId, ...head, status: state, at })
    })
    if (this.#told.size >= comparedMax) this.#told.clear()
    this.#told.add(key)
    const recorded = await this.#recorded(nodeId, head)
    if (recorded === null || (await isAccepted(this.#deps.sealing, recorded))) return
    countMismatch()
    const what = state === 'missing' ? 'no longer has' : 'has another row in place of'
    log.error(`The audit log ${what} row ${head.seq}, which node ${nodeId} has seen.`, {
      node_id: nodeId,
      context: { seq: head.seq, seen_hash: head.hash, found_hash: found },
    })
    told?.()
  }

  async #isAccepted(nodeId: NodeId, head: AuditHead): Promise<boolean> {
    const row = await this.#recorded(nodeId, head)
    return row !== null && isAccepted(this.#deps.sealing, row)
  }

  async #recorded(nodeId: NodeId, { seq, hash }: AuditHead): Promise<Row | null> {
    const where = 'WHERE node_id = ? AND seq = ? AND hash = ?'
    return (await mismatches(this.#deps.db, where, [nodeId, seq, hash]))[0] ?? null
  }
}

const MISMATCH_COLUMNS = hexColumns([
  ...['node_id', 'seq', 'hash', 'found_hash', 'detected_at', 'accepted_at', 'accepted_proof'],
])

async function mismatches(
  sql: Sql,
  which: string,
  parameters: readonly SqlValue[] = [],
): Promise<Row[]> {
  const rows = await sql.all(
    `SELECT ${MISMATCH_COLUMNS} FROM audit_mismatches ${which}`,
    parameters,
  )
  return rows.map(textRow)
}

/** Records stored heads that the log does not have; those that were told are recorded as they come. */
async function recordStored(
  tx: Transaction,
  told: ReadonlyMap<NodeId, ToldHead>,
  at: string,
): Promise<void> {
  const stored = [...told].flatMap(([node_id, { head, stored }]) =>
    stored ? [{ node_id, ...head }] : [],
  )
  await tx.run(
    `INSERT INTO audit_mismatches (node_id, seq, hash, found_hash, detected_at)
     SELECT h.value ->> 'node_id', h.value ->> 'seq', h.value ->> 'hash',
       CASE WHEN l.hash GLOB '*[^0-9a-f]*' THEN 'no hash' ELSE l.hash END, ?2
     FROM json_each(?1) AS h LEFT JOIN audit_log AS l ON l.seq = h.value ->> 'seq'
     WHERE l.hash IS NOT h.value ->> 'hash'
     ON CONFLICT DO NOTHING`,
    [JSON.stringify(stored), at],
  )
}

function compareHash(head: AuditHead, found: string | null): Comparison {
  if (found === null) return 'missing'
  return found === head.hash ? 'matches' : 'differs'
}

function keyOf(nodeId: string, head: AuditHead): string {
  return `${nodeId}/${head.seq}/${head.hash}`
}

/** The newest row, and the hash of one row, as they are in one state of the log. */
async function headAndHash(
  sql: Sql,
  seq: number,
): Promise<{ newest: AuditHead | null; found: string | null }> {
  const row = await sql.get(
    `SELECT seq, ${hexOf('hash')} AS hash, (SELECT ${hexOf('hash')} FROM audit_log WHERE seq = ?) AS found
     FROM audit_log ORDER BY seq DESC LIMIT 1`,
    [seq],
  )
  if (row === null) return { newest: null, found: null }
  return {
    newest: headOf({ seq: Number(row['seq']), hash: textOf(row['hash']) ?? '' }),
    found: textOf(row['found']),
  }
}

async function hashesAt(sql: Sql, seqs: readonly number[]): Promise<Map<number, string>> {
  const rows = await sql.all(
    `SELECT seq, ${hexOf('hash')} AS hash FROM audit_log
     WHERE seq IN (SELECT value FROM json_each(?))`,
    [JSON.stringify([...new Set(seqs)])],
  )
  return new Map(rows.map((row) => [Number(row['seq']), textOf(row['hash']) ?? '']))
}
