/** What a command is, and what it is given when it runs. */

import type { Options, Values } from '../config/option.ts'
import type { ExitCode } from './exit.ts'
import type { Modes } from './modes.ts'

/** Where a command writes. Data goes to `out`, everything else to `err`. */
export interface Terminal {
  out(text: string): void
  err(text: string): void
  /** Whether `err` is a terminal: progress may be redrawn. */
  readonly live: boolean
}

export interface Argument {
  readonly name: string
  readonly help: string
  /** `one` exactly, or `any` number of the last one. */
  readonly count: 'one' | 'any'
}

export interface Invocation<O extends Options> {
  readonly values: Values<O>
  /** As many as the command's arguments ask for. */
  readonly args: readonly string[]
  readonly terminal: Terminal
  readonly modes: Modes
}

export interface CommandDefinition<O extends Options> {
  /** `functions list`. */
  readonly name: string
  readonly summary: string
  readonly args: readonly Argument[]
  readonly options: O
  /** More than the summary says; whole lines. */
  readonly notes?: readonly string[]
  readonly examples?: readonly string[]
  /** Whether the command serves: the keys of other commands are then refused in its file. */
  readonly serves?: boolean
  run(invocation: Invocation<O>): Promise<ExitCode>
}

/** A command with the types of its options forgotten, so that a table can hold them all. */
export type Command = CommandDefinition<Options>

/** Checks a definition against its own options at compile time. */
export function command<const O extends Options>(definition: CommandDefinition<O>): Command {
  return definition as unknown as Command
}
