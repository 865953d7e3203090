/** Types as people read them: `(i32, i64) -> i32`, `(i32 x10) -> i32`, `mut i32`, `funcref min 1`. */

import type { ExternKind, FunctionType, ValueType, WasmModule } from './module.ts'
import { functionType, VALUE_TYPES } from './module.ts'

/** Runs of one type at least this long are written `i32 x10`. */
const runMin = 5
/** Runs shown of one side; what is cut ends in an ellipsis, so a text without one is the whole type. */
const runsMax = 24

function listText(types: Iterable<ValueType>): string {
  const runs: { type: ValueType; count: number }[] = []
  for (const type of types) {
    const last = runs.at(-1)
    if (last?.type === type) last.count++
    else if (runs.length === runsMax) return `(${runs.flatMap(runText).join(', ')}, …)`
    else runs.push({ type, count: 1 })
  }
  return `(${runs.flatMap(runText).join(', ')})`
}

function runText(run: { type: ValueType; count: number }): string[] {
  if (run.count < runMin) return Array<string>(run.count).fill(run.type)
  return [`${run.type} x${run.count}`]
}

/** The text of a function type; equal texts without an ellipsis are equal types. */
export function signature(params: readonly ValueType[], results: readonly ValueType[]): string {
  const single = results.length === 1 ? results[0] : undefined
  return `${listText(params)} -> ${single ?? listText(results)}`
}

/** As `signature`, of a type in a module. */
export function typeSignature(type: FunctionType): string {
  return signature(named(type.params), named(type.results))
}

function named(bytes: Uint8Array): ValueType[] {
  const types: ValueType[] = []
  for (const byte of bytes) {
    const type = VALUE_TYPES.get(byte)
    if (type === undefined) throw new Error(`Value type ${byte} was not checked.`)
    types.push(type)
  }
  return types
}

/** The type of an import or export, whatever its kind. */
export function externSignature(module: WasmModule, kind: ExternKind, index: number): string {
  switch (kind) {
    case 'function':
      return typeSignature(functionType(module, index))
    case 'table': {
      const table = module.tables[index]
      return table === undefined ? '' : `${table.element} ${limitsText(table.min, table.max)}`
    }
    case 'memory': {
      const memory = module.memories[index]
      return memory === undefined ? '' : limitsText(memory.min, memory.max)
    }
    case 'global': {
      const global = module.globals[index]
      return global === undefined ? '' : `${global.mutable ? 'mut ' : ''}${global.type}`
    }
  }
}

function limitsText(min: number, max: number | null): string {
  return max === null ? `min ${min}` : `min ${min} max ${max}`
}
