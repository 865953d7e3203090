/** The words of a command line into flags and arguments, by the command's own table. */

import { EdgefnError } from '../errors.ts'
import type { Options } from '../config/option.ts'
import { suggestion } from '../config/suggest.ts'
import type { Argument } from './command.ts'

export interface ParsedWords {
  readonly flags: ReadonlyMap<string, readonly string[]>
  readonly args: readonly string[]
  readonly help: boolean
}

/**
 * `--name value`, `--name=value`, `-o value`, switches, `--` before arguments that start with a dash. Throws
 * `invalid_config` for a flag the table does not have and for one without its value.
 */
export function parseWords(words: readonly string[], options: Options): ParsedWords {
  const flags = new Map<string, string[]>()
  const args: string[] = []
  let help = false
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? ''
    if (word === '--') {
      args.push(...words.slice(at + 1))
      break
    }
    if (word === '--help' || word === '-h') {
      help = true
      continue
    }
    if (!word.startsWith('-') || word === '-') {
      args.push(word)
      continue
    }
    const flag = splitFlag(word, options)
    const value = flag.value ?? (flag.takesValue ? followingValue(flag.name, words[++at]) : 'true')
    flags.set(flag.name, [...(flags.get(flag.name) ?? []), value])
  }
  return { flags, args, help }
}

function splitFlag(word: string, options: Options) {
  const equals = word.indexOf('=')
  const spelled = equals < 0 ? word : word.slice(0, equals)
  const name = spelled.startsWith('--') ? spelled.slice(2) : longName(spelled.slice(1), options)
  const option = name !== null && Object.hasOwn(options, name) ? options[name] : undefined
  if (name === null || option === undefined) {
    const names = [...Object.keys(options), 'help'].map((known) => `--${known}`)
    throw new EdgefnError(
      'invalid_config',
      `${spelled}: unknown flag.${suggestion(spelled, names)}`,
    )
  }
  const value = equals < 0 ? null : word.slice(equals + 1)
  return { name, value, takesValue: option.placeholder !== null }
}

function longName(letter: string, options: Options): string | null {
  return Object.entries(options).find(([, option]) => option.short === letter)?.[0] ?? null
}

/** A value may start with one dash (`--priority -5`), not with two: that is a flag whose value was forgotten. */
function followingValue(name: string, next: string | undefined): string {
  if (next === undefined || next.startsWith('--')) {
    throw new EdgefnError('invalid_config', `--${name}: needs a value.`)
  }
  return next
}

/** Throws `invalid_config` when there are fewer or more arguments than the command takes. */
export function checkArguments(args: readonly string[], wanted: readonly Argument[]): void {
  const least = wanted.filter((argument) => argument.count === 'one').length
  const missing = wanted[args.length]
  if (args.length < least && missing !== undefined) {
    throw new EdgefnError('invalid_config', `${missing.name}: must be given: ${missing.help}.`)
  }
  const open = wanted.some((argument) => argument.count === 'any')
  const extra = args[wanted.length]
  if (!open && extra !== undefined) {
    throw new EdgefnError('invalid_config', `${extra}: unexpected argument.`)
  }
}
