/** The command line of scripts/bench-fleet. */

import { parseArgs } from 'node:util'

import { knownNames, positive } from '../benchmarks/command-line.ts'
import type { Settings } from './scenario.ts'

export interface CommandLine extends Settings {
  /** Scenarios to run, in their own order; null for all. */
  readonly only: readonly string[] | null
  /** Where to write everything that was measured. */
  readonly json: string | null
}

export const USAGE =
  'Usage: scripts/bench-fleet [--only NAME,…] [--nodes N] [--many N] [--rounds N] [--seconds S] [--routes N] [--functions N] [--json FILE]'

/** Throws an Error that says what is wrong. */
export function parseCommandLine(words: readonly string[], known: readonly string[]): CommandLine {
  const { values } = parseArgs({
    args: [...words],
    options: {
      only: { type: 'string' },
      nodes: { type: 'string', default: '1000' },
      many: { type: 'string', default: '10000' },
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '120' },
      routes: { type: 'string', default: '100000' },
      functions: { type: 'string', default: '10000' },
      json: { type: 'string' },
    },
  })
  return {
    only: knownNames(values.only, known),
    nodes: positive('nodes', values.nodes),
    many: positive('many', values.many),
    rounds: positive('rounds', values.rounds),
    seconds: positive('seconds', values.seconds),
    routes: positive('routes', values.routes),
    functions: positive('functions', values.functions),
    json: values.json ?? null,
  }
}
