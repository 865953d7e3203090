/** Webhooks: bodies of the API, and what a receiver gets. */

import { z } from 'zod'

import { pageQuerySchema } from './api.ts'
import { eventFilterSchema, isOfFunctions } from './events.ts'
import { functionIdSchema, functionNameSchema, timestampSchema, uuidSchema } from './ids.ts'
import { LIMITS } from './limits.ts'
import { eventSchema } from './messages.ts'

const webhookUrlSchema = z
  .string()
  .max(LIMITS.webhookUrlCharsMax)
  .refine((text) => {
    const url = URL.parse(text)
    return url !== null && /^https?:$/.test(url.protocol) && url.hostname !== ''
  }, 'must be a URL that starts with https:// or http://')
  .refine((text) => {
    const url = URL.parse(text)
    return url === null || (url.username === '' && url.password === '' && url.hash === '')
  }, 'must have no user name, password or fragment')

/** `POST /webhooks`. */
export const webhookCreationSchema = z
  .strictObject({
    url: webhookUrlSchema,
    /** Types (`rollout`) and kinds (`rollout.gate_failed`) of events; none: all. */
    events: z.array(eventFilterSchema).max(LIMITS.eventFiltersMax).default([]),
    /** Only events of this function, by id or name. */
    function: z.string().min(1).max(63).nullable().default(null),
    /** What deliveries are signed with; without it one is made. */
    secret: z
      .string()
      .min(LIMITS.webhookSecretCharsMin)
      .max(LIMITS.webhookSecretCharsMax)
      .regex(/^[\x21-\x7e]+$/, 'must be of printable ASCII without spaces')
      .optional(),
  })
  .refine((body) => body.function === null || body.events.every(isOfFunctions), {
    path: ['events'],
    message:
      'must not name events of nodes or of the audit log when function is given: no such event is of a function',
  })
export type WebhookCreation = z.output<typeof webhookCreationSchema>

export const webhookViewSchema = z.strictObject({
  id: uuidSchema,
  url: z.string(),
  events: z.array(z.string()),
  function_id: functionIdSchema.nullable(),
  function_name: functionNameSchema.nullable(),
  /** The function is deleted: no event will come. Another one that is called the same is another function. */
  function_deleted: z.boolean(),
  /** Deliveries that wait, and those that were given up and are still remembered. */
  pending: z.int(),
  failed: z.int(),
  created_by: z.string(),
  created_at: timestampSchema,
})
export type WebhookView = z.infer<typeof webhookViewSchema>

/** The answer to a creation; the secret is shown this once. */
export const webhookCreatedSchema = webhookViewSchema.extend({ secret: z.string() })
export type WebhookCreated = z.infer<typeof webhookCreatedSchema>

export const deliveryStateSchema = z.enum([
  'pending', // it is tried again until the receiver takes it or it is too old
  'delivered', // the receiver answered with 2xx
  'failed', // given up
])

export const webhookDeliverySchema = z.strictObject({
  id: uuidSchema,
  /** Number of the event, as in `GET /events`. */
  event_seq: z.int(),
  kind: z.string(),
  state: deliveryStateSchema,
  attempts: z.int(),
  /** Null when it will not be tried again. */
  next_attempt_at: timestampSchema.nullable(),
  /** What came of the newest attempt: the receiver's status, or why there is none, and milliseconds. */
  last_status: z.int().nullable(),
  last_error: z.string().nullable(),
  last_ms: z.int().nullable(),
  created_at: timestampSchema,
  updated_at: timestampSchema,
})
export type WebhookDelivery = z.infer<typeof webhookDeliverySchema>

export const webhookDeliveryQuerySchema = pageQuerySchema.extend({
  state: deliveryStateSchema.optional(),
})

/** The body that a receiver gets. */
export const webhookBodySchema = z.strictObject({
  /** The same at every attempt: a receiver that has it already has had this event. */
  delivery_id: uuidSchema,
  webhook_id: uuidSchema,
  seq: z.int(),
  kind: z.string(),
  event: eventSchema,
})

/** Header fields of a delivery. */
export const WEBHOOK_HEADERS = {
  /** `t=UNIX_SECONDS,v1=HEX`: HMAC-SHA256 with the secret of `UNIX_SECONDS.BODY`. */
  signature: 'x-edgefn-signature',
  delivery: 'x-edgefn-delivery',
  event: 'x-edgefn-event',
} as const
