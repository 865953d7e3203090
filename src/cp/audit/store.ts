/** The audit log: appended in the transaction of each change, listed, and proved unchanged [R14 P32 P33]. */

import type { AuditHead, ChainedRow } from '../../protocol/audit-chain.ts'
import {
  FIRST_PREVIOUS_HASH,
  HASHED_COLUMNS,
  hashOf,
  headOf,
  problemOf,
} from '../../protocol/audit-chain.ts'
import { actorOf } from '../context.ts'
import type { Row, Sql, SqlValue } from '../db/database.ts'
import { MIGRATIONS } from '../db/migrations.ts'
import type { RecordAudit } from './audit.ts'
import type { AuditRow } from '../../protocol/audit.ts'
import { exactTextOf, hexColumns, hexOf, textOf, textRow } from './hex-text.ts'
import type { AuditQuery } from './schema.ts'

/** Rows that a verification holds at a time. */
const verifiedRowsPerQuery = 5_000

/** Rows as one JSON text: the driver takes six times as long to hand over a row as SHA-256 over it does. */
const CHAIN = `SELECT hex(json_group_array(json_object(${[...HASHED_COLUMNS, 'hash']
  .map((column) => `'${column}', ${column}`)
  .join(', ')}))) AS chain
  FROM (SELECT * FROM audit_log WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?)`

const COLUMNS = hexColumns([...HASHED_COLUMNS, 'hash'])

/** What refuses changes of the log, and rows out of order, as migration 1 makes them: names and statements. */
const TRIGGERS = new Map(
  [...(MIGRATIONS[0]?.sql ?? '').matchAll(/CREATE TRIGGER (audit_log_\w+) [^]*?; END/g)].map(
    ([statement, name = '']) => [name, statement],
  ),
)

export interface AuditVerdict {
  readonly intact: boolean
  /** Rows that were read. */
  readonly entries: number
  /** The first row that is not what was written, and why; null when intact. */
  readonly problem: { readonly seq: number; readonly reason: string } | null
}

export interface AuditStore {
  readonly record: RecordAudit
  list(
    sql: Sql,
    query: AuditQuery,
  ): Promise<{ readonly items: AuditRow[]; readonly next_cursor: string | null }>
  /** Walks the whole chain: finds changed, missing, added and reordered rows, and a missing tail. */
  verify(sql: Sql): Promise<AuditVerdict>
  /**
   * Names of the log's triggers that somebody has dropped or replaced, and of others that do not belong there: the log may be as it was
   * written, and is open to changes.
   */
  triggersChanged(sql: Sql): Promise<string[]>
  /** The newest row; null while there is none, or when it was edited so that it is none. */
  head(sql: Sql): Promise<AuditHead | null>
}

export function createAuditStore(): AuditStore {
  return { record, list, verify, triggersChanged, head }
}

const record: RecordAudit = async function record(tx, context, entry) {
  const last = await newest(tx)
  const row = {
    seq: (last?.seq ?? 0) + 1,
    id: Bun.randomUUIDv7(),
    actor: actorOf(context.caller),
    resource_type: entry.resource_type,
    resource_id: entry.resource_id,
    operation: entry.operation,
    old_value: toJson(entry.before),
    new_value: toJson(entry.after),
    request_id: context.request_id,
    created_at: new Date().toISOString(),
    previous_hash: last === null ? FIRST_PREVIOUS_HASH : last.hash,
  }
  await tx.run(
    `INSERT INTO audit_log (seq, id, actor, resource_type, resource_id, operation, old_value, new_value,
       request_id, created_at, previous_hash, hash)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    [...Object.values(row), hashOf(row)],
  )
}

async function triggersChanged(sql: Sql): Promise<string[]> {
  const rows = await sql.all(
    `SELECT ${hexOf('name')} AS name, ${hexOf('sql')} AS sql FROM sqlite_schema
     WHERE type = 'trigger' AND tbl_name = 'audit_log'`,
  )
  const present = new Map(rows.map((row) => [textOf(row['name']) ?? '', textOf(row['sql'])]))
  const names = new Set([...TRIGGERS.keys(), ...present.keys()])
  return [...names].filter((name) => present.get(name) !== TRIGGERS.get(name))
}

async function head(sql: Sql): Promise<AuditHead | null> {
  return headOf(await newest(sql))
}

/** As it is in the table. */
async function newest(sql: Sql): Promise<AuditHead | null> {
  const row = await sql.get(
    `SELECT seq, ${hexOf('hash')} AS hash FROM audit_log ORDER BY seq DESC LIMIT 1`,
  )
  return row === null ? null : { seq: Number(row['seq']), hash: textOf(row['hash']) ?? '' }
}

async function list(sql: Sql, query: AuditQuery): ReturnType<AuditStore['list']> {
  const conditions: string[] = []
  const parameters: SqlValue[] = []
  const where = (condition: string, value: SqlValue | undefined) => {
    if (value === undefined) return
    conditions.push(condition)
    parameters.push(value)
  }
  const ascending = query.order === 'asc'
  where(ascending ? 'seq > ?' : 'seq < ?', query.cursor)
  where('created_at >= ?', query.since)
  where('created_at < ?', query.until)
  where('actor = ?', query.actor)
  where('operation = ?', query.operation)
  where('resource_type = ?', query.resource_type)
  where('resource_id = ?', query.resource_id)
  const rows = await sql.all(
    `SELECT ${COLUMNS} FROM audit_log ${conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`}
     ORDER BY seq ${ascending ? 'ASC' : 'DESC'} LIMIT ?`,
    [...parameters, query.limit + 1],
  )
  const items = rows.slice(0, query.limit).map(fromRow)
  const more = rows.length > query.limit
  return { items, next_cursor: more ? String(items[items.length - 1]?.seq) : null }
}

async function verify(sql: Sql): Promise<AuditVerdict> {
  // Rows appended meanwhile are left to the next verification.
  const head = await sql.get(`SELECT
    (SELECT seq FROM sqlite_sequence WHERE name = 'audit_log') AS highest,
    (SELECT min(seq) FROM audit_log) AS first,
    (SELECT max(seq) FROM audit_log) AS last`)
  const first = Number(head?.['first'] ?? 1)
  if (first < 1) {
    const reason = 'it stands before the first row'
    return { intact: false, entries: 0, problem: { seq: first, reason } }
  }
  const highest = Number(head?.['highest'] ?? 0)
  const last = Number(head?.['last'] ?? 0)
  let seq = 0
  let previousHash = FIRST_PREVIOUS_HASH
  const broken = (reason: string) => ({
    intact: false,
    entries: seq,
    problem: { seq: seq + 1, reason },
  })
  let limit = verifiedRowsPerQuery
  while (seq < last) {
    const page = await sql.get(CHAIN, [seq, last, limit])
    const chain = exactTextOf(page?.['chain'])
    if (chain === null && limit === 1) return broken('its text is not UTF-8')
    if (chain === null) {
      // One of them; the rows before it may be what they were.
      limit = 1
      continue
    }
    const rows = JSON.parse(chain) as ChainedRow[]
    for (const row of rows) {
      const reason = problemOf(row, seq + 1, previousHash)
      if (reason !== null) return broken(reason)
      seq += 1
      previousHash = row.hash
    }
    if (rows.length === 0) break
    // Lets requests in between; a million rows take seconds.
    await Bun.sleep(0)
  }
  if (highest === seq) return { intact: true, entries: seq, problem: null }
  return broken(`rows up to ${highest} were written, and the last ones are missing`)
}

function toJson(value: unknown): string | null {
  return value === null || value === undefined ? null : JSON.stringify(value)
}

/** The cast is the border: the columns are those of the schema, the two values are JSON that `record` wrote. */
function fromRow(row: Row): AuditRow {
  const texts = textRow(row)
  const parse = (text: SqlValue | undefined) => (typeof text === 'string' ? jsonOrText(text) : null)
  return {
    ...texts,
    old_value: parse(texts['old_value']),
    new_value: parse(texts['new_value']),
  } as AuditRow
}

/** What somebody wrote into the table by hand may be no JSON; it is to be seen all the same. */
function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return text
  }
}
