/** The rules of schemas: numbered within their function, never changed, each made in one transaction with its notices [C7.4]. */

import { EdgefnError } from '../../errors.ts'
import type { FunctionView } from '../../protocol/api.ts'
import type { Sha256 } from '../../protocol/ids.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type {
  SchemaBody,
  SchemaCreation,
  SchemaId,
  SchemaSummary,
  SchemaView,
} from '../../protocol/schemas.ts'
import { selectsPop } from '../../protocol/selector.ts'
import type { RecordAudit } from '../audit/audit.ts'
import { actorOf, type RequestContext } from '../context.ts'
import type { Database, Transaction } from '../db/database.ts'
import type { FunctionLookup } from '../lookup.ts'
import type { EnqueueNotices, NextRevision } from '../outbox/notices.ts'
import { nodesServing } from '../serving-nodes.ts'
import type { CheckSchemas } from './check.ts'
import type { SchemaQuery, SchemaRow } from './schema.ts'
import { bodiesOf, getSchema, insertSchema, lastNumber, listSchemas, nodesOf } from './store.ts'

/** How often others may make a schema of the same function while one is tried. */
const triesMax = 3

export interface SchemaDeps {
  readonly db: Database
  readonly functions: FunctionLookup
  readonly audit: RecordAudit
  readonly nextRevision: NextRevision
  readonly enqueueNotices: EnqueueNotices
  readonly check: CheckSchemas
}

export interface SchemaService {
  /** Throws `function_not_found`, `schema_refused` with SQLite's words, `conflict` when the function has no room for more. */
  create(context: RequestContext, body: SchemaCreation): Promise<SchemaSummary>
  list(query: SchemaQuery): Promise<{ items: SchemaSummary[]; next_cursor: string | null }>
  /** With its text, and what became of it on every node that it is for. Throws `schema_not_found`. */
  get(id: SchemaId): Promise<SchemaView>
}

export function createSchemas(deps: SchemaDeps): SchemaService {
  // One at a time: a trial may take a whole processor, and it is of the schema together with all that are there before it.
  let last: Promise<unknown> = Promise.resolve()
  return {
    create: (context, body) => {
      const made = last.then(() => createSchema(deps, context, body))
      last = made.catch(() => undefined)
      return made
    },

    list: async (query) => {
      const wanted =
        query.function === undefined ? null : await deps.functions.resolve(deps.db, query.function)
      const rows = await listSchemas(deps.db, {
        function_id: wanted?.id ?? null,
        after: query.cursor ?? null,
        rows_max: query.limit + 1,
      })
      const page = rows.slice(0, query.limit)
      return {
        items: page,
        next_cursor: rows.length > page.length ? (page.at(-1)?.id ?? null) : null,
      }
    },

    get: async (id) => {
      const row = await getSchema(deps.db, id)
      if (row === null) throw new EdgefnError('schema_not_found', `No schema has the id ${id}.`)
      const nodes = await nodesOf(deps.db, row.function_id, row.number)
      return { ...row, nodes: nodes.filter(({ pop_id }) => selectsPop(row.pop_selector, pop_id)) }
    },
  }
}

async function createSchema(
  deps: SchemaDeps,
  context: RequestContext,
  body: SchemaCreation,
): Promise<SchemaSummary> {
  for (let tries = 1; tries <= triesMax; tries += 1) {
    const owner = await deps.functions.resolve(deps.db, body.function)
    const before = await bodiesOf(deps.db, owner.id)
    const schema = nextOf(before, body.sql)
    refuseTooMuch([...before, schema])
    await deps.check([...before, schema])
    const made = await deps.db.write((tx) => insert(deps, tx, context, body, owner, schema))
    if (made !== null) return made
  }
  // Through another control plane on this database.
  throw new EdgefnError('conflict', 'Others make schemas of this function; try again.')
}

function nextOf(before: readonly SchemaBody[], sql: string): SchemaBody {
  const sha256 = new Bun.CryptoHasher('sha256').update(sql).digest('hex') as Sha256
  return { number: (before.at(-1)?.number ?? 0) + 1, sha256, sql }
}

function refuseTooMuch(schemas: readonly SchemaBody[]): void {
  const bytes = schemas.reduce((sum, { sql }) => sum + Buffer.byteLength(sql), 0)
  if (schemas.length <= LIMITS.schemasPerFunctionMax && bytes <= LIMITS.schemasSqlBytesMax) return
  throw new EdgefnError(
    'conflict',
    `A function has at most ${LIMITS.schemasPerFunctionMax} schemas of ${LIMITS.schemasSqlBytesMax} bytes together.`,
  )
}

/** Null when another schema took the number while this one was tried. */
async function insert(
  deps: SchemaDeps,
  tx: Transaction,
  context: RequestContext,
  body: SchemaCreation,
  owner: FunctionView,
  schema: SchemaBody,
): Promise<SchemaRow | null> {
  const { id: function_id, name: function_name } = await deps.functions.resolve(tx, owner.id)
  if ((await lastNumber(tx, function_id)) !== schema.number - 1) return null
  const row: SchemaRow = {
    ...{ id: Bun.randomUUIDv7() as SchemaId, function_id, function_name },
    ...{ number: schema.number, label: body.label, sha256: schema.sha256 },
    size_bytes: Buffer.byteLength(schema.sql),
    pop_selector: body.pop_selector,
    created_by: actorOf(context.caller),
    created_at: new Date().toISOString(),
  }
  const revision = await deps.nextRevision(tx)
  await insertSchema(tx, { ...row, sql: schema.sql, revision })
  await deps.audit(tx, context, {
    resource_type: 'schema',
    resource_id: row.id,
    operation: 'create',
    before: null,
    after: row,
  })
  const nodes = await nodesServing(tx, function_id)
  await deps.enqueueNotices(tx, {
    node_ids: nodes
      .filter(({ pop_id }) => selectsPop(row.pop_selector, pop_id))
      .map(({ node_id }) => node_id),
    revision,
    // The notice that says no more than that there is something new.
    type: 'routes',
    function_id: null,
    deployment_id: null,
  })
  return row
}
