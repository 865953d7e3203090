/** Webhooks as they are made, listed and deleted. */

import { EdgefnError } from '../../errors.ts'
import { LIMITS } from '../../protocol/limits.ts'
import type {
  WebhookCreated,
  WebhookCreation,
  WebhookDelivery,
  WebhookView,
} from '../../protocol/webhooks.ts'
import type { RecordAudit } from '../audit/audit.ts'
import { actorOf, type RequestContext } from '../context.ts'
import type { Database, Sql } from '../db/database.ts'
import type { FunctionLookup } from '../lookup.ts'
import type { Sealing } from '../sealing.ts'
import { newSecret } from './signature.ts'
import {
  countWebhooks,
  deleteWebhook,
  getWebhook,
  insertWebhook,
  listDeliveries,
  listWebhooks,
} from './store.ts'

export interface WebhookDeps {
  readonly db: Database
  readonly functions: FunctionLookup
  readonly audit: RecordAudit
  readonly sealing: Sealing
}

interface Page<T> {
  readonly items: T[]
  readonly next_cursor: string | null
}

export interface WebhookService {
  /** Throws `function_not_found`, and `conflict` when there are as many as there may be. */
  create(context: RequestContext, body: WebhookCreation): Promise<WebhookCreated>
  list(limit: number, cursor: string | null): Promise<Page<WebhookView>>
  /** What waits for it goes with it. Throws `webhook_not_found`. */
  delete(context: RequestContext, id: string): Promise<void>
  /** Newest first. Throws `webhook_not_found`. */
  deliveries(
    id: string,
    query: {
      readonly state: string | null
      readonly limit: number
      readonly cursor: string | null
    },
  ): Promise<Page<WebhookDelivery>>
}

/** What the secret of a webhook is sealed for: moved to another, it does not open. */
export function purposeOf(webhookId: string): string {
  return `webhook/${webhookId}`
}

export function createWebhooks({ db, functions, audit, sealing }: WebhookDeps): WebhookService {
  return {
    async create(context, body) {
      const id = Bun.randomUUIDv7()
      const secret = body.secret ?? newSecret()
      // Before the transaction, which waits for nothing but the database.
      const secret_sealed = await sealing.seal(purposeOf(id), secret)
      return db.write(async (tx) => {
        if ((await countWebhooks(tx)) >= LIMITS.webhooksMax) {
          throw new EdgefnError('conflict', `There are ${LIMITS.webhooksMax} webhooks already.`)
        }
        const wanted = body.function === null ? null : await functions.resolve(tx, body.function)
        await insertWebhook(tx, {
          id,
          url: body.url,
          events: [...new Set(body.events)],
          function_id: wanted?.id ?? null,
          secret_sealed,
          created_by: actorOf(context.caller),
          created_at: new Date().toISOString(),
        })
        const view = await existing(tx, id)
        await audit(tx, context, {
          resource_type: 'webhook',
          resource_id: id,
          operation: 'create',
          before: null,
          after: view,
        })
        return { ...view, secret }
      })
    },

    list: async (limit, cursor) => pageOf(await listWebhooks(db, cursor, limit + 1), limit),

    delete: (context, id) =>
      db.write(async (tx) => {
        const before = await existing(tx, id)
        await deleteWebhook(tx, id)
        await audit(tx, context, {
          resource_type: 'webhook',
          resource_id: id,
          operation: 'delete',
          before,
          after: null,
        })
      }),

    async deliveries(id, { state, limit, cursor }) {
      await existing(db, id)
      return pageOf(
        await listDeliveries(db, id, { state, before: cursor, limit: limit + 1 }),
        limit,
      )
    },
  }
}

async function existing(sql: Sql, id: string): Promise<WebhookView> {
  const found = await getWebhook(sql, id)
  if (found !== null) return found
  throw new EdgefnError('webhook_not_found', `No webhook has the id ${id}.`)
}

/** `rows` are one more than the page has, when there are more. */
function pageOf<T extends { readonly id: string }>(rows: T[], limit: number): Page<T> {
  const items = rows.slice(0, limit)
  return { items, next_cursor: rows.length > limit ? (items.at(-1)?.id ?? null) : null }
}
