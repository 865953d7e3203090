/** The stream of events over HTTP. */

import { eventQuerySchema } from '../../protocol/events.ts'
import { endpoint, type Endpoint } from '../endpoint.ts'
import type { EventStream } from './stream.ts'

export function eventEndpoints(stream: EventStream): Endpoint[] {
  return [
    endpoint({
      method: 'GET',
      path: '/events',
      tag: 'events',
      summary:
        'What happens, as it happens: server-sent events, resumed after the header last-event-id',
      access: 'viewer',
      query: eventQuerySchema,
      status: 200,
      stream: 'text/event-stream',
      handle: ({ query, header, context }) =>
        stream.read(context.caller, query, header('last-event-id')),
    }),
  ]
}
