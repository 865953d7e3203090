/** The one rule of precedence: flag, then variable, then file, then default; with refusals that say where a value came from. */

import { EdgefnError, errorMessage } from '../errors.ts'
import type { ConfigFile } from './file.ts'
import { ItemError, variableOf, type Option, type Options, type Values } from './option.ts'
import { suggestion } from './suggest.ts'

/** Texts given on the command line, by flag name. */
export type Flags = ReadonlyMap<string, readonly string[]>

export type Environment = Readonly<Record<string, string | undefined>>

export interface Sources {
  readonly flags: Flags
  readonly env: Environment
  readonly file: ConfigFile | null
}

interface Given {
  readonly texts: readonly string[]
  /** Where they came from, as messages name it. */
  readonly origin: string
}

/**
 * Every value of `options`, complete. Throws `invalid_config` that names the flag, the variable, or the key and its file.
 * A variable that is empty counts as not set, as orchestrators leave them.
 */
export function resolveOptions<O extends Options>(options: O, sources: Sources): Values<O> {
  const values = Object.entries(options).map(([name, option]) => {
    const given = findGiven(name, option, sources)
    return [name, readGiven(name, option, given)] as const
  })
  return Object.fromEntries(values) as Values<O>
}

function findGiven(name: string, option: Option<unknown>, { flags, env, file }: Sources): Given {
  const flag = flags.get(name)
  if (flag !== undefined) return { texts: flag, origin: `--${name}` }
  const variable = variableOf(name)
  const inherited = env[variable]
  if (inherited !== undefined && inherited !== '') {
    return { texts: itemsOf(inherited, option), origin: variable }
  }
  const kept = file?.entries.get(name)
  if (file !== null && kept !== undefined) return { texts: kept, origin: `${name} in ${file.path}` }
  const texts = option.fallback === null ? [] : [option.fallback]
  return { texts, origin: `default of --${name}` }
}

function itemsOf(inherited: string, option: Option<unknown>): readonly string[] {
  if (option.separator === null) return [inherited]
  const items = inherited.split(option.separator).map((item) => item.trim())
  return items.filter((item) => item !== '')
}

function readGiven(name: string, option: Option<unknown>, { texts, origin }: Given): unknown {
  if (option.required && texts.length === 0) {
    const ways = `--${name} ${option.placeholder ?? ''}, ${variableOf(name)}, or ${name} in the file of --config`
    throw new EdgefnError('invalid_config', `${name} must be given: ${ways}.`)
  }
  try {
    return option.read(texts)
  } catch (error) {
    const refused = error instanceof ItemError ? [error.item] : texts
    const quoted = refused.map((text) => JSON.stringify(withoutAccount(text))).join(' ')
    const got = option.secret ? '' : `, got ${quoted}`
    throw new EdgefnError('invalid_config', `${origin}: ${errorMessage(error)}${got}.`)
  }
}

/**
 * What is refused is shown, and a URL may have a password in it where none belongs: up to the last `@`, as it may have any character,
 * also those that make it no URL.
 */
function withoutAccount(text: string): string {
  return text.replace(/^([a-z][a-z\d+.-]*:\/\/|(?=.*:.*@)).*@/is, '$1***@')
}

/** Names of options and the commands that have them, over all commands. */
export type KnownOptions = ReadonlyMap<string, readonly string[]>

/** Variables that container runtimes derive from a service called `edgefn` or `edgefn-…`; they are not configuration. */
const SERVICE_VARIABLE =
  /^EDGEFN_(?:\w+_)?(?:SERVICE_(?:HOST|PORT(?:_\w+)?)|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)$/

/** Throws `invalid_config` for an EDGEFN_ variable that no command knows: a typo must not become a default. */
export function refuseUnknownVariables(env: Environment, known: KnownOptions): void {
  const variables = new Set([...known.keys()].map(variableOf))
  for (const name of Object.keys(env)) {
    if (!name.startsWith('EDGEFN_') || variables.has(name) || SERVICE_VARIABLE.test(name)) continue
    throw new EdgefnError(
      'invalid_config',
      `${name}: unknown variable.${suggestion(name, variables)}`,
    )
  }
}

/**
 * Throws `invalid_config` for a key that no command knows, and, when `strict`, for one that only other commands know
 * (a client command passes over the keys of the server beside it).
 */
export function refuseUnknownKeys(
  file: ConfigFile,
  options: Options,
  known: KnownOptions,
  strict: boolean,
): void {
  for (const key of file.entries.keys()) {
    if (Object.hasOwn(options, key)) continue
    const owners = known.get(key)
    if (owners === undefined) {
      const hint = suggestion(key, strict ? Object.keys(options) : known.keys())
      throw new EdgefnError('invalid_config', `${key} in ${file.path}: unknown key.${hint}`)
    }
    if (!strict) continue
    const of = owners.map((owner) => `edgefn ${owner}`).join(', ')
    throw new EdgefnError('invalid_config', `${key} in ${file.path}: is an option of ${of} only.`)
  }
}
