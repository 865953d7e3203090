/** The rules of secrets: a value is put, numbered, sealed and never shown; versions refer to a number of it [C20]. */

import { EdgefnError } from '../../errors.ts'
import type { FunctionId } from '../../protocol/ids.ts'
import { partsOfReference, type SecretPut, type SecretView } from '../../protocol/secrets.ts'
import type { RecordAudit } from '../audit/audit.ts'
import type { RequestContext } from '../context.ts'
import { actorOf } from '../context.ts'
import type { Database, Sql, Transaction } from '../db/database.ts'
import type { FunctionLookup, SecretLinks } from '../lookup.ts'
import type { Sealing } from '../sealing.ts'
import {
  eraseSecret,
  findSecret,
  hasNumber,
  insertNumber,
  insertSecret,
  listSecrets,
  ownSecrets,
  showSecret,
  usersOf,
  type SecretRow,
} from './store.ts'

export interface SecretDeps {
  readonly db: Database
  readonly audit: RecordAudit
  readonly functions: Pick<FunctionLookup, 'resolve'>
  readonly sealing: Sealing
}

export interface SecretService {
  /** Stores a value under the next number. Throws `function_not_found`. */
  put(context: RequestContext, body: SecretPut): Promise<SecretView>
  list(page: {
    limit: number
    cursor?: string | undefined
  }): Promise<{ items: SecretView[]; next_cursor: string | null }>
  /**
   * Erases the values of a secret. Throws `not_found`, and `conflict` naming its users while a version that is live refers to
   * it, or any version unless it is forced: those could no longer be deployed.
   */
  remove(
    context: RequestContext,
    name: string,
    functionIdOrName: string | null,
    force: boolean,
  ): Promise<void>
  /** What the functions slice does with secrets, inside its transactions. */
  readonly links: SecretLinks
}

/** What a value is sealed for: moved to another secret or number, it does not open. */
export function purposeOf(key: { secret_id: string; name: string; number: number }): string {
  return `secret/${key.secret_id}/${key.name}@${key.number}`
}

export function createSecrets(deps: SecretDeps): SecretService {
  const { db, audit, functions } = deps

  async function scopeOf(sql: Sql, functionIdOrName: string | null): Promise<FunctionId | null> {
    if (functionIdOrName === null) return null
    return (await functions.resolve(sql, functionIdOrName)).id
  }

  return {
    put: (context, body) => db.write((tx) => put(deps, tx, context, body, scopeOf)),

    async list({ limit, cursor }) {
      const rows = await listSecrets(db, { cursor, rows: limit + 1 })
      const items = rows.slice(0, limit)
      return { items, next_cursor: rows.length > limit ? (items.at(-1)?.id ?? null) : null }
    },

    async remove(context, name, functionIdOrName, force) {
      await db.write(async function erase(tx) {
        const scope = await scopeOf(tx, functionIdOrName)
        const secret = await findSecret(tx, name, scope)
        if (secret === null) throw unknown(name, functionIdOrName)
        const users = await usersOf(tx, secret.id)
        const blocking = force ? users.filter(({ live }) => live) : users
        if (blocking.length > 0) throw inUse(name, blocking, force)
        await eraseSecret(tx, secret.id, new Date().toISOString())
        await audit(tx, context, {
          resource_type: 'secret',
          resource_id: secret.id,
          operation: 'delete',
          before: { name, function_id: scope, number: secret.number, users },
          after: null,
        })
      })
    },

    links: {
      bind: (tx, functionId, version, references) => bind(tx, functionId, version, references),
      async functionRemoved(tx, context, functionId) {
        const now = new Date().toISOString()
        for (const { id, name } of await ownSecrets(tx, functionId)) {
          await eraseSecret(tx, id, now)
          await audit(tx, context, {
            resource_type: 'secret',
            resource_id: id,
            operation: 'delete',
            before: { name, function_id: functionId },
            after: null,
          })
        }
      },
    },
  }
}

async function put(
  deps: SecretDeps,
  tx: Transaction,
  context: RequestContext,
  { name, function: owner, value }: SecretPut,
  scopeOf: (sql: Sql, functionIdOrName: string | null) => Promise<FunctionId | null>,
): Promise<SecretView> {
  const scope = await scopeOf(tx, owner ?? null)
  const at = new Date().toISOString()
  const before = await findSecret(tx, name, scope)
  const id = before?.id ?? Bun.randomUUIDv7()
  if (before === null) await insertSecret(tx, { id, name, function_id: scope }, at)
  const key = { secret_id: id, name, number: (before?.number ?? 0) + 1 }
  const sealed = await deps.sealing.seal(purposeOf(key), value)
  await insertNumber(tx, key, sealed, actorOf(context.caller), at)
  await deps.audit(tx, context, {
    resource_type: 'secret',
    resource_id: id,
    operation: before === null ? 'create' : 'update',
    before: before === null ? null : { name, function_id: scope, number: before.number },
    // Never the value.
    after: { name, function_id: scope, number: key.number },
  })
  return showSecret(tx, id)
}

/** Writes down what each variable of a new version is; a function's own secret goes before one for all. */
async function bind(
  tx: Transaction,
  functionId: FunctionId,
  version: number,
  references: Readonly<Record<string, string>>,
): Promise<Record<string, string>> {
  const bound: Record<string, string> = {}
  for (const [variable, reference] of Object.entries(references)) {
    const { name, number } = partsOfReference(reference)
    const secret = (await findSecret(tx, name, functionId)) ?? (await findSecret(tx, name, null))
    const chosen = number ?? secret?.number ?? 0
    if (secret === null || !(await hasNumber(tx, secret.id, chosen))) {
      throw missing(variable, reference, secret)
    }
    await tx.run(
      'INSERT INTO version_secrets (function_id, version, variable, secret_id, number) VALUES (?, ?, ?, ?, ?)',
      [functionId, version, variable, secret.id, chosen],
    )
    bound[variable] = `${name}@${chosen}`
  }
  return bound
}

function missing(variable: string, reference: string, secret: SecretRow | null): EdgefnError {
  const why =
    secret === null
      ? `there is no secret ${reference} that the function may use; put it first`
      : `secret ${secret.name} has numbers up to ${secret.number}`
  return new EdgefnError('invalid_field', `Field secrets.${variable} of the body: ${why}.`, {
    details: { field: `secrets.${variable}` },
  })
}

function unknown(name: string, owner: string | null): EdgefnError {
  const whose = owner === null ? '' : ` of function ${owner}`
  return new EdgefnError('not_found', `There is no secret ${name}${whose}.`)
}

function inUse(name: string, users: SecretView['users'], force: boolean): EdgefnError {
  const told = users
    .slice(0, 5)
    .map((user) => `${user.function_name} v${user.version}${user.live ? ' (live)' : ''}`)
  const more = users.length > told.length ? ` and ${users.length - told.length} more` : ''
  const advice =
    force || users.some(({ live }) => live) ? '' : ' Force it to delete it nevertheless.'
  return new EdgefnError(
    'conflict',
    `Secret ${name} is in use by ${told.join(', ')}${more}.${advice}`,
    { details: { users } },
  )
}
