/**
 * Text of the log, and of what nodes have seen of it, without trust in it. Whoever edits the tables by hand may leave bytes that are no
 * UTF-8, and the driver ends the process when it is to hand over such a text. So they are read in hexadecimal.
 */

import type { Row, SqlValue } from '../db/database.ts'

/** SQL for the bytes of an expression in hexadecimal; NULL stays NULL. */
export function hexOf(expression: string): string {
  return `iif(${expression} IS NULL, NULL, hex(${expression}))`
}

const exact = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** What `hexOf` gave, as text in which U+FFFD stands for what is no UTF-8. */
export function textOf(hex: SqlValue | undefined): string | null {
  return typeof hex === 'string' ? Buffer.from(hex, 'hex').toString('utf8') : null
}

/** The same; null also when it is no UTF-8. */
export function exactTextOf(hex: SqlValue | undefined): string | null {
  if (typeof hex !== 'string') return null
  try {
    return exact.decode(Buffer.from(hex, 'hex'))
  } catch {
    return null
  }
}

/** SQL for columns, in hexadecimal but for `seq`, which is a number in all of these tables; `textRow` reads what comes of it. */
export function hexColumns(columns: readonly string[]): string {
  return columns
    .map((column) => (column === 'seq' ? column : `${hexOf(column)} AS ${column}`))
    .join(', ')
}

export function textRow(row: Row): Row {
  const columns = Object.entries(row)
  return Object.fromEntries(
    columns.map(([column, value]) => [column, column === 'seq' ? value : textOf(value)]),
  )
}
