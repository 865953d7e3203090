/**
 * Keeps what the node was told to do in the index: which commands it has begun, what became of them until the control plane
 * has it, and what holds until something else is said. A command and the mode it sets are one transaction, before the effect.
 */

import type { Database } from 'bun:sqlite'
import { z } from 'zod'

import {
  commandIdSchema,
  commandResultSchema,
  nodeCommandSchema,
  type CommandId,
  type CommandResult,
  type NodeCommand,
} from '../../../protocol/commands.ts'
import { spanSchema } from '../commands/span.ts'

/** Records that the control plane has, kept in case it asks again. */
const recordsMax = 1_000

export const modesSchema = z.strictObject({
  drained: z.boolean(),
  /** The node is on its way out. */
  leaving: z.boolean(),
  isolated: spanSchema.nullable(),
  log_level: z
    .strictObject({
      level: z.enum(['debug', 'info', 'warn', 'error']),
      span: spanSchema.nullable(),
    })
    .nullable(),
})
export type Modes = z.infer<typeof modesSchema>

export const NO_MODES: Modes = { drained: false, leaving: false, isolated: null, log_level: null }

export interface CommandRecord {
  readonly command_id: CommandId
  readonly command: NodeCommand
  /** Null while it runs, or when the agent ended meanwhile. */
  readonly result: CommandResult | null
}

/** Every writing method throws what SQLite throws (disk full). */
export interface CommandStore {
  modes(): Modes
  saveModes(modes: Modes): void
  find(id: CommandId): CommandRecord | null
  /** What the control plane does not have yet, oldest first. */
  unacknowledged(): CommandRecord[]
  /** Notes that a command begins, with the modes it sets, if any. */
  begin(id: CommandId, command: NodeCommand, modes: Modes | null): void
  /** Notes what became of it; the control plane does not have that. */
  finish(id: CommandId, result: CommandResult): void
  /** Puts a command in the place of a record of it that cannot be read; false when there is no record at all. */
  mend(id: CommandId, command: NodeCommand): boolean
  /** The node is another one from now on: forgets all commands and modes. */
  clear(): void
  /** The control plane has the result; `false`: it asks for it again. */
  acknowledge(id: CommandId, acknowledged: boolean): void
}

const rowSchema = z.object({
  command_id: commandIdSchema,
  command: z.string(),
  result: z.string().nullable(),
})

export function createCommandStore(database: Database): CommandStore {
  const putModes = database.query(
    'INSERT INTO modes VALUES (1, ?1) ON CONFLICT DO UPDATE SET modes = excluded.modes',
  )
  const insert = database.query(
    'INSERT INTO commands (command_id, command, begun_at) VALUES (?1, ?2, ?3)',
  )
  const prune = database.query(
    `DELETE FROM commands WHERE acknowledged = 1 AND command_id NOT IN
     (SELECT command_id FROM commands ORDER BY command_id DESC LIMIT ${recordsMax})`,
  )
  const begin = database.transaction((id: CommandId, command: NodeCommand, modes: Modes | null) => {
    prune.run()
    insert.run(id, JSON.stringify(command), Date.now())
    if (modes !== null) putModes.run(JSON.stringify(modes))
  })
  const clear = database.transaction(() => {
    database.query('DELETE FROM commands').run()
    putModes.run(JSON.stringify(NO_MODES))
  })
  const select = 'SELECT command_id, command, result FROM commands'
  return {
    modes() {
      const row = database.query<[string], []>('SELECT modes FROM modes').values()[0]
      const parsed = modesSchema.safeParse(parseJson(String(row?.[0] ?? '')))
      return parsed.success ? parsed.data : NO_MODES
    },
    saveModes: (modes) => void putModes.run(JSON.stringify(modes)),
    find: (id) => records(database.query(`${select} WHERE command_id = ?1`).all(id))[0] ?? null,
    unacknowledged: () =>
      records(database.query(`${select} WHERE acknowledged = 0 ORDER BY command_id`).all()),
    begin: (id, command, modes) => begin.immediate(id, command, modes),
    finish: (id, result) =>
      void database
        .query('UPDATE commands SET result = ?2, acknowledged = 0 WHERE command_id = ?1')
        .run(id, JSON.stringify(result)),
    mend: (id, command) =>
      database
        .query('UPDATE commands SET command = ?2, result = NULL WHERE command_id = ?1')
        .run(id, JSON.stringify(command)).changes > 0,
    clear: () => clear.immediate(),
    acknowledge: (id, acknowledged) =>
      void database
        .query('UPDATE commands SET acknowledged = ?2 WHERE command_id = ?1')
        .run(id, acknowledged ? 1 : 0),
  }
}

/** Damaged rows are left out: whoever asked learns that nothing was said. */
function records(rows: readonly unknown[]): CommandRecord[] {
  return rows.flatMap((raw) => {
    const row = rowSchema.safeParse(raw)
    if (!row.success) return []
    const { command_id } = row.data
    const command = nodeCommandSchema.safeParse(parseJson(row.data.command))
    const result = commandResultSchema.nullable().safeParse(parseJson(row.data.result ?? 'null'))
    if (!command.success || !result.success) return []
    return [{ command_id, command: command.data, result: result.data }]
  })
}

/** Undefined, which no schema here takes, for what is no JSON. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
