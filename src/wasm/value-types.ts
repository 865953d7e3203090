/** Reading of value types, reference types and limits, with the types of other proposals refused by name. */

import type { EdgefnError } from '../errors.ts'
import type { Limits, ReferenceType, ValueType } from './module.ts'
import { VALUE_TYPES } from './module.ts'
import { hex, proposal } from './problem.ts'
import type { Reader } from './reader.ts'

const PROPOSALS: ReadonlyMap<number, string> = new Map([
  ...[0x63, 0x64].map((byte) => [byte, 'typed function references'] as const),
  ...[0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x71, 0x72, 0x73].map(
    (byte) => [byte, 'garbage collection (GC)'] as const,
  ),
  ...[0x69, 0x74].map((byte) => [byte, 'exception handling'] as const),
])

/** The refusal of a byte that stands where a value type should. */
export function unknownType(reader: Reader, byte: number): EdgefnError {
  const name = PROPOSALS.get(byte)
  if (name !== undefined) return proposal(name, `${reader.what}, type ${hex(byte)}`)
  return reader.malformed(`Type ${hex(byte)} is unknown`)
}

export function readValueType(reader: Reader): ValueType {
  const byte = reader.u8()
  const type = VALUE_TYPES.get(byte)
  if (type === undefined) throw unknownType(reader, byte)
  return type
}

export function readReferenceType(reader: Reader): ReferenceType {
  const type = readValueType(reader)
  if (type !== 'funcref' && type !== 'externref') {
    throw reader.malformed(`A reference type is needed, ${type} is given`)
  }
  return type
}

/** Passes over `count` value types and returns their bytes as a view. */
export function readTypeBytes(reader: Reader, count: number): Uint8Array {
  const start = reader.at
  for (let i = 0; i < count; i++) readValueType(reader)
  return reader.bytes.subarray(start, reader.at)
}

/** Limits of a table or memory; `max` below `min` is refused. */
export function readLimits(reader: Reader): Limits {
  const flags = reader.u8()
  if (flags > 0x0f) throw reader.malformed(`Limits have the unknown flags ${hex(flags)}`)
  const evidence = `${reader.what}, limits flags ${hex(flags)}`
  if ((flags & 0x08) !== 0) throw proposal('custom page sizes', evidence)
  if ((flags & 0x04) !== 0) throw proposal('memory64', evidence)
  if ((flags & 0x02) !== 0) throw proposal('threads', evidence)
  const min = reader.u32()
  const max = (flags & 0x01) === 0 ? null : reader.u32()
  if (max !== null && max < min) {
    throw reader.malformed(`Limits have a maximum of ${max} below their minimum of ${min}`)
  }
  return { min, max }
}
