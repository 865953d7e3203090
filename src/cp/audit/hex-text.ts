/**
 * Text of the log without trust in it. Whoever edits the table by hand may leave bytes that are no UTF-8, and the driver ends the process
 * when it is to hand over such a text. So the log is read in hexadecimal.
 */

import type { SqlValue } from '../db/database.ts'

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
