/** HTTP of commands [C8]. */

import { pageSchema } from '../../protocol/api.ts'
import {
  commandCreationSchema,
  commandResultSchema,
  commandViewSchema,
  pendingCommandsSchema,
} from '../../protocol/commands.ts'
import { endpoint, type Endpoint } from '../endpoint.ts'
import { commandParams, commandQuery, nodeCommandParams, nodeCommandsParams } from './schema.ts'
import type { CommandService } from './service.ts'

export function commandEndpoints(commands: CommandService): Endpoint[] {
  return [...operatorEndpoints(commands), ...nodeEndpoints(commands)]
}

function operatorEndpoints(commands: CommandService): Endpoint[] {
  return [
    endpoint({
      method: 'POST',
      path: '/nodes/:id/commands',
      tag: 'commands',
      summary: 'Ask a node for something; done once, or expired at its deadline',
      access: 'owner',
      params: nodeCommandsParams,
      body: commandCreationSchema,
      status: 201,
      response: commandViewSchema,
      handle: ({ params, body, context }) => commands.create(context, params.id, body),
    }),
    endpoint({
      method: 'GET',
      path: '/nodes/:id/commands',
      tag: 'commands',
      summary: 'What was asked of a node and what became of it, newest first',
      access: 'viewer',
      params: nodeCommandsParams,
      query: commandQuery,
      status: 200,
      response: pageSchema(commandViewSchema),
      handle: ({ params, query }) => commands.list(params.id, query),
    }),
    endpoint({
      method: 'GET',
      path: '/commands/:id',
      tag: 'commands',
      summary: 'Show a command',
      access: 'viewer',
      params: commandParams,
      status: 200,
      response: commandViewSchema,
      handle: ({ params }) => commands.get(params.id),
    }),
  ]
}

function nodeEndpoints(commands: CommandService): Endpoint[] {
  return [
    endpoint({
      method: 'GET',
      path: '/nodes/:id/commands/pending',
      tag: 'commands',
      summary: 'What the node has not answered yet; it counts as handed out',
      access: 'node',
      params: nodeCommandsParams,
      status: 200,
      response: pendingCommandsSchema,
      handle: ({ params }) => commands.pending(params.id),
    }),
    endpoint({
      method: 'POST',
      path: '/nodes/:id/commands/:command_id/result',
      tag: 'commands',
      summary: 'The node says what became of a command',
      access: 'node',
      params: nodeCommandParams,
      body: commandResultSchema,
      status: 204,
      handle: async ({ params, body, context }) => {
        await commands.result(context, params.id, params.command_id, body)
        return undefined
      },
    }),
  ]
}
