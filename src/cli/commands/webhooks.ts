/** `edgefn webhooks create|list|delete|deliveries`. */

import { optional, repeated } from '../../config/option.ts'
import { choice, matching, text } from '../../config/values.ts'
import { eventFilterSchema } from '../../protocol/events.ts'
import {
  deliveryStateSchema,
  webhookCreatedSchema,
  webhookCreationSchema,
  webhookDeliverySchema,
  webhookViewSchema,
  type WebhookView,
} from '../../protocol/webhooks.ts'
import { CLIENT_OPTIONS } from '../client-options.ts'
import { command, type Argument } from '../command.ts'
import { connect } from '../connect.ts'
import { EXIT } from '../exit.ts'
import { printList, printRecord, timeText } from '../output.ts'
import { printDeleted } from './functions.ts'

const ID_ARGUMENT: Argument = { name: 'ID', help: 'id of a webhook (webhooks list)', count: 'one' }

export const webhooksCreate = command({
  name: 'webhooks create',
  summary: 'have events sent to a URL, signed with a secret that is shown once',
  args: [{ name: 'URL', help: 'where to; http and private addresses are allowed', count: 'one' }],
  options: {
    event: repeated(matching(eventFilterSchema), {
      placeholder: 'EVENT',
      help: 'a type such as rollout, or a kind such as rollout.gate_failed; default: all',
    }),
    function: optional(text, {
      placeholder: 'FUNCTION',
      help: 'only events of this function, by name or id',
    }),
    secret: optional(matching(webhookCreationSchema.shape.secret.unwrap()), {
      placeholder: 'SECRET',
      help: 'what to sign with, best given as EDGEFN_SECRET; default: one is made',
      secret: true,
    }),
    ...CLIENT_OPTIONS,
  },
  examples: [
    'edgefn webhooks create https://hooks.example.com/edgefn --event rollout.gate_failed --event node.offline',
  ],
  async run({ values, args: [url = ''], terminal }) {
    const created = await connect(values).post('/webhooks', webhookCreatedSchema, {
      url,
      events: values.event,
      function: values.function,
      ...(values.secret === null ? {} : { secret: values.secret }),
    })
    printRecord(terminal, values.output, created, {
      id: created.id,
      url: created.url,
      events: eventsText(created),
      function: functionText(created),
      secret: created.secret,
    })
    if (values.output === 'table') terminal.err('The secret is not shown again.\n')
    return EXIT.ok
  },
})

export const webhooksList = command({
  name: 'webhooks list',
  summary: 'list the webhooks',
  args: [],
  options: CLIENT_OPTIONS,
  async run({ values, terminal }) {
    const webhooks = await connect(values).list('/webhooks', webhookViewSchema)
    printList(terminal, values.output, webhooks, {
      ID: (item) => item.id,
      URL: (item) => item.url,
      EVENTS: eventsText,
      FUNCTION: functionText,
      WAITING: (item) => String(item.pending),
      FAILED: (item) => String(item.failed),
      CREATED: (item) => timeText(item.created_at),
    })
    return EXIT.ok
  },
})

export const webhooksDelete = command({
  name: 'webhooks delete',
  summary: 'delete a webhook, and what was not delivered to it yet',
  args: [ID_ARGUMENT],
  options: CLIENT_OPTIONS,
  async run({ values, args: [id = ''], terminal }) {
    await connect(values).delete(`/webhooks/${encodeURIComponent(id)}`)
    printDeleted(terminal, values, 'webhook', id)
    return EXIT.ok
  },
})

export const webhooksDeliveries = command({
  name: 'webhooks deliveries',
  summary: 'list what was sent to a webhook and what came of it, newest first',
  args: [ID_ARGUMENT],
  options: {
    state: optional(choice(...deliveryStateSchema.options), {
      placeholder: 'STATE',
      help: `only those that are ${deliveryStateSchema.options.join(', ')}`,
    }),
    ...CLIENT_OPTIONS,
  },
  async run({ values, args: [id = ''], terminal }) {
    const path = `/webhooks/${encodeURIComponent(id)}/deliveries`
    const filters = { state: values.state }
    const deliveries = await connect(values).list(path, webhookDeliverySchema, filters)
    printList(terminal, values.output, deliveries, {
      CREATED: (item) => timeText(item.created_at),
      EVENT: (item) => item.kind,
      SEQ: (item) => String(item.event_seq),
      STATE: (item) => item.state,
      ATTEMPTS: (item) => String(item.attempts),
      STATUS: (item) => (item.last_status === null ? '-' : String(item.last_status)),
      NEXT: (item) => timeText(item.next_attempt_at),
      ID: (item) => item.id,
      ERROR: (item) => item.last_error ?? '',
    })
    return EXIT.ok
  },
})

function eventsText({ events }: WebhookView): string {
  return events.join(',') || 'all'
}

function functionText({ function_name, function_deleted }: WebhookView): string {
  if (function_name === null) return 'all'
  return function_deleted ? `${function_name} (deleted)` : function_name
}
