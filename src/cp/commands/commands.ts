/** The commands slice as `cp/compose.ts` takes it: endpoints, what works by itself, and what others ask of it. */

import type { NodeId } from '../../protocol/ids.ts'
import type { Log } from '../../telemetry/log.ts'
import type { Transaction } from '../db/database.ts'
import type { Endpoint } from '../endpoint.ts'
import { CommandKeeper } from './keeper.ts'
import { commandEndpoints } from './routes.ts'
import { createCommands, type CommandDeps } from './service.ts'
import { countOpen, failOpen } from './store.ts'

export interface Commands {
  readonly endpoints: readonly Endpoint[]
  readonly keeper: CommandKeeper
}

export function createCommandSlice(deps: CommandDeps & { readonly log: Log }): Commands {
  return {
    endpoints: commandEndpoints(createCommands(deps)),
    keeper: new CommandKeeper(deps),
  }
}

/** What the nodes slice asks of commands. */
export const COMMAND_HOOKS = {
  /** The node is being deleted: nobody will answer. */
  nodeLeaving: (tx: Transaction, nodeId: NodeId) =>
    failOpen(tx, nodeId, 'all', { code: 'node_not_found', message: 'The node was removed.' }),
  /** Another machine, or an empty one, has taken the node's id. */
  setUpAgain: (tx: Transaction, nodeId: NodeId) =>
    failOpen(tx, nodeId, 'delivered', {
      code: 'interrupted',
      message: 'The node was set up again and does not know what became of it.',
    }),
  countOpen,
}
