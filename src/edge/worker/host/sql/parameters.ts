/** What a guest binds to a statement: an array of values, as JSON or CBOR (docs/SQL.md). */

import { SqliteReal } from '../../../../../ffi/sqlite.ts'
import type { SqliteParameter, SqliteValue } from '../../../../../ffi/sqlite.ts'
import { CborReal, readCborArray } from './cbor.ts'

export type Format = 'json' | 'cbor'

const decoder = new TextDecoder('utf-8', { fatal: true })
const INT64_MIN = -(2n ** 63n)
const INT64_MAX = 2n ** 63n - 1n

/** The values of `bytes`, none for no bytes; null when they are no such array. */
export function readParameters(
  bytes: Uint8Array<ArrayBuffer>,
  format: Format,
): SqliteParameter[] | null {
  if (bytes.length === 0) return []
  const items = format === 'cbor' ? readCborArray(bytes) : readJsonArray(bytes)
  if (items === null) return null
  const values: SqliteParameter[] = []
  for (const item of items) {
    const value = bindable(item)
    if (value === undefined) return null
    values.push(value)
  }
  return values
}

function readJsonArray(bytes: Uint8Array): unknown[] | null {
  try {
    const parsed: unknown = JSON.parse(decoder.decode(bytes))
    return Array.isArray(parsed) ? parsed : null
  } catch {
    return null
  }
}

/** Undefined for what SQLite has no value for. */
function bindable(item: unknown): SqliteParameter | undefined {
  if (item === null || typeof item === 'string' || typeof item === 'number') return item
  if (typeof item === 'boolean') return item ? 1 : 0
  if (typeof item === 'bigint') return inRange(item)
  if (item instanceof Uint8Array) return item
  if (item instanceof CborReal) return new SqliteReal(item.value)
  return typeof item === 'object' ? tagged(item as Record<string, unknown>) : undefined
}

/** JSON has neither bytes nor integers of 64 bits: `{"blob": "<base64>"}`, `{"int": "9007199254740993"}`. */
function tagged(item: Record<string, unknown>): SqliteValue | undefined {
  const [[kind, value] = [], ...others] = Object.entries(item)
  if (others.length > 0 || typeof value !== 'string') return undefined
  if (kind === 'int') return /^-?\d{1,19}$/.test(value) ? inRange(BigInt(value)) : undefined
  if (kind !== 'blob') return undefined
  try {
    return Uint8Array.fromBase64(value)
  } catch {
    return undefined
  }
}

function inRange(value: bigint): bigint | undefined {
  return value >= INT64_MIN && value <= INT64_MAX ? value : undefined
}
