/** Events for whoever watches: what slices call. `events/` keeps them in order, the broker and the API's stream tell them. */

import type { EventMessage } from '../protocol/messages.ts'
import type { Transaction } from './db/database.ts'

/**
 * Writes an event in the transaction of what it tells of, and with it the deliveries to webhooks that want it. Call the
 * result after the commit: it tells those who watch; when the process ends before, they learn of it a little later.
 */
export type RecordEvent = (tx: Transaction, event: EventMessage) => Promise<() => void>

/** An event of what stands in no table, such as a node that fell silent: written soon, lost with the process. Never throws. */
export type PublishEvent = (event: EventMessage) => void
