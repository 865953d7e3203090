/** Events as the API and webhooks show them, and how one says which of them are wanted. */

import { z } from 'zod'

import { deploymentIdSchema } from './ids.ts'
import { LIMITS } from './limits.ts'
import { eventSchema, type EventMessage } from './messages.ts'

/** What an event is about and what became of it: `deployment.completed`, `rollout.gate_failed`, `node.offline`. */
export function eventKind(event: EventMessage): string {
  return `${event.type}.${event.type === 'rollout' ? event.change : event.status}`
}

/** Every kind that there is, and the type alone for all of its kinds. */
export const EVENT_FILTERS: readonly string[] = eventSchema.options.flatMap((option) => {
  const type = option.shape.type.value
  const changes = 'change' in option.shape ? option.shape.change : option.shape.status
  return [type, ...changes.options.map((change) => `${type}.${change}`)]
})

const TYPES_OF_FUNCTIONS: readonly string[] = eventSchema.options
  .filter((option) => 'function_id' in option.shape)
  .map((option) => option.shape.type.value)

/** Whether events that a filter names are of functions; those of nodes never are. */
export function isOfFunctions(filter: string): boolean {
  return TYPES_OF_FUNCTIONS.includes(filter.split('.', 1)[0] ?? '')
}

/** `rollout`, `rollout.gate_failed`. */
export const eventFilterSchema = z
  .string()
  .refine(
    (filter) => EVENT_FILTERS.includes(filter),
    'must be a type of event such as rollout, or a kind such as rollout.gate_failed (docs/EVENTS.md lists them)',
  )

const seqSchema = z.int().min(0)

/** `GET /events`. */
export const eventQuerySchema = z.strictObject({
  /** Types and kinds, separated by commas; without it all. */
  type: z
    .string()
    .transform((text) => text.split(','))
    .pipe(z.array(eventFilterSchema).max(LIMITS.eventFiltersMax))
    .optional(),
  /** Only events of this function, by id or name. */
  function: z.string().min(1).max(63).optional(),
  deployment: deploymentIdSchema.optional(),
  /** Only events after this one, for those who cannot send `last-event-id`; 0: from the oldest that is kept. */
  after: z.coerce.number().pipe(seqSchema).optional(),
})
export type EventQuery = z.output<typeof eventQuerySchema>

/**
 * `data` of the event `gap`: what happened between `after` and `next` is not kept any more. A `next` that is not above `after`:
 * `after` is of another database, or of this one before it was put back.
 */
export const eventGapSchema = z.strictObject({ after: seqSchema, next: seqSchema })
export type EventGap = z.infer<typeof eventGapSchema>
