/**
 * Runs what the control plane asks of the node, each command once. That one begins is on the disk before anything of it happens, so
 * one that comes again, also after the agent was killed, is answered from the record; a result is kept until the control plane has it.
 */

import { toEdgefnError } from '../../../errors.ts'
import type {
  CommandId,
  CommandResult,
  NodeCommand,
  PendingCommand,
} from '../../../protocol/commands.ts'
import type { Log } from '../../../telemetry/log.ts'
import type { CommandStore } from '../cache/command-store.ts'
import type { CpClient } from '../cp-client.ts'
import type { NodeModes } from './modes.ts'

export type Detail = CommandResult['detail']

/** Does a command and returns the figures of it; throws why it failed. `msMax` is how long it may wait for anything. */
export type Execute = (command: NodeCommand, msMax: number) => Promise<Detail>

/** What is done by the mode that it sets: after a crash the mode holds, and only what waits for it is left to do. */
const BY_MODE: ReadonlySet<NodeCommand['type']> = new Set([
  'drain',
  'undrain',
  'set_log_level',
  'isolate',
  'remove',
])
/** Milliseconds that a command may wait which was begun before a crash: its own time is not known any more. */
const resumedMsMax = 60_000
/** Answers to a result after which it is pointless to send it again. */
const REFUSED = new Set([
  'not_found',
  'bad_request',
  'invalid_field',
  'unauthenticated',
  'forbidden',
])

interface RunnerDeps {
  readonly cp: Pick<CpClient, 'pendingCommands' | 'commandResult'>
  readonly store: CommandStore
  readonly modes: NodeModes
  readonly execute: Execute
  readonly log: Log
  /** The node has left: the control plane knows, and the agent is to end. */
  leave(): void
  retryDelayMs(attempt: number): number
}

export class CommandRunner {
  readonly #deps: RunnerDeps
  readonly #running = new Set<CommandId>()
  /** Results that the disk had no room for. */
  readonly #unstored = new Map<CommandId, CommandResult>()
  #dirty = false
  #passing: Promise<void> | null = null
  #timer: ReturnType<typeof setTimeout> | null = null
  #failures = 0
  #closed = false

  constructor(deps: RunnerDeps) {
    this.#deps = deps
  }

  /** Goes on with what an earlier agent began, and asks what else there is. */
  open(): void {
    for (const { command_id, command, result } of this.#deps.store.unacknowledged()) {
      if (result !== null) continue
      if (BY_MODE.has(command.type)) void this.#run(command_id, command, resumedMsMax)
      else this.#finish(command_id, command, INTERRUPTED)
    }
    this.poke()
  }

  /** There may be something to do. Safe to call at any time, for any reason. */
  poke(): void {
    this.#dirty = true
    if (this.#closed || this.#passing !== null) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#passing = this.#passes().finally(() => {
      this.#passing = null
      if (this.#closed) return
      if (this.#failures > 0) {
        this.#timer = setTimeout(
          () => this.poke(),
          this.#deps.retryDelayMs(Math.min(this.#failures, 10)),
        )
      } else if (this.#dirty) this.poke()
    })
  }

  /** Waits for nothing but the pass under way: what runs is noted as begun. */
  async close(): Promise<void> {
    this.#closed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#passing
  }

  async #passes(): Promise<void> {
    while (this.#dirty && !this.#closed) {
      this.#dirty = false
      // Whoever ends the isolation pokes.
      if (this.#deps.modes.isolated) return
      try {
        await this.#forward()
        await this.#fetch()
        this.#failures = 0
      } catch (thrown) {
        this.#failures += 1
        const { code, message } = toEdgefnError(thrown)
        if (code === 'internal') this.#deps.log.failure('Commands could not be looked at.', thrown)
        else this.#deps.log.debug(`Commands could not be fetched: ${message}`)
        return
      }
    }
  }

  async #forward(): Promise<void> {
    const { store, cp, log, leave } = this.#deps
    for (const { command_id, command, result } of store.unacknowledged()) {
      if (result === null) continue
      try {
        await cp.commandResult(command_id, result)
      } catch (thrown) {
        const error = toEdgefnError(thrown)
        if (!REFUSED.has(error.code)) throw error
        log.warn('The control plane does not want the result of a command.', {
          error_type: error.code,
          context: { command_id },
        })
      }
      store.acknowledge(command_id, true)
      if (command.type === 'remove' && result.state === 'succeeded') leave()
    }
  }

  async #fetch(): Promise<void> {
    const askedAt = performance.now()
    const { cp, log } = this.#deps
    const { commands, unread } = await cp.pendingCommands()
    for (const pending of commands) this.#take(pending, performance.now() - askedAt)
    for (const id of unread) {
      log.warn('A command was refused, because this version does not know it: upgrade the node.', {
        context: { command_id: id },
      })
      await cp.commandResult(id, UNSUPPORTED)
    }
  }

  #take({ command_id, command, ttl_ms }: PendingCommand, agedMs: number): void {
    const { store, modes } = this.#deps
    if (this.#running.has(command_id) || this.#closed) return
    const known = store.find(command_id)
    if (known?.result === null) {
      // It has ended, and that could not be stored; or the record is from an agent that was killed.
      return this.#finish(command_id, known.command, this.#unstored.get(command_id) ?? INTERRUPTED)
    }
    if (known === null && store.mend(command_id, command)) {
      return this.#finish(command_id, command, INTERRUPTED)
    }
    if (known !== null) {
      // The control plane lost the result, or never got it.
      store.acknowledge(command_id, false)
      this.#dirty = true
      return
    }
    const leftMs = ttl_ms - agedMs
    if (leftMs <= 0) {
      store.begin(command_id, command, null)
      return this.#finish(command_id, command, EXPIRED)
    }
    modes.begin(command_id, command)
    void this.#run(command_id, command, leftMs)
  }

  async #run(id: CommandId, command: NodeCommand, msMax: number): Promise<void> {
    const { execute, log } = this.#deps
    this.#running.add(id)
    log.info('A command begins.', { context: { command_id: id, type: command.type } })
    let result: CommandResult
    try {
      const detail = await execute(command, msMax)
      result = { state: 'succeeded', detail, error: null }
    } catch (thrown) {
      const { code, message } = toEdgefnError(thrown)
      if (code === 'internal') log.failure('A command failed.', thrown)
      result = failure(code, message)
    }
    this.#running.delete(id)
    // What the end of the agent cut short goes on with the next one.
    if (this.#closed && (result.state === 'failed' || BY_MODE.has(command.type))) return
    this.#finish(id, command, result)
  }

  #finish(id: CommandId, { type }: NodeCommand, result: CommandResult): void {
    const { store, log } = this.#deps
    try {
      store.finish(id, result)
    } catch (thrown) {
      this.#unstored.set(id, result)
      log.failure('The result of a command could not be stored; it is tried again.', thrown)
      return
    }
    this.#unstored.delete(id)
    log.info('A command ended.', {
      context: { command_id: id, type, state: result.state, error: result.error },
    })
    this.poke()
  }
}

function failure(code: string, message: string): CommandResult {
  return { state: 'failed', detail: {}, error: { code, message: message.slice(0, 2000) } }
}

const INTERRUPTED = failure(
  'interrupted',
  'The agent ended while it ran the command, which is not run again.',
)
const UNSUPPORTED = failure(
  'unsupported',
  'This version of edgefn on the node does not know the command.',
)
const EXPIRED: CommandResult = {
  ...failure('expired', 'The node got the command after its deadline and did not run it.'),
  state: 'expired',
}
