/** Events for whoever watches (`edgefn/v1/events/…`): what slices call; the broker sends them, when there is one. */

import type { EventMessage } from '../protocol/messages.ts'

/** Sends an event; called after the commit of what it tells of. Never throws, may be lost. */
export type PublishEvent = (event: EventMessage) => void
