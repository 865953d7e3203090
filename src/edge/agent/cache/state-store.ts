/** Keeps the applied state in the index, one transaction per plan, so that a restarted node serves with the CP away. */

import type { Database } from 'bun:sqlite'
import { z } from 'zod'

import { routeSchema } from '../../../protocol/manifest.ts'
import type { Route } from '../../../protocol/manifest.ts'
import { syncAckSchema } from '../../../protocol/plan.ts'
import { VERSION } from '../../../version.ts'
import type { FunctionEntry, NodeState } from '../node-state.ts'
import { EMPTY_STATE, functionEntrySchema } from '../node-state.ts'
import { schemaSetSchema, type SchemaSet } from '../schemas/schema-state.ts'
import { openEntry, sealEntry } from './secret-seal.ts'

export interface StateStore {
  load(): NodeState
  /** Writes what differs from `previous`, which must be what is stored. Throws what SQLite throws (disk full). */
  save(next: NodeState, previous: NodeState): void
}

const nodeRowSchema = z.object({
  revision: z.int(),
  unacknowledged: z.string().nullable(),
  unread_by: z.string().nullable(),
})

/** `secretKey` seals the secrets in what is stored (`secret-seal.ts`). */
export function createStateStore(database: Database, secretKey: Uint8Array): StateStore {
  const putFunction = database.query(
    'INSERT INTO functions VALUES (?1, ?2) ON CONFLICT DO UPDATE SET entry = excluded.entry',
  )
  const deleteFunction = database.query('DELETE FROM functions WHERE function_id = ?1')
  const putRoute = database.query(
    'INSERT INTO routes VALUES (?1, ?2) ON CONFLICT DO UPDATE SET route = excluded.route',
  )
  const deleteRoute = database.query('DELETE FROM routes WHERE route_id = ?1')
  const putSchemas = database.query(
    'INSERT INTO schemas VALUES (?1, ?2) ON CONFLICT DO UPDATE SET entries = excluded.entries',
  )
  const deleteSchemas = database.query('DELETE FROM schemas WHERE function_id = ?1')
  const putState = database.query(
    `INSERT INTO node_state (id, revision, unacknowledged, unread_by) VALUES (1, ?1, ?2, ?3)
     ON CONFLICT DO UPDATE SET revision = excluded.revision, unacknowledged = excluded.unacknowledged,
       unread_by = excluded.unread_by`,
  )
  const write = database.transaction((next: NodeState, previous: NodeState) => {
    const sealed = (entry: FunctionEntry) => sealEntry(secretKey, entry)
    writeChanges(next.functions, previous.functions, putFunction, deleteFunction, sealed)
    writeChanges(next.routes, previous.routes, putRoute, deleteRoute, JSON.stringify)
    writeChanges(next.schemas, previous.schemas, putSchemas, deleteSchemas, JSON.stringify)
    const ack = next.unacknowledged
    putState.run(next.revision, ack === null ? null : JSON.stringify(ack), next.unread_by)
  })
  return {
    load: () => loadState(database, secretKey),
    save: (next, previous) => write.immediate(next, previous),
  }
}

interface Statement {
  run(...values: string[]): unknown
}

/** Values are immutable, so an unchanged one is the same object. */
function writeChanges<T>(
  next: ReadonlyMap<string, T>,
  previous: ReadonlyMap<string, T>,
  put: Statement,
  remove: Statement,
  textOf: (value: T) => string,
): void {
  for (const [id, value] of next) {
    if (previous.get(id) !== value) put.run(id, textOf(value))
  }
  for (const id of previous.keys()) {
    if (!next.has(id)) remove.run(id)
  }
}

/**
 * Rows of another format, and damaged ones, are left out, and the revision is then 0, which asks for a full plan; so it is
 * when another version of edgefn left out actions that it could not read.
 */
function loadState(database: Database, secretKey: Uint8Array): NodeState {
  const row = database.query('SELECT revision, unacknowledged, unread_by FROM node_state').get()
  if (row === null) return EMPTY_STATE
  const node = nodeRowSchema.parse(row)
  const bad = { count: 0 }
  const readAnew = node.unread_by !== null && node.unread_by !== VERSION
  const functions = parseRows<FunctionEntry>(
    database.query<[string, string], []>('SELECT function_id, entry FROM functions').values(),
    functionEntrySchema,
    bad,
    (stored) => openEntry(secretKey, stored),
  )
  const routes = parseRows<Route>(
    database.query<[string, string], []>('SELECT route_id, route FROM routes').values(),
    routeSchema,
    bad,
  )
  const schemas = parseRows<SchemaSet>(
    database.query<[string, string], []>('SELECT function_id, entries FROM schemas').values(),
    schemaSetSchema,
    bad,
  )
  const ack = syncAckSchema.nullable().safeParse(parseJson(node.unacknowledged ?? 'null'))
  return {
    synced: true,
    revision: bad.count === 0 && !readAnew ? node.revision : 0,
    functions,
    routes,
    schemas,
    unacknowledged: ack.success ? ack.data : null,
    unread_by: node.unread_by,
  }
}

function parseRows<T>(
  rows: readonly unknown[][],
  schema: z.ZodType<T>,
  bad: { count: number },
  opened: (stored: unknown) => unknown = (stored) => stored,
): Map<string, T> {
  const parsed = new Map<string, T>()
  for (const [id, json] of rows) {
    const result = schema.safeParse(openedOrNull(opened, parseJson(String(json))))
    if (result.success) parsed.set(String(id), result.data)
    else bad.count += 1
  }
  return parsed
}

/** Undefined, which no schema here takes, for what is no JSON: SQLite notices no flipped bit inside a row. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Null, which no schema here takes, for what was sealed with another key. */
function openedOrNull(opened: (stored: unknown) => unknown, stored: unknown): unknown {
  try {
    return opened(stored)
  } catch {
    return null
  }
}
