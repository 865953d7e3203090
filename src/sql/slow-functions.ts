/**
 * Functions of SQLite whose time grows as the product of two values' lengths, and which look at nobody while they run. A statement
 * with some of them is looked at much oftener, works on smaller values, and has only few of them.
 */

import { LIMITS } from '../protocol/limits.ts'

/** What a statement is held to: nothing more than others, frequent looks, or smaller values besides. */
export type Pace = 'usual' | 'watched' | 'short'

/** Their patterns are short (`LIMITS.sqlPatternBytesMax`). */
const WATCHED: ReadonlySet<string> = new Set(['like', 'glob'])
const SHORT: ReadonlySet<string> = new Set(['instr', 'replace', 'trim', 'ltrim', 'rtrim'])

const COMMENT = /--.*|\/\*[\s\S]*?\*\//g
const OPERATOR = /\b(like|glob)\b/i
const CALL = /\b(instr|replace|trim|ltrim|rtrim)\b\W*\(/i

const ORDER: readonly Pace[] = ['usual', 'watched', 'short']

/** Steps of SQLite's machine between two looks, some 10 µs of usual ones, and the bytes of a value or row. */
export const PACES: Readonly<Record<Pace, { readonly steps: number; readonly bytes: number }>> = {
  usual: { steps: 500, bytes: LIMITS.sqlValueBytesMax },
  watched: { steps: 20, bytes: LIMITS.sqlValueBytesMax },
  short: { steps: 20, bytes: LIMITS.sqlSearchedBytesMax },
}

export function slower(one: Pace, other: Pace): Pace {
  return ORDER.indexOf(one) >= ORDER.indexOf(other) ? one : other
}

/** By the name of a function. */
export function paceOfFunction(name: string): Pace {
  const lower = name.toLowerCase()
  if (SHORT.has(lower)) return 'short'
  return WATCHED.has(lower) ? 'watched' : 'usual'
}

/** By the text that made a table or an index, whose checks and expressions nobody is asked about when they are used. */
export function paceOfDefinition(sql: string): Pace {
  const text = sql.replace(COMMENT, ' ')
  if (CALL.test(text)) return 'short'
  return OPERATOR.test(text) ? 'watched' : 'usual'
}
