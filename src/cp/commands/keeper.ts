/** What time does to commands: hints that were lost are sent again, what is overdue is closed, old history goes. */

import type { CommandId } from '../../protocol/commands.ts'
import type { NodeId } from '../../protocol/ids.ts'
import type { Log } from '../../telemetry/log.ts'
import type { RequestContext } from '../context.ts'
import type { Database, Transaction } from '../db/database.ts'
import type { CommandRow } from './schema.ts'
import {
  deleteFinishedBefore,
  finishCommand,
  getCommand,
  overdueCommands,
  unfetchedCommands,
  unfetchedMax,
} from './store.ts'

/** Milliseconds between looks; a command expires so much after its deadline at most. */
const lookMs = 1_000
/** By how much a look may come late on a busy machine. */
const lateMsMax = 10_000
/** Looks after which nodes are told again of what they have not fetched. */
const hintEvery = 10
/** Looks between those at the history, and how long it is kept. */
const historyEvery = 3_600
const historyMsMax = 90 * 24 * 3600_000

export interface CommandKeeperDeps {
  readonly db: Database
  readonly log: Log
  readonly hint: (nodeId: NodeId, commandId: CommandId) => void
  /** Given by nodes: deletes the node; run the result after the commit. */
  readonly removeNode: (
    tx: Transaction,
    context: RequestContext,
    nodeId: NodeId,
  ) => Promise<() => void>
}

export class CommandKeeper {
  readonly #deps: CommandKeeperDeps
  #timer: ReturnType<typeof setInterval> | null = null
  #looking: Promise<void> | null = null
  #looks = 0
  /** When this keeper first saw each command that no node has fetched (performance.now); long ago: with its first look. */
  #seenMs = new Map<CommandId, number>()

  constructor(deps: CommandKeeperDeps) {
    this.#deps = deps
  }

  open(): void {
    this.#timer = setInterval(() => {
      this.#looking ??= this.look().finally(() => (this.#looking = null))
    }, lookMs)
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer)
    await this.#looking
  }

  /** One look; a failure is logged, and the next look tries again. */
  async look(): Promise<void> {
    const { db, log, hint } = this.#deps
    this.#looks += 1
    try {
      const now = new Date().toISOString()
      for (const row of await overdueCommands(db, now)) await this.#close(row, now)
      // What another control plane was asked for is seen here for the first time; its node may be connected here.
      const seenMs = new Map<CommandId, number>()
      for (const { id, node_id } of await unfetchedCommands(db)) {
        const before = this.#seenMs.get(id)
        seenMs.set(id, before ?? (this.#looks === 1 ? -Infinity : performance.now()))
        if (before === undefined || this.#looks % hintEvery === 0) hint(node_id, id)
      }
      this.#seenMs = seenMs
      if (this.#looks % historyEvery === 0) {
        const before = new Date(Date.now() - historyMsMax).toISOString()
        await db.write((tx) => deleteFinishedBefore(tx, before))
      }
    } catch (thrown) {
      log.failure('Commands could not be looked after.', thrown)
    }
  }

  /** Another control plane may have closed it meanwhile, or the node answered. A node that is to leave goes without its answer. */
  async #close(seen: CommandRow, now: string): Promise<void> {
    const { db, removeNode } = this.#deps
    const afterCommit = await db.write(async (tx) => {
      const row = await getCommand(tx, seen.id)
      if (row === null || row.state !== seen.state) return null
      if (row.type === 'remove') {
        const detail = { credentials: 'the node did not say that it has erased them' }
        await finishCommand(tx, row.id, { state: 'succeeded', detail, error: null }, now)
        return removeNode(tx, contextOf(row), row.node_id)
      }
      const message =
        row.state === 'pending'
          ? `The node did not fetch it before its deadline, and will not run it.${this.#clockTrouble(row, now)}`
          : 'The node fetched it and has not said what became of it.'
      const error = { code: 'expired', message }
      await finishCommand(tx, row.id, { state: 'expired', detail: {}, error }, now)
      return null
    })
    afterCommit?.()
  }

  /** Says so when its time is over sooner than it can be: the clock was set forward, or is ahead of the one that it was given by. */
  #clockTrouble({ id, created_at, deadline_at }: CommandRow, now: string): string {
    if (this.#looks === 1 || this.#seenMs.size >= unfetchedMax) return ''
    const ttlMs = Date.parse(deadline_at) - Date.parse(created_at)
    const nowMs = performance.now()
    const seenMs = nowMs - (this.#seenMs.get(id) ?? nowMs)
    if (seenMs + lateMsMax >= ttlMs) return ''
    return ` It was asked for at ${created_at} for ${ttlMs / 1000} s and known here for ${Math.round(seenMs / 1000)} s, but the clock of this control plane says ${now}: it was set, or the clocks of control planes differ.`
  }
}

/** What is done late is done for whoever asked for it. */
function contextOf(row: CommandRow): RequestContext {
  const key_id = row.created_by.replace(/^key:/, '')
  const caller = { kind: 'user', key_id, name: row.created_by, role: 'owner' } as const
  return { caller, request_id: row.id, ip: '' }
}
