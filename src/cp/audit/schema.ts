/** What `GET /audit-log` takes and answers. */

import { z } from 'zod'

import { pageQuerySchema } from '../../protocol/api.ts'
import { timestampSchema, uuidSchema } from '../../protocol/ids.ts'

export const auditRowSchema = z.strictObject({
  seq: z.int(),
  id: uuidSchema,
  actor: z.string(),
  resource_type: z.string(),
  resource_id: z.string(),
  operation: z.string(),
  old_value: z.unknown(),
  new_value: z.unknown(),
  request_id: z.string(),
  created_at: timestampSchema,
  previous_hash: z.string(),
  hash: z.string(),
})
export type AuditRow = z.infer<typeof auditRowSchema>

/** Newest first; the cursor is the seq of the last row of the page before. */
export const auditQuerySchema = pageQuerySchema.extend({
  cursor: z.coerce.number().int().min(1).optional(),
  resource_type: z.string().max(100).optional(),
  resource_id: z.string().max(200).optional(),
})
export type AuditQuery = z.infer<typeof auditQuerySchema>
