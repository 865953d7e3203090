/** The YAML file of `--config`: one flat mapping whose keys are the flag names. */

import { readFileSync } from 'node:fs'

import { parse } from 'yaml'

import { EdgefnError, errorMessage } from '../errors.ts'

export interface ConfigFile {
  readonly path: string
  /** Texts by key; a list has several. */
  readonly entries: ReadonlyMap<string, readonly string[]>
}

/** Reads the file. Throws `invalid_config` when it cannot be read or is not a flat mapping of texts and lists. */
export function readConfigFile(path: string): ConfigFile {
  const document = parseFile(path)
  if (document === null || document === '') return { path, entries: new Map() }
  if (typeof document !== 'object' || Array.isArray(document)) {
    throw new EdgefnError('invalid_config', `${path}: must be a mapping of option names to values.`)
  }
  const entries = Object.entries(document).map(
    ([key, value]) => [key, textsOf(path, key, value)] as const,
  )
  return { path, entries: new Map(entries) }
}

function parseFile(path: string): unknown {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new EdgefnError('invalid_config', `${path}: cannot be read: ${errorMessage(error)}`)
  }
  try {
    // The failsafe schema keeps every scalar as the text that was written: one parser reads flags and files alike.
    return parse(text, { schema: 'failsafe' })
  } catch (error) {
    const [reason] = errorMessage(error).split('\n')
    throw new EdgefnError('invalid_config', `${path}: is not YAML: ${reason}`)
  }
}

function textsOf(path: string, key: string, value: unknown): readonly string[] {
  const items: readonly unknown[] = Array.isArray(value) ? value : [value]
  return items.map((item) => {
    if (typeof item === 'string' && item !== '') return item
    const wanted =
      item === '' || item === null ? 'has no value' : 'must be a value or a list of values'
    throw new EdgefnError('invalid_config', `${key} in ${path}: ${wanted}.`)
  })
}
