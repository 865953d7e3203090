/** What `GET /audit-log` takes. */

import { z } from 'zod'

import { pageQuerySchema } from '../../protocol/api.ts'
import { timestampSchema } from '../../protocol/ids.ts'

/** As the log writes it: times are compared as text, and `…42.668Z` sorts before `…42Z`. */
const momentSchema = timestampSchema.transform((time) => new Date(time).toISOString())

/** Newest first unless told otherwise; the cursor is the seq of the last row of the page before. */
export const auditQuerySchema = pageQuerySchema.extend({
  cursor: z.coerce.number().int().min(1).optional(),
  order: z.enum(['asc', 'desc']).default('desc'),
  /** From this time on, and until before this one. */
  since: momentSchema.optional(),
  until: momentSchema.optional(),
  /** `key:ID`, `node:ID`, `join-token:ID`. */
  actor: z.string().max(200).optional(),
  operation: z.string().max(100).optional(),
  resource_type: z.string().max(100).optional(),
  resource_id: z.string().max(200).optional(),
})
export type AuditQuery = z.infer<typeof auditQuerySchema>
