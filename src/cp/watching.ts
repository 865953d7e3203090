/** What tells others of events: the log itself, the stream of the API, webhooks. Part of the composition root. */

import type { Base, Job } from './base.ts'
import type { Endpoint } from './endpoint.ts'
import { eventEndpoints } from './events/routes.ts'
import { EventStream } from './events/stream.ts'
import type { FunctionLookup } from './lookup.ts'
import { webhookEndpoints } from './webhooks/routes.ts'
import { createWebhooks } from './webhooks/service.ts'

export interface Watching {
  readonly endpoints: readonly Endpoint[]
  readonly jobs: readonly Job[]
}

export function createWatching(base: Base, functions: FunctionLookup): Watching {
  const { db, log, events, auth, audit, sealing, webhookDriver } = base
  const stream = new EventStream({
    ...{ db, log, events, resolve: functions.resolve },
    keyHolds: auth.keyHolds,
  })
  const webhooks = createWebhooks({ db, functions, audit: audit.record, sealing })
  return {
    endpoints: [...eventEndpoints(stream), ...webhookEndpoints(webhooks)],
    jobs: [webhookDriver, events, stream],
  }
}
