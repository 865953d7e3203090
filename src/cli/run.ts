/** From the words of a command line to an exit code: find the command, read its options, run it, print what went wrong. */

import { FILE_OPTION, loadOptions } from '../config/load.ts'
import type { Environment, KnownOptions } from '../config/resolve.ts'
import { suggestion } from '../config/suggest.ts'
import { EdgefnError, errorMessage } from '../errors.ts'
import { VERSION } from '../version.ts'
import { ControlPlaneError } from './api-client.ts'
import { checkArguments, parseWords } from './arguments.ts'
import type { Command, Terminal } from './command.ts'
import { COMMANDS } from './commands.ts'
import { engineHint } from './engine-hint.ts'
import { EXIT, type ExitCode } from './exit.ts'
import { commandHelp, overviewHelp } from './help.ts'
import type { Modes } from './modes.ts'
import { clean } from './output.ts'

export interface CliDeps {
  readonly terminal: Terminal
  readonly modes: Modes
  /** Default: the process environment. */
  readonly env?: Environment
}

/** Runs one command line (without the program's name); never rejects. */
export async function runCli(words: readonly string[], deps: CliDeps): Promise<ExitCode> {
  try {
    return await dispatch(words, deps)
  } catch (error) {
    return explain(error, deps.terminal)
  }
}

async function dispatch(words: readonly string[], deps: CliDeps): Promise<ExitCode> {
  const [first, second] = words
  if (first === '--version' || first === '-V') {
    deps.terminal.out(`${VERSION}\n`)
    return EXIT.ok
  }
  if (first === undefined || first === '--help' || first === '-h' || first === 'help') {
    const text = overviewHelp(COMMANDS, null)
    if (first === undefined) deps.terminal.err(text)
    else deps.terminal.out(text)
    return first === undefined ? EXIT.usage : EXIT.ok
  }
  const alone = COMMANDS.find((entry) => entry.name === first)
  if (alone !== undefined) return runCommand(alone, words.slice(1), deps)
  const pair = COMMANDS.find((entry) => isCalled(entry, `${first} ${second}`))
  if (pair !== undefined) return runCommand(pair, words.slice(2), deps)
  return refuseCommand(first, second, deps.terminal)
}

/** `deployment` and `deployments` are the same noun, whichever the command is listed by. */
function isCalled(entry: Command, name: string): boolean {
  const singular = (words: string) => words.replace(/^deployments /, 'deployment ')
  return singular(entry.name) === singular(name)
}

async function runCommand(entry: Command, words: readonly string[], deps: CliDeps) {
  const { flags, args, help } = parseWords(words, entry.options)
  if (help) {
    deps.terminal.out(commandHelp(entry))
    return EXIT.ok
  }
  const { options, serves: strict = false } = entry
  const values = loadOptions({ options, flags, known: knownOptions(), strict }, deps.env)
  checkArguments(args, entry.args)
  return entry.run({ values, args, terminal: deps.terminal, modes: deps.modes })
}

/** A noun without its verb prints the verbs; anything else is an error with a hint. */
function refuseCommand(first: string, second: string | undefined, terminal: Terminal): ExitCode {
  const verbs = COMMANDS.filter((entry) => entry.name.startsWith(`${first} `))
  const asked = second === '--help' || second === '-h'
  if (verbs.length > 0 && (second === undefined || asked)) {
    const text = overviewHelp(verbs, first)
    if (asked) terminal.out(text)
    else terminal.err(text)
    return asked ? EXIT.ok : EXIT.usage
  }
  const wrong = verbs.length > 0 ? `${first} ${second}` : first
  const names = COMMANDS.flatMap(({ name }) => [name, name.split(' ')[0] ?? name])
  const hint = suggestion(wrong, names) || ' edgefn --help lists the commands.'
  throw new EdgefnError('invalid_config', `${wrong}: unknown command.${hint}`)
}

/** The options of all commands and who has them: one environment serves them all. */
function knownOptions(): KnownOptions {
  const known = new Map<string, string[]>(Object.keys(FILE_OPTION).map((name) => [name, []]))
  for (const { name, options } of COMMANDS) {
    for (const option of Object.keys(options)) {
      known.set(option, [...(known.get(option) ?? []), name])
    }
  }
  return known
}

function explain(error: unknown, terminal: Terminal): ExitCode {
  if (error instanceof ControlPlaneError) {
    const marks = [
      error.code,
      ...(error.request_id === null ? [] : [`request ${error.request_id}`]),
    ]
    terminal.err(`error: ${clean(error.message)} (${clean(marks.join(', '))})\n`)
    if (error.status === 401) {
      terminal.err('hint: the key comes from --api-key, EDGEFN_API_KEY or DATA-DIR/admin-key\n')
    }
    if (error.code === 'no_edge_nodes') {
      terminal.err('hint: edgefn token create --pop POP prints the command that adds a node\n')
    }
    return error.status >= 500 ? EXIT.unreachable : EXIT.refused
  }
  if (!(error instanceof EdgefnError)) {
    terminal.err(
      `error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    )
    return EXIT.failed
  }
  terminal.err(`error: ${error.message} (${error.code})\n`)
  const cause = error.cause === undefined ? '' : errorMessage(error.cause)
  if (!error.message.includes(cause)) terminal.err(`cause: ${cause}\n`)
  if (error.code === 'engine_missing') terminal.err(`${engineHint()}\n`)
  if (error.code === 'cp_unreachable') {
    terminal.err('hint: is the control plane running there? --cp or EDGEFN_CP names another one\n')
  }
  if (error.code === 'invalid_config') return EXIT.usage
  return error.code === 'cp_unreachable' ? EXIT.unreachable : EXIT.failed
}
