/**
 * The rules of commands [C8]. A command is a row; the node fetches what it has not answered, and answers. It is handed out again until
 * there is a result, and the node's own record makes that harmless. What no node fetches by its deadline is never run.
 */

import { EdgefnError } from '../../errors.ts'
import type {
  CommandCreation,
  CommandId,
  CommandResult,
  CommandView,
  PendingCommands,
} from '../../protocol/commands.ts'
import { nodeCommandSchema } from '../../protocol/commands.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type { NodeId, PopId } from '../../protocol/ids.ts'
import type { RecordAudit } from '../audit/audit.ts'
import { actorOf, type RequestContext } from '../context.ts'
import type { Database, Sql, Transaction } from '../db/database.ts'
import type { FunctionLookup } from '../lookup.ts'
import { viewOf, type CommandQuery, type CommandRow } from './schema.ts'
import {
  countOpen,
  finishCommand,
  getCommand,
  insertCommand,
  listCommands,
  markDelivered,
  nodeForCommand,
  openCommands,
  setMode,
} from './store.ts'

/** How long the result of a command is waited for after its deadline: it may have been begun in the last moment. */
const resultMsMax = 10 * 60_000
/** How long a node that is to leave may take, unless it is said. */
const removeSecondsDefault = 60

export interface CommandDeps {
  readonly db: Database
  readonly audit: RecordAudit
  readonly functions: FunctionLookup
  readonly isOffline: (sql: Sql, nodeId: NodeId) => Promise<boolean>
  /** Tells the node that there is something to fetch; may be lost. */
  readonly hint: (nodeId: NodeId, commandId: CommandId) => void
  /** Given by nodes: deletes the node; run the result after the commit. */
  readonly removeNode: (
    tx: Transaction,
    context: RequestContext,
    nodeId: NodeId,
  ) => Promise<() => void>
  /** Given by deployments: gives a node what it missed while it was cordoned. */
  readonly uncordoned: (tx: Transaction, nodeId: NodeId, popId: PopId) => Promise<void>
}

export interface CommandService {
  /**
   * Asks a node for something. `cordon`, `uncordon`, and `remove` of a node that is offline, are done with the answer. Throws
   * `node_not_found`, `invalid_field` for a deadline that is over or too far, `conflict` when too many are open.
   */
  create(context: RequestContext, nodeId: NodeId, body: CommandCreation): Promise<CommandView>
  get(id: CommandId): Promise<CommandView>
  list(
    nodeId: NodeId,
    query: CommandQuery,
  ): Promise<{ items: CommandView[]; next_cursor: string | null }>
  /** What the node has to do; it counts as handed out. */
  pending(nodeId: NodeId): Promise<PendingCommands>
  /** Takes what became of a command; a second answer changes nothing. Throws `not_found` for one that is not the node's. */
  result(
    context: RequestContext,
    nodeId: NodeId,
    id: CommandId,
    result: CommandResult,
  ): Promise<void>
}

export function createCommands(deps: CommandDeps): CommandService {
  return {
    create: (context, nodeId, body) => create(deps, context, nodeId, body),

    get: async (id) => viewOf(await requireCommand(deps.db, id)),

    list: async (nodeId, query) => {
      const rows = await listCommands(deps.db, {
        node_id: nodeId,
        state: query.state ?? null,
        before: query.cursor ?? null,
        rows_max: query.limit + 1,
      })
      const page = rows.slice(0, query.limit)
      return {
        items: page.map(viewOf),
        next_cursor: rows.length > page.length ? (page.at(-1)?.id ?? null) : null,
      }
    },

    pending: (nodeId) => pending(deps, nodeId),

    result: async (context, nodeId, id, result) => {
      const afterCommit = await deps.db.write((tx) =>
        takeResult(deps, tx, context, nodeId, id, result),
      )
      afterCommit?.()
    },
  }
}

async function create(
  deps: CommandDeps,
  context: RequestContext,
  nodeId: NodeId,
  body: CommandCreation,
): Promise<CommandView> {
  const params = await paramsOf(deps, body)
  const id = Bun.randomUUIDv7() as CommandId
  const afterCommit = await deps.db.write(async (tx) => {
    const node = await nodeForCommand(tx, nodeId)
    if (node === null) {
      throw new EdgefnError('node_not_found', `No node is called ${nodeId}.`)
    }
    if ((await countOpen(tx, nodeId)) >= LIMITS.commandsOpenMax) {
      throw new EdgefnError(
        'conflict',
        `Node ${nodeId} has ${LIMITS.commandsOpenMax} commands that it has not answered.`,
      )
    }
    const row = newRow(context, nodeId, id, body, params)
    await insertCommand(tx, row)
    await deps.audit(tx, context, {
      resource_type: 'node',
      resource_id: nodeId,
      operation: 'command',
      before: null,
      after: { command_id: id, type: body.type, params, deadline_at: row.deadline_at },
    })
    return settleAtOnce(deps, tx, context, row, node)
  })
  if (afterCommit === null) deps.hint(nodeId, id)
  else afterCommit()
  return viewOf(await requireCommand(deps.db, id))
}

/** What needs no node is done in the transaction that asks for it; null for all else. */
async function settleAtOnce(
  deps: CommandDeps,
  tx: Transaction,
  context: RequestContext,
  row: CommandRow,
  node: { readonly pop_id: PopId; readonly cordoned: number },
): Promise<(() => void) | null> {
  const { type, node_id: nodeId } = row
  const done = (detail: CommandResult['detail']) =>
    finishCommand(tx, row.id, { state: 'succeeded', detail, error: null }, row.created_at)
  switch (type) {
    case 'cordon':
    case 'uncordon': {
      const wanted = type === 'cordon' ? 1 : 0
      if (node.cordoned !== wanted) {
        await setMode(tx, nodeId, 'cordoned', wanted)
        if (wanted === 0) await deps.uncordoned(tx, nodeId, node.pop_id)
      }
      await done({})
      return () => undefined
    }
    case 'remove':
      if (!(await deps.isOffline(tx, nodeId))) return null
      await done({ credentials: 'kept by the node, which is offline; they are of no use any more' })
      return deps.removeNode(tx, context, nodeId)
    default:
      return null
  }
}

function newRow(
  context: RequestContext,
  nodeId: NodeId,
  id: CommandId,
  body: CommandCreation,
  params: Record<string, unknown>,
): CommandRow {
  const now = Date.now()
  const deadline = deadlineOf(body, now)
  const lastsMs = body.type === 'isolate' ? body.params.for_seconds * 1000 : 0
  const answerMs = body.type === 'remove' ? 0 : resultMsMax
  return {
    id,
    node_id: nodeId,
    type: body.type,
    params: JSON.stringify(params),
    state: 'pending',
    created_by: actorOf(context.caller),
    created_at: new Date(now).toISOString(),
    deadline_at: new Date(deadline).toISOString(),
    give_up_at: new Date(deadline + lastsMs + answerMs).toISOString(),
    delivered_at: null,
    finished_at: null,
    result: null,
    error_code: null,
    error_message: null,
  }
}

function deadlineOf(body: CommandCreation, now: number): number {
  const { ttl_seconds, deadline } = body
  const refuse = (field: string, why: string) =>
    new EdgefnError('invalid_field', `Field ${field} of the body ${why}.`, { details: { field } })
  if (deadline === undefined) {
    const usual = body.type === 'remove' ? removeSecondsDefault : LIMITS.commandSecondsDefault
    return now + (ttl_seconds ?? usual) * 1000
  }
  if (ttl_seconds !== undefined)
    throw refuse('deadline', 'cannot be given together with ttl_seconds')
  const at = Date.parse(deadline)
  if (at <= now) throw refuse('deadline', 'is over')
  if (at > now + LIMITS.commandSecondsMax * 1000) {
    throw refuse('deadline', `must be within ${LIMITS.commandSecondsMax} seconds`)
  }
  return at
}

/** As nodes understand them. Throws `function_not_found`, and `invalid_field` for a scope without its function. */
async function paramsOf(
  deps: CommandDeps,
  body: CommandCreation,
): Promise<Record<string, string | number | null>> {
  switch (body.type) {
    case 'purge_cache': {
      const { scope, function: named } = body.params
      if ((scope === 'function') !== (named !== undefined)) {
        throw new EdgefnError(
          'invalid_field',
          'Field params.function of the body must be given with the scope function, and only then.',
          { details: { field: 'params.function' } },
        )
      }
      const found = named === undefined ? null : await deps.functions.resolve(deps.db, named)
      return { scope, function_id: found?.id ?? null }
    }
    case 'set_log_level':
      return { level: body.params.level, for_seconds: body.params.for_seconds ?? null }
    case 'isolate':
      return body.params
    default:
      return {}
  }
}

async function pending({ db }: CommandDeps, nodeId: NodeId): Promise<PendingCommands> {
  const now = Date.now()
  const nowText = new Date(now).toISOString()
  let rows = await openCommands(db, nodeId, nowText)
  if (rows.some((row) => row.state === 'pending')) {
    rows = await db.write(async (tx) => {
      const open = await openCommands(tx, nodeId, nowText)
      for (const row of open) {
        if (!(await markDelivered(tx, row, nowText)) || row.type !== 'isolate') continue
        const { for_seconds } = JSON.parse(row.params) as { for_seconds: number }
        const until = new Date(now + for_seconds * 1000).toISOString()
        await setMode(tx, nodeId, 'isolated_until', until)
      }
      return open
    })
  }
  return {
    commands: rows.map((row) => ({
      command_id: row.id,
      ttl_ms: ttlMsOf(row, now),
      command: nodeCommandSchema.parse({ type: row.type, params: JSON.parse(row.params) }),
    })),
  }
}

/** Never more than the whole: the clock may have been set back since, or be another control plane's. */
function ttlMsOf({ created_at, deadline_at }: CommandRow, now: number): number {
  const deadline = Date.parse(deadline_at)
  return deadline - Math.max(now, Date.parse(created_at))
}

async function takeResult(
  deps: CommandDeps,
  tx: Transaction,
  context: RequestContext,
  nodeId: NodeId,
  id: CommandId,
  result: CommandResult,
): Promise<(() => void) | null> {
  const row = await getCommand(tx, id)
  if (row === null || row.node_id !== nodeId) throw noCommand(id)
  // What had no answer in time may have one now; what is answered stays so.
  if (row.state === 'succeeded' || row.state === 'failed') return null
  // Said again, because the node did not hear that it was taken.
  if (row.state === 'expired' && result.state === 'expired') return null
  await finishCommand(tx, id, result, new Date().toISOString())
  await deps.audit(tx, context, {
    resource_type: 'node',
    resource_id: nodeId,
    operation: 'command_result',
    before: { command_id: id, type: row.type, state: row.state },
    after: { command_id: id, type: row.type, ...result },
  })
  if (row.type === 'isolate') await setMode(tx, nodeId, 'isolated_until', null)
  // A node whose calls did not end in time refuses new ones all the same.
  const isDrained = result.state === 'succeeded' || result.error?.code === 'overloaded'
  if (row.type === 'drain' && isDrained) await setMode(tx, nodeId, 'drained', 1)
  if (result.state !== 'succeeded') return null
  if (row.type === 'undrain') await setMode(tx, nodeId, 'drained', 0)
  if (row.type === 'remove') return deps.removeNode(tx, context, nodeId)
  return null
}

async function requireCommand(sql: Sql, id: CommandId): Promise<CommandRow> {
  const row = await getCommand(sql, id)
  if (row === null) throw noCommand(id)
  return row
}

function noCommand(id: CommandId): EdgefnError {
  return new EdgefnError('not_found', `There is no command ${id}.`)
}
