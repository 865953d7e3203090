/** What holds on the node until something else is said: drained, isolated, another log level. Kept in the index; commands set it. */

import type { CommandId, NodeCommand } from '../../../protocol/commands.ts'
import type { Log, LogLevel } from '../../../telemetry/log.ts'
import { NO_MODES, type CommandStore, type Modes } from '../cache/command-store.ts'
import type { ReadyCheck } from '../ops-server.ts'
import type { ModeMessage } from '../supervise/supervisor.ts'
import { remainingMs, spanOf, type Now, type Span } from './span.ts'

/** How often spans are looked at. */
const lookMs = 100

interface ModesDeps {
  readonly store: CommandStore
  readonly log: Log
  readonly log_level: LogLevel
  readonly now: () => Now
}

/** What is told of changes. */
export interface ModeListeners {
  readonly toWorkers: (message: ModeMessage) => void
  /** The node acts as if it were alone from now on, or no longer. */
  readonly onIsolation: (isolated: boolean) => void
}

export class NodeModes {
  readonly #deps: ModesDeps
  #modes: Modes
  #listeners: ModeListeners | null = null
  #timer: ReturnType<typeof setInterval> | null = null
  #waiting: (() => void)[] = []

  constructor(deps: ModesDeps) {
    this.#deps = deps
    this.#modes = deps.store.modes()
    this.#look()
  }

  get drained(): boolean {
    return this.#modes.drained
  }

  /** Whether the node may talk to nobody: the control plane, its broker, its artifact store. */
  get isolated(): boolean {
    return this.#left(this.#modes.isolated) > 0
  }

  /** For `/ready`. */
  get check(): ReadyCheck {
    const ok = !this.drained
    return { name: 'drain', ok, required: true, detail: ok ? 'not drained' : 'drained' }
  }

  /** Tells the listeners what holds, and of every change from now on. */
  open(listeners: ModeListeners): void {
    this.#listeners = listeners
    this.#tell()
    this.#timer = setInterval(() => this.#look(), lookMs)
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    for (const wake of this.#waiting.splice(0)) wake()
  }

  /** The node is enrolled anew: nothing that was said before holds, least of all that it should leave. Throws what the store throws. */
  reset(): void {
    this.#deps.store.clear()
    this.#modes = NO_MODES
  }

  /** Notes that a command begins, with what it sets, and then sets it. Throws what the store throws; then nothing has changed. */
  begin(id: CommandId, command: NodeCommand): void {
    const next = this.#after(command)
    this.#deps.store.begin(id, command, next)
    if (next === null) return
    const wasIsolated = this.isolated
    this.#modes = next
    this.#tell()
    if (this.isolated && !wasIsolated) this.#listeners?.onIsolation(true)
  }

  /** Resolves when the node is not isolated any more, and when it is closed. */
  async isolationEnds(): Promise<void> {
    if (!this.isolated) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.push(resolve)
    await promise
  }

  #after(command: NodeCommand): Modes | null {
    const modes = this.#modes
    const span = (seconds: number) => spanOf(seconds * 1000, this.#deps.now())
    switch (command.type) {
      case 'drain':
        return { ...modes, drained: true }
      case 'undrain':
        return { ...modes, drained: false }
      case 'remove':
        return { ...modes, drained: true, leaving: true }
      case 'isolate':
        return { ...modes, isolated: span(command.params.for_seconds) }
      case 'set_log_level': {
        const { level, for_seconds } = command.params
        return {
          ...modes,
          log_level: { level, span: for_seconds === null ? null : span(for_seconds) },
        }
      }
      default:
        return null
    }
  }

  #left(span: Span | null): number {
    return span === null ? 0 : remainingMs(span, this.#deps.now())
  }

  /** Ends what has lasted its time. */
  #look(): void {
    const { isolated, log_level } = this.#modes
    const isOver = isolated !== null && this.#left(isolated) === 0
    const levelSpan = log_level?.span ?? null
    const levelIsOver = levelSpan !== null && this.#left(levelSpan) === 0
    if (!isOver && !levelIsOver) return
    this.#modes = {
      ...this.#modes,
      ...(isOver ? { isolated: null } : {}),
      ...(levelIsOver ? { log_level: null } : {}),
    }
    this.#save()
    if (levelIsOver) this.#tell()
    if (!isOver) return
    for (const wake of this.#waiting.splice(0)) wake()
    this.#listeners?.onIsolation(false)
  }

  /** A span that could not be erased is over all the same. */
  #save(): void {
    try {
      this.#deps.store.saveModes(this.#modes)
    } catch (thrown) {
      this.#deps.log.failure('What holds on the node could not be written to the index.', thrown)
    }
  }

  #tell(): void {
    const { log, log_level } = this.#deps
    const level = this.#modes.log_level?.level ?? log_level
    log.setLevel(level)
    this.#listeners?.toWorkers({ type: 'set_log_level', level })
    this.#listeners?.toWorkers({ type: 'drained', on: this.#modes.drained })
  }
}
