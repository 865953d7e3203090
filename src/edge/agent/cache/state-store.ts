/** Keeps the applied state in the index, one transaction per plan, so that a restarted node serves with the CP away. */

import type { Database } from 'bun:sqlite'
import { z } from 'zod'

import { routeSchema } from '../../../protocol/manifest.ts'
import type { Route } from '../../../protocol/manifest.ts'
import { syncAckSchema } from '../../../protocol/plan.ts'
import type { FunctionEntry, NodeState } from '../node-state.ts'
import { EMPTY_STATE, functionEntrySchema } from '../node-state.ts'

export interface StateStore {
  load(): NodeState
  /** Writes what differs from `previous`, which must be what is stored. Throws what SQLite throws (disk full). */
  save(next: NodeState, previous: NodeState): void
}

const nodeRowSchema = z.object({ revision: z.int(), unacknowledged: z.string().nullable() })

export function createStateStore(database: Database): StateStore {
  const putFunction = database.query(
    'INSERT INTO functions VALUES (?1, ?2) ON CONFLICT DO UPDATE SET entry = excluded.entry',
  )
  const deleteFunction = database.query('DELETE FROM functions WHERE function_id = ?1')
  const putRoute = database.query(
    'INSERT INTO routes VALUES (?1, ?2) ON CONFLICT DO UPDATE SET route = excluded.route',
  )
  const deleteRoute = database.query('DELETE FROM routes WHERE route_id = ?1')
  const putState = database.query(
    `INSERT INTO node_state VALUES (1, ?1, ?2) ON CONFLICT DO UPDATE
     SET revision = excluded.revision, unacknowledged = excluded.unacknowledged`,
  )
  const write = database.transaction((next: NodeState, previous: NodeState) => {
    writeChanges(next.functions, previous.functions, putFunction, deleteFunction)
    writeChanges(next.routes, previous.routes, putRoute, deleteRoute)
    const ack = next.unacknowledged
    putState.run(next.revision, ack === null ? null : JSON.stringify(ack))
  })
  return {
    load: () => loadState(database),
    save: (next, previous) => write.immediate(next, previous),
  }
}

interface Statement {
  run(...values: string[]): unknown
}

/** Values are immutable, so an unchanged one is the same object. */
function writeChanges(
  next: ReadonlyMap<string, unknown>,
  previous: ReadonlyMap<string, unknown>,
  put: Statement,
  remove: Statement,
): void {
  for (const [id, value] of next) {
    if (previous.get(id) !== value) put.run(id, JSON.stringify(value))
  }
  for (const id of previous.keys()) {
    if (!next.has(id)) remove.run(id)
  }
}

/** Rows of another format, and damaged ones, are left out, and the revision is then 0, which asks for a full plan. */
function loadState(database: Database): NodeState {
  const row = database.query('SELECT revision, unacknowledged FROM node_state').get()
  if (row === null) return EMPTY_STATE
  const node = nodeRowSchema.parse(row)
  const bad = { count: 0 }
  const functions = parseRows<FunctionEntry>(
    database.query<[string, string], []>('SELECT function_id, entry FROM functions').values(),
    functionEntrySchema,
    bad,
  )
  const routes = parseRows<Route>(
    database.query<[string, string], []>('SELECT route_id, route FROM routes').values(),
    routeSchema,
    bad,
  )
  const ack = syncAckSchema.nullable().safeParse(parseJson(node.unacknowledged ?? 'null'))
  return {
    synced: true,
    revision: bad.count === 0 ? node.revision : 0,
    functions,
    routes,
    unacknowledged: ack.success ? ack.data : null,
  }
}

function parseRows<T>(
  rows: readonly unknown[][],
  schema: z.ZodType<T>,
  bad: { count: number },
): Map<string, T> {
  const parsed = new Map<string, T>()
  for (const [id, json] of rows) {
    const result = schema.safeParse(parseJson(String(json)))
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
