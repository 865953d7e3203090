/** What the API-key endpoints take and answer. */

import { z } from 'zod'

import { pageQuerySchema } from '../../protocol/api.ts'
import { textSchema, timestampSchema } from '../../protocol/ids.ts'

/** 64 random bits in hexadecimal. */
const apiKeyIdSchema = z.string().regex(/^[0-9a-f]{16}$/, 'must be the id of an API key')

export const apiKeyCreationSchema = z.strictObject({
  name: textSchema(100).min(1),
  role: z.enum(['owner', 'developer', 'viewer']),
})
export type ApiKeyCreation = z.infer<typeof apiKeyCreationSchema>

export const apiKeyViewSchema = z.strictObject({
  id: z.string(),
  name: z.string(),
  role: z.enum(['owner', 'developer', 'viewer']),
  created_at: timestampSchema,
  revoked_at: timestampSchema.nullable(),
})
export type ApiKeyView = z.infer<typeof apiKeyViewSchema>

/** Answer to a creation; the key is shown this once. */
export const apiKeyCreatedSchema = apiKeyViewSchema.extend({ key: z.string() })
export type ApiKeyCreated = z.infer<typeof apiKeyCreatedSchema>

/** Oldest first; the cursor is the id of the last key of the page before. */
export const apiKeyQuerySchema = pageQuerySchema.extend({ cursor: apiKeyIdSchema.optional() })
export type ApiKeyQuery = z.infer<typeof apiKeyQuerySchema>
