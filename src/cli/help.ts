/** Help texts, made from the same tables that parse. */

import { variableOf, type Option } from '../config/option.ts'
import type { Command } from './command.ts'
import { EXIT_MEANINGS } from './exit.ts'
import { alignColumns } from './output.ts'

/** Help of the whole program, or of one noun (`functions`). */
export function overviewHelp(commands: readonly Command[], noun: string | null): string {
  const rows = commands.map((entry) => [`  ${usageOf(entry)}`, entry.summary])
  const title =
    noun === null
      ? 'edgefn: WASM functions at the edge, and the control plane that puts them there'
      : `edgefn ${noun}`
  return [
    title,
    '',
    ...alignColumns(rows),
    '',
    'edgefn COMMAND --help tells more of one command; edgefn --version prints the version.',
    ...(noun === null ? ['', ...exitLines()] : []),
    '',
  ].join('\n')
}

/** Help of one command: arguments, every flag with its variable and default, exit codes. */
export function commandHelp(entry: Command): string {
  const args = entry.args.map((argument) => [`  ${argument.name}`, argument.help])
  const flags = Object.entries(entry.options).map(([name, option]) => flagRow(name, option))
  const help = ['  -h, --help', '', 'this text']
  return [
    `edgefn ${usageOf(entry)} [flags]`,
    '',
    `${entry.summary[0]?.toUpperCase()}${entry.summary.slice(1)}.`,
    ...(entry.notes === undefined ? [] : ['', ...entry.notes]),
    ...(args.length === 0 ? [] : ['', 'Arguments', ...alignColumns(args)]),
    '',
    'Flags (a flag goes before its variable, that before the file of --config, that before the default)',
    ...alignColumns([...flags, help]),
    ...(entry.examples === undefined
      ? []
      : ['', 'Examples', ...entry.examples.map((example) => `  ${example}`)]),
    '',
    ...exitLines(),
    '',
  ].join('\n')
}

function usageOf(entry: Command): string {
  const args = entry.args.map(({ name, count }) => (count === 'any' ? `[${name} …]` : name))
  return [entry.name, ...args].join(' ')
}

function flagRow(name: string, option: Option<unknown>): string[] {
  const short = option.short === null ? '' : `-${option.short}, `
  const value = option.placeholder === null ? '' : ` ${option.placeholder}`
  const remarks = [
    ...(option.required ? ['required'] : []),
    ...(option.separator === null ? [] : ['may be repeated']),
    ...(option.fallback === null ? [] : [`default: ${option.fallback}`]),
  ]
  const tail = remarks.length === 0 ? '' : ` (${remarks.join('; ')})`
  return [`  ${short}--${name}${value}`, variableOf(name), `${option.help}${tail}`]
}

function exitLines(): string[] {
  return ['Exit codes', ...EXIT_MEANINGS.map(([code, meaning]) => `  ${code}  ${meaning}`)]
}
