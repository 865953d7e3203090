/** The command line of scripts/bench. */

import { parseArgs } from 'node:util'

import { knownNames, positive } from './command-line.ts'
import type { Settings } from './scenario.ts'

export interface CommandLine extends Settings {
  /** Scenarios to run, in their own order; null for all. */
  readonly only: readonly string[] | null
  /** Where to write everything that was measured. */
  readonly json: string | null
}

export const USAGE =
  'Usage: scripts/bench [--only NAME,…] [--rounds N] [--seconds S] [--functions N] [--json FILE]'

/** Throws an Error that says what is wrong. */
export function parseCommandLine(words: readonly string[], known: readonly string[]): CommandLine {
  const { values } = parseArgs({
    args: [...words],
    options: {
      only: { type: 'string' },
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '2' },
      functions: { type: 'string', default: '10000' },
      json: { type: 'string' },
    },
  })
  return {
    only: knownNames(values.only, known),
    rounds: positive('rounds', values.rounds),
    seconds: positive('seconds', values.seconds),
    functions: positive('functions', values.functions),
    json: values.json ?? null,
  }
}
