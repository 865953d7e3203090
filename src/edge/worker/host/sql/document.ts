/** The result of a statement as the guest gets it: one document, as JSON or CBOR (docs/SQL.md). */

import type { SqliteStatement, SqliteValue } from '../../../../../ffi/sqlite.ts'
import { CborWriter } from './cbor.ts'
import type { Format } from './parameters.ts'

/** What `sql_exec` says besides rows. */
export interface Effect {
  readonly changes: number
  readonly last_insert_rowid: number | bigint
}

export interface ResultDocument {
  /** Adds the row that the statement stands on. */
  addRow(statement: SqliteStatement): void
  /** Bytes so far, or nearly so. */
  readonly length: number
  readonly rows: number
  /** `effect` is null for `sql_query`. */
  finish(columns: readonly string[], effect: Effect | null): Uint8Array<ArrayBuffer>
}

const encoder = new TextEncoder()

export function createDocument(format: Format): ResultDocument {
  return format === 'cbor' ? new CborDocument() : new JsonDocument()
}

class JsonDocument implements ResultDocument {
  #rows: string[] = []
  #length = 0

  get length(): number {
    return this.#length
  }

  get rows(): number {
    return this.#rows.length
  }

  addRow(statement: SqliteStatement): void {
    const values: string[] = []
    for (let index = 0; index < statement.columns; index += 1) {
      values.push(jsonValue(statement.value(index), () => statement.isReal(index)))
    }
    const row = `[${values.join(',')}]`
    this.#rows.push(row)
    this.#length += Buffer.byteLength(row) + 1
  }

  finish(columns: readonly string[], effect: Effect | null): Uint8Array<ArrayBuffer> {
    const rows = `"columns":${JSON.stringify(columns)},"rows":[${this.#rows.join(',')}]`
    if (effect === null) return encoder.encode(`{${rows}}`)
    const { changes, last_insert_rowid } = effect
    return encoder.encode(`{"changes":${changes},"last_insert_rowid":${last_insert_rowid},${rows}}`)
  }
}

/** Integers have all their digits, and reals always a point or an exponent, so that a reader can tell them apart. */
function jsonValue(value: SqliteValue, isReal: () => boolean): string {
  if (value === null) return 'null'
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'bigint') return String(value)
  if (typeof value !== 'number') return `{"blob":"${value.toBase64()}"}`
  if (!isReal()) return String(value)
  // As SQLite's own JSON functions write them; a reader of doubles makes infinity of it.
  if (!Number.isFinite(value)) return value > 0 ? '9e999' : '-9e999'
  const text = String(value)
  return /[.e]/.test(text) ? text : `${text}.0`
}

class CborDocument implements ResultDocument {
  readonly #writer = new CborWriter()
  #rows = 0

  get length(): number {
    return this.#writer.length
  }

  get rows(): number {
    return this.#rows
  }

  addRow(statement: SqliteStatement): void {
    const writer = this.#writer
    this.#rows += 1
    writer.array(statement.columns)
    for (let index = 0; index < statement.columns; index += 1) {
      const value = statement.value(index)
      if (value === null) writer.null()
      else if (typeof value === 'string') writer.text(value)
      else if (typeof value === 'bigint') writer.integer(value)
      else if (typeof value !== 'number') writer.bytes(value)
      else if (statement.isReal(index)) writer.real(value)
      else writer.integer(value)
    }
  }

  finish(columns: readonly string[], effect: Effect | null): Uint8Array<ArrayBuffer> {
    const writer = new CborWriter()
    writer.map(effect === null ? 2 : 4)
    if (effect !== null) {
      writer.text('changes')
      writer.integer(effect.changes)
      writer.text('last_insert_rowid')
      writer.integer(effect.last_insert_rowid)
    }
    writer.text('columns')
    writer.array(columns.length)
    for (const column of columns) writer.text(column)
    writer.text('rows')
    writer.array(this.#rows)
    writer.append(this.#writer)
    return writer.take()
  }
}
