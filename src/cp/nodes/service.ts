/** The rules of nodes: joining, leaving, credentials, heartbeats. */

import { EdgefnError } from '../../errors.ts'
import type {
  JoinTokenView,
  NodeCredentials,
  NodeDetail,
  NodeRegistration,
  NodeView,
} from '../../protocol/api.ts'
import { nodeIdSchema, type NodeId, type PopId } from '../../protocol/ids.ts'
import type { Heartbeat, HeartbeatAnswer, MqttPlace, Notice } from '../../protocol/messages.ts'
import type { RecordAudit } from '../audit/audit.ts'
import type { RequestContext } from '../context.ts'
import type { Database, Sql, Transaction } from '../db/database.ts'
import type { RecordEvent } from '../events.ts'
import type { Liveness } from './liveness.ts'
import { lastCommandSchema, type NodeQuery, type NodeRow, type ShownNodeRow } from './schema.ts'
import { functionsOnNode } from './functions-on-node.ts'
import {
  assignedFunctions,
  deleteNode,
  functionNames,
  getNode,
  listNodes,
  putNode,
  setNextTokenHash,
  showNode,
} from './store.ts'

export interface NodeDeps {
  readonly db: Database
  readonly audit: RecordAudit
  readonly recordEvent: RecordEvent
  readonly liveness: Liveness
  readonly heartbeat_ms: number
  /** The control plane's public key, base64url. */
  readonly signingKey: string
  /** Null when there is no broker. */
  readonly mqtt: () => MqttPlace
  readonly publicUrl: () => string
  readonly issueNodeToken: (
    nodeId: NodeId,
    popId: PopId,
  ) => Promise<{ readonly token: string; readonly token_hash: string; readonly expires_at: string }>
  readonly registeredBefore: (sql: Sql, id: string, nonce: string | null) => Promise<NodeId | null>
  readonly consumeJoinToken: (
    tx: Transaction,
    id: string,
    nodeId: NodeId,
    nonce: string | null,
  ) => Promise<void>
  readonly createJoinToken: (
    tx: Transaction,
    context: RequestContext,
    request: { readonly pop_id: PopId; readonly ttl_seconds: number },
  ) => Promise<{ readonly id: string; readonly token: string; readonly expires_at: string }>
  /** Given by deployments: what a new node of the POP should serve. */
  readonly nodeJoined: (tx: Transaction, nodeId: NodeId, popId: string) => Promise<void>
  /** Given by deployments: deletes by `remove` and settles what waited for the node; run the result after the commit. */
  readonly nodeLeaving: (
    tx: Transaction,
    nodeId: NodeId,
    remove: () => Promise<void>,
  ) => Promise<() => void>
  /** Given by commands: an id that exists is registered again; what was handed to the machine before is not done by this one. */
  readonly setUpAgain: (tx: Transaction, nodeId: NodeId) => Promise<void>
  /** Given by commands: how many the node has not answered. */
  readonly commandsWaiting: (nodeId: NodeId) => Promise<number>
  /** Given by the outbox: notices the node has not acknowledged. */
  readonly undelivered: (nodeId: NodeId) => Promise<Notice[]>
  /** Given by the audit log: compares the head that the node has seen, and gives it the newest. */
  readonly witness: (
    nodeId: NodeId,
    head: Heartbeat['audit_head'],
  ) => Promise<HeartbeatAnswer['audit_head']>
  /** Ends the node's MQTT session, if it has one. */
  readonly disconnect: (nodeId: NodeId) => void
  /** The same for good: what the broker keeps for the node goes too. */
  readonly forget: (nodeId: NodeId) => void
}

export interface NodeService {
  /**
   * Takes a node in by its single-use join token [R12]. The token's POP must be the one asked for. An id that exists in
   * the same POP is the same machine set up again: its credentials are replaced and its old token and session end;
   * whoever holds a join token of a POP is trusted with the nodes of that POP. Throws `forbidden` for another POP,
   * `conflict` for an id that is taken in another one, `unauthenticated` for a token that was used meanwhile, but for a
   * node that asks again with its nonce because the answer never came.
   */
  register(context: RequestContext, body: NodeRegistration): Promise<NodeCredentials>
  /** A new JWT; the one before ends when this one is first used. */
  renew(context: RequestContext, nodeId: NodeId): Promise<NodeCredentials>
  heartbeat(nodeId: NodeId, beat: Heartbeat): Promise<HeartbeatAnswer>
  list(query: NodeQuery): Promise<{ items: NodeView[]; next_cursor: string | null }>
  get(nodeId: NodeId): Promise<NodeDetail>
  /** Deletes a node: its token and its session end. */
  remove(context: RequestContext, nodeId: NodeId): Promise<void>
  /** The same within a transaction; the result is to be run after its commit. */
  leave(tx: Transaction, context: RequestContext, nodeId: NodeId): Promise<() => void>
  createJoinToken(
    context: RequestContext,
    body: { readonly pop_id: PopId; readonly ttl_seconds: number },
  ): Promise<JoinTokenView>
}

export function createNodes(deps: NodeDeps): NodeService {
  return {
    register: (context, body) => register(deps, context, body),

    renew: async (context, nodeId) => {
      const node = await requireNode(deps.db, nodeId)
      const issued = await deps.issueNodeToken(nodeId, node.pop_id)
      const now = new Date().toISOString()
      await deps.db.write(async (tx) => {
        await setNextTokenHash(tx, nodeId, issued.token_hash, now)
        await deps.audit(tx, context, {
          resource_type: 'node',
          resource_id: nodeId,
          operation: 'update',
          before: null,
          after: { token_expires_at: issued.expires_at },
        })
      })
      return credentials(deps, nodeId, node.pop_id, issued)
    },

    heartbeat: async (nodeId, beat) => {
      if (beat.node_id !== nodeId) {
        throw new EdgefnError(
          'invalid_field',
          `Field node_id of the body must be ${nodeId}, got ${beat.node_id}.`,
          { details: { field: 'node_id' } },
        )
      }
      const node = await requireNode(deps.db, nodeId)
      deps.liveness.beat(beat)
      const auditHead = await deps.witness(nodeId, beat.audit_head)
      return {
        ...(auditHead === undefined ? {} : { audit_head: auditHead }),
        revision: node.desired_revision,
        notices: await deps.undelivered(nodeId),
        commands: await deps.commandsWaiting(nodeId),
        server_time: new Date().toISOString(),
        mqtt: deps.mqtt(),
      }
    },

    list: async (query) => {
      const rows = await listNodes(deps.db, {
        pop_id: query.pop ?? null,
        status: query.status ?? null,
        cordoned: query.cordoned === undefined ? null : Number(query.cordoned === 'true'),
        after: query.cursor ?? null,
        rows_max: query.limit + 1,
      })
      const page = rows.slice(0, query.limit)
      return {
        items: page.map((row) => withLife(deps.liveness, row)),
        next_cursor: rows.length > page.length ? (page.at(-1)?.id ?? null) : null,
      }
    },

    get: async (nodeId) => {
      const node = await showNode(deps.db, nodeId)
      if (node === null) throw noNode(nodeId)
      return {
        ...withLife(deps.liveness, node),
        functions: await functionsOf(deps, nodeId),
      }
    },

    remove: async (context, nodeId) => {
      const afterCommit = await deps.db.write((tx) => leave(deps, tx, context, nodeId))
      afterCommit()
    },

    leave: (tx, context, nodeId) => leave(deps, tx, context, nodeId),

    createJoinToken: async (context, body) => {
      const created = await deps.db.write((tx) => deps.createJoinToken(tx, context, body))
      const command =
        `edgefn edge --pop ${body.pop_id} --cp ${deps.publicUrl()} --token ${created.token} ` +
        '--data-dir /var/lib/edgefn'
      return { ...created, pop_id: body.pop_id, command }
    },
  }
}

async function leave(
  deps: NodeDeps,
  tx: Transaction,
  context: RequestContext,
  nodeId: NodeId,
): Promise<() => void> {
  const node = await requireNode(tx, nodeId)
  await deps.audit(tx, context, {
    resource_type: 'node',
    resource_id: nodeId,
    operation: 'delete',
    before: node,
    after: null,
  })
  const tell = await deps.recordEvent(tx, {
    ...{ type: 'node', node_id: nodeId, pop_id: node.pop_id, status: 'removed' },
    at: new Date().toISOString(),
  })
  const afterCommit = await deps.nodeLeaving(tx, nodeId, () => deleteNode(tx, nodeId))
  return () => {
    deps.liveness.forget(nodeId)
    deps.forget(nodeId)
    tell()
    afterCommit()
  }
}

async function register(
  deps: NodeDeps,
  context: RequestContext,
  body: NodeRegistration,
): Promise<NodeCredentials> {
  const { caller } = context
  if (caller.kind !== 'join_token') throw new EdgefnError('forbidden', 'This needs a join token.')
  if (caller.pop_id !== body.pop_id) {
    throw new EdgefnError(
      'forbidden',
      `The join token is for POP ${caller.pop_id}, not for ${body.pop_id}.`,
    )
  }
  const nonce = body.nonce ?? null
  const again = await deps.registeredBefore(deps.db, caller.join_token_id, nonce)
  const nodeId = body.node_id ?? again ?? nameAfter(body.pop_id)
  const issued = await deps.issueNodeToken(nodeId, body.pop_id)
  const existing = await deps.db.write(async (tx) => {
    const before = await getNode(tx, nodeId)
    if (before !== null && before.pop_id !== body.pop_id) {
      throw new EdgefnError(
        'conflict',
        `Node ${nodeId} exists in POP ${before.pop_id}; delete it there, or take another node id.`,
      )
    }
    await deps.consumeJoinToken(tx, caller.join_token_id, nodeId, nonce)
    const { pop_id, version, os, arch, http_port } = body
    const node = { id: nodeId, pop_id, ip: context.ip, version, os, arch, http_port }
    await putNode(tx, node, issued.token_hash, new Date().toISOString())
    await deps.audit(tx, context, {
      resource_type: 'node',
      resource_id: nodeId,
      operation: 'register',
      before,
      after: node,
    })
    if (before === null) await deps.nodeJoined(tx, nodeId, pop_id)
    else await deps.setUpAgain(tx, nodeId)
    return before !== null
  })
  // The session of the old credentials ends; what it knew of functions does not hold for the new one.
  if (existing) deps.disconnect(nodeId)
  deps.liveness.joined(nodeId, body.pop_id)
  return credentials(deps, nodeId, body.pop_id, issued)
}

function credentials(
  deps: NodeDeps,
  nodeId: NodeId,
  popId: PopId,
  issued: { readonly token: string; readonly expires_at: string },
): NodeCredentials {
  return {
    node_id: nodeId,
    pop_id: popId,
    token: issued.token,
    token_expires_at: issued.expires_at,
    ...deps.mqtt(),
    signing_key: deps.signingKey,
    heartbeat_seconds: deps.heartbeat_ms / 1000,
  }
}

/** The POP's name and 32 random bits; a POP id has at most 50 characters, so the whole fits a DNS label. */
function nameAfter(popId: PopId): NodeId {
  const random = Buffer.from(crypto.getRandomValues(new Uint8Array(4))).toString('hex')
  return nodeIdSchema.parse(`${popId}-${random}`)
}

async function requireNode(sql: Sql, nodeId: NodeId): Promise<NodeRow> {
  const node = await getNode(sql, nodeId)
  if (node === null) throw noNode(nodeId)
  return node
}

function noNode(nodeId: NodeId): EdgefnError {
  return new EdgefnError('node_not_found', `No node is called ${nodeId}.`)
}

/** The later of two times as text. */
function later(a: string | null, b: string | null): string | null {
  return (a ?? '') > (b ?? '') ? a : b
}

/** What memory knows is newer than the row. */
function withLife(liveness: Liveness, row: ShownNodeRow): NodeView {
  const beat = liveness.lastBeat(row.id)
  const until = row.isolated_until
  return {
    ...row,
    cordoned: row.cordoned === 1,
    drained: row.drained === 1,
    isolated_until: until !== null && Date.parse(until) > Date.now() ? until : null,
    last_command: lastCommandSchema.parse(JSON.parse(row.last_command ?? 'null')),
    status: liveness.statusIn(row),
    last_heartbeat: later(liveness.lastBeatAt(row.id), row.last_heartbeat),
    version: beat?.version ?? row.version,
    cpu_percent: beat?.cpu_percent ?? row.cpu_percent,
    mem_bytes: beat?.mem_bytes ?? row.mem_bytes,
  }
}

/** What the node should serve beside what it says it holds. */
async function functionsOf(deps: NodeDeps, nodeId: NodeId): Promise<NodeDetail['functions']> {
  const assigned = await assignedFunctions(deps.db, nodeId)
  const reported = deps.liveness.functions(nodeId)
  const names = await functionNames(deps.db, [...new Set(reported.map((item) => item.function_id))])
  for (const item of assigned) names.set(item.function_id, item.function_name)
  return functionsOnNode(assigned, reported, names)
}
