/** Reads the commands that wait for a node, on a node that may be older than the control plane. */

import { z } from 'zod'

import {
  commandIdSchema,
  pendingCommandsSchema,
  type CommandId,
  type PendingCommands,
} from './commands.ts'
import { readAnswer } from './lenient.ts'

export interface CommandsAsRead extends PendingCommands {
  /** Those of a kind, or with values, that this version does not know: they have failed, and hold up no other. */
  readonly unread: readonly CommandId[]
}

const idSchema = z.object({ command_id: commandIdSchema })

const answerSchema = z
  .object({ commands: z.array(z.unknown()) })
  .transform(({ commands: waiting }): CommandsAsRead => {
    const commands: PendingCommands['commands'] = []
    const unread: CommandId[] = []
    for (const one of waiting) {
      const read = readAnswer(pendingCommandsSchema.shape.commands.element, one)
      const id = idSchema.safeParse(one).data?.command_id
      if (read.success) commands.push(read.data)
      else if (id !== undefined) unread.push(id)
    }
    return { commands, unread }
  })

export function readPendingCommands(answer: unknown): z.ZodSafeParseResult<CommandsAsRead> {
  return answerSchema.safeParse(answer)
}
