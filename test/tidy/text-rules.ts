/** What every file must look like, beyond what compiler and formatter say. */

import type { Source } from './sources.ts'

const linesMax = 400
const functionLinesMax = 70

interface LineRule {
  readonly of: RegExp
  readonly except?: RegExp
  readonly line: RegExp
  readonly message: string
}

const CODE = /^(?:src|ffi|scripts)\//
const ALL = /^/

const LINE_RULES: readonly LineRule[] = [
  {
    of: /^(?:src|ffi)\//,
    except: /^src\/config\/load\.ts$/,
    line: /\b(?:process|Bun)\.env\b|\bimport\.meta\.env\b/,
    message: 'only src/config/load.ts reads the environment; take the value as a parameter',
  },
  { of: ALL, line: /^export default\b/, message: 'export by name' },
  {
    of: ALL,
    line: /^(?:export )?(?:const )?enum\b/,
    message: 'use an as const union, not an enum',
  },
  { of: ALL, line: /^(?:export )?(?:declare )?namespace\b/, message: 'use a module' },
  {
    of: ALL,
    line: /(?:[:<(,|&]\s*any\b(?!['"\w])|\bas any\b)/,
    message: 'say the type, or unknown',
  },
  { of: ALL, line: /@ts-(?:ignore|nocheck|expect-error)/, message: 'make the types right' },
  { of: CODE, line: /\b(?:TODO|FIXME|XXX|HACK)\b/, message: 'do it, or write an issue' },
  {
    of: /^(?:src|ffi)\//,
    line: /\bconsole\.\w+\(/,
    message: 'log with telemetry/log.ts, print with the Terminal',
  },
  {
    of: /^test\//,
    line: /\b(?:test|describe|it)\.(?:only|skip|todo)\b/,
    message: 'every test runs, everywhere',
  },
  {
    of: /^src\/edge\//,
    except: /^src\/edge\/worker\/lanes\/thread\.ts$/,
    line: /\.terminate\(/,
    message: 'tell the thread to end and wait for it, as lanes/thread.ts has it',
  },
  { of: ALL, line: /^export \* /, message: 'no barrels: import from the file that has it' },
]

const BANNED_NAMES = /(?:^|[-/])(?:utils?|helpers?|common|manager|misc)(?:[-./]|$)|(?:^|\/)index\./

/** One line per violation: where, what, and what to do. */
export function textViolations(source: Source): string[] {
  return [
    ...nameViolations(source.path),
    ...headViolations(source),
    ...lineViolations(source),
    ...functionViolations(source),
  ]
}

function nameViolations(path: string): string[] {
  const found: string[] = []
  if (BANNED_NAMES.test(path)) found.push(`${path}: name the file after what it holds`)
  if (!/^(?:[a-z0-9]+(?:-[a-z0-9]+)*\/)*[a-z0-9]+(?:-[a-z0-9]+)*(?:\.test|\.d)?\.ts$/.test(path)) {
    found.push(`${path}: use kebab-case`)
  }
  return found
}

function headViolations({ path, lines }: Source): string[] {
  const found: string[] = []
  const count = lines.length - 1
  if (count > linesMax) found.push(`${path}: ${count} lines, the limit is ${linesMax}; split it`)
  const first = lines[0] ?? ''
  // A test file is introduced by its place and by the sentences that name its tests.
  if (!first.startsWith('/**') && !path.endsWith('.test.ts')) {
    found.push(`${path}:1: begin with a doc comment that says in one sentence what the file is`)
  }
  return found
}

function lineViolations({ path, lines }: Source): string[] {
  const rules = LINE_RULES.filter(
    (rule) => rule.of.test(path) && !(rule.except?.test(path) ?? false),
  )
  return lines.flatMap((line, index) => {
    // The rules are about code; this folder spells out what it forbids.
    if (path.startsWith('test/tidy/') || /^\s*(?:\*|\/\*|\/\/)/.test(line)) return []
    const code = line.replace(/'(?:[^'\\]|\\.)*'/g, "''").replace(/\s\/\/ .*$/, '')
    return rules
      .filter((rule) => rule.line.test(code))
      .map((rule) => `${path}:${index + 1}: ${rule.message}: ${line.trim()}`)
  })
}

/** Where a function, method or named arrow function begins, in formatted code. */
const FUNCTION_HEADS: readonly RegExp[] = [
  /^(\s*)(?:export )?(?:async )?function\b[^:]/,
  /^(\s*)(?:export )?const \w+(?:: .+)? = (?:async )?(?:<.+>)?(?:\(|\w+ =>).*[({]$/,
  /^(\s*)\w+: (?:async )?(?:\(|\w+ =>).*[({]$/,
  /^(\s*)(?:static |override |async |get |set )*#?[a-z]\w*(?:<.+>)?\(.*[({]$/,
]
const STATEMENT = /^\s*(?:if|for|while|switch|return|throw|await|catch|do|expect)\b/

interface FunctionLines {
  readonly start: number
  readonly end: number
}

/** Counts a function's own lines: a factory of closures is as long as what it does besides defining them. */
function functionViolations({ path, lines }: Source): string[] {
  if (!CODE.test(path)) return []
  const functions = lines.flatMap((line, start) => functionAt(line, start, lines) ?? [])
  return functions.flatMap((each) => {
    const own = ownLines(each, functions)
    const where = `${path}:${each.start + 1}`
    if (own <= functionLinesMax) return []
    return [`${where}: ${own} lines, a function has at most ${functionLinesMax}; split it`]
  })
}

/** A function ends at the first line that closes a body at the indentation of its head. */
function functionAt(line: string, start: number, lines: readonly string[]): FunctionLines | null {
  const head = FUNCTION_HEADS.map((each) => each.exec(line)).find((match) => match !== null)
  if (head === undefined || STATEMENT.test(line)) return null
  const close = new RegExp(`^${head[1]}\\}[;,)]*$`)
  const length = lines.slice(start + 1).findIndex((each) => close.test(each)) + 2
  return length < 2 ? null : { start, end: start + length - 1 }
}

function ownLines(outer: FunctionLines, functions: readonly FunctionLines[]): number {
  let own = 0
  for (let line = outer.start; line <= outer.end; line++) {
    const inner = functions.some(
      (each) =>
        each.start > outer.start && each.end < outer.end && line >= each.start && line <= each.end,
    )
    if (!inner) own++
  }
  return own
}
