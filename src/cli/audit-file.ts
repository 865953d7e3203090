/** Checks an exported audit log without its control plane: each row by its hash, and each by the one before. */

import type { AuditHead } from '../protocol/audit-chain.ts'
import { FIRST_PREVIOUS_HASH, problemOf } from '../protocol/audit-chain.ts'
import { auditRowSchema, type AuditRow } from '../protocol/audit.ts'

export interface FileVerdict {
  readonly intact: boolean
  readonly entries: number
  readonly first_seq: number | null
  readonly head: AuditHead | null
  /** Places where rows were left out, as in an export with filters. Across them nothing is proved. */
  readonly gaps: number
  readonly problem: { readonly seq: number; readonly reason: string } | null
}

/**
 * `anchor` is a head noted earlier, which must be in the file. Unless the file is `filtered` it must have every row from the
 * first on: a row that somebody took out looks like one that a filter left out.
 */
export function verifyExport(
  text: string,
  { anchor, filtered }: { readonly anchor: AuditHead | null; readonly filtered: boolean },
): FileVerdict {
  let last: AuditRow | null = null
  let [entries, gaps] = [0, 0]
  let first: number | null = null
  let anchored = anchor === null
  const verdict = (problem: FileVerdict['problem']): FileVerdict => {
    const head = last === null ? null : { seq: last.seq, hash: last.hash }
    return { intact: problem === null, entries, first_seq: first, head, gaps, problem }
  }
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue
    const row = rowOf(line)
    if (row === null) {
      const seq: number = last === null ? 1 : last.seq + 1
      return verdict({ seq, reason: `line ${index + 1} of the file is no row of an audit log` })
    }
    const follows = last === null ? row.seq === 1 : row.seq === last.seq + 1
    if (last !== null && row.seq <= last.seq) {
      return verdict({ seq: row.seq, reason: `it stands after row ${last.seq}` })
    }
    if (!follows && !filtered) {
      return verdict({ seq: last === null ? 1 : last.seq + 1, reason: 'the row is missing' })
    }
    if (!follows && last !== null) gaps += 1
    const before = last === null ? FIRST_PREVIOUS_HASH : last.hash
    const reason = problemOf(columnsOf(row), row.seq, follows ? before : row.previous_hash)
    if (reason !== null) return verdict({ seq: row.seq, reason })
    if (anchor !== null && row.seq === anchor.seq) {
      if (row.hash !== anchor.hash) {
        return verdict({ seq: row.seq, reason: 'it has another hash than the head that was noted' })
      }
      anchored = true
    }
    first ??= row.seq
    entries += 1
    last = row
  }
  if (last === null && !filtered) return verdict({ seq: 1, reason: 'the row is missing' })
  if (anchored || anchor === null) return verdict(null)
  return verdict({ seq: anchor.seq, reason: 'the row of the head that was noted is missing' })
}

function rowOf(line: string): AuditRow | null {
  try {
    return auditRowSchema.safeParse(JSON.parse(line)).data ?? null
  } catch {
    return null
  }
}

/** The values as they were written: JSON in the order that it came. */
function columnsOf(row: AuditRow) {
  const { old_value, new_value, ...others } = row
  const text = (value: unknown) => (value === null ? null : JSON.stringify(value))
  return { ...others, old_value: text(old_value), new_value: text(new_value) }
}
