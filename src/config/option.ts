/** What an option is: one row of a command's table, from which its flag, variable, file key, default and help all come. */

import { errorMessage } from '../errors.ts'

/** How an option reads the texts it was given: one for most, several for a list, none when it was given nowhere. */
export interface Option<T> {
  /** What stands for the value in help: `DIR`. Null for a switch, which takes no value on the command line. */
  readonly placeholder: string | null
  readonly help: string
  /** The default as one would type it; null when there is none. */
  readonly fallback: string | null
  readonly required: boolean
  /** Never shown in messages. */
  readonly secret: boolean
  /** One letter: `o` for `-o`. */
  readonly short: string | null
  /** What separates the items of a list in a variable; null when the option takes one value. */
  readonly separator: string | null
  /** Throws an Error that says what the value must be. */
  read(texts: readonly string[]): T
}

/** A command's options by flag name, in the order help shows them. */
export type Options = Readonly<Record<string, Option<unknown>>>

/** The values of a table of options. */
export type Values<O extends Options> = {
  readonly [K in keyof O]: O[K] extends Option<infer T> ? T : never
}

/** Reads one text. Throws an Error whose message completes "--listen ": "must be …". */
export type Parse<T> = (text: string) => T

interface Spec {
  readonly placeholder: string
  readonly help: string
  readonly secret?: boolean
  readonly short?: string
}

const row = (spec: Spec) => ({
  placeholder: spec.placeholder,
  help: spec.help,
  fallback: null,
  required: false,
  secret: spec.secret ?? false,
  short: spec.short ?? null,
  separator: null,
})

/** An option that must be given somewhere. */
export function required<T>(parse: Parse<T>, spec: Spec): Option<T> {
  return { ...row(spec), required: true, read: (texts) => parse(only(texts)) }
}

/** An option that may be absent, and is then null. */
export function optional<T>(parse: Parse<T>, spec: Spec): Option<T | null> {
  return { ...row(spec), read: (texts) => (texts.length === 0 ? null : parse(only(texts))) }
}

/** An option with a default, given as text so that help can show it and one parser reads both. */
export function defaulted<T>(parse: Parse<T>, fallback: string, spec: Spec): Option<T> {
  return { ...row(spec), fallback, read: (texts) => parse(only(texts)) }
}

/** An option that may be repeated; in a variable its items are separated by `separator`. */
export function repeated<T>(
  parse: Parse<T>,
  spec: Spec & { readonly separator?: string },
): Option<readonly T[]> {
  return {
    ...row(spec),
    separator: spec.separator ?? ',',
    read: (texts) => texts.map((text) => readItem(parse, text)),
  }
}

/** One item of a list was refused; the others are not to blame. */
export class ItemError extends Error {
  readonly item: string

  constructor(item: string, cause: unknown) {
    super(errorMessage(cause))
    this.item = item
  }
}

function readItem<T>(parse: Parse<T>, item: string): T {
  try {
    return parse(item)
  } catch (error) {
    throw new ItemError(item, error)
  }
}

/** A switch: `--force`, `EDGEFN_FORCE=true`, `force: true`. */
export function toggle(help: string): Option<boolean> {
  return {
    ...row({ placeholder: '', help }),
    placeholder: null,
    read: (texts) => (texts.length === 0 ? false : truth(only(texts))),
  }
}

/** The variable of an option: `EDGEFN_DATA_DIR` for `data-dir`. */
export function variableOf(name: string): string {
  return `EDGEFN_${name.toUpperCase().replaceAll('-', '_')}`
}

function only(texts: readonly string[]): string {
  const [text] = texts
  if (text === undefined) throw new Error('must be given')
  if (texts.length > 1) throw new Error('must be given only once')
  return text
}

function truth(text: string): boolean {
  if (text === 'true') return true
  if (text === 'false') return false
  throw new Error('must be true or false')
}
