/** The audit log over HTTP. */

import { z } from 'zod'

import { pageSchema } from '../../protocol/api.ts'
import type { Database } from '../db/database.ts'
import type { Endpoint } from '../endpoint.ts'
import { endpoint } from '../endpoint.ts'
import { auditQuerySchema, auditRowSchema } from './schema.ts'
import type { AuditStore } from './store.ts'

const verdictSchema = z.strictObject({
  intact: z.boolean(),
  entries: z.int(),
  problem: z.strictObject({ seq: z.int(), reason: z.string() }).nullable(),
})

export function auditEndpoints(db: Database, store: AuditStore): readonly Endpoint[] {
  return [
    endpoint({
      method: 'GET',
      path: '/audit-log',
      tag: 'audit',
      summary: 'Who did what and when, newest first',
      access: 'owner',
      query: auditQuerySchema,
      status: 200,
      response: pageSchema(auditRowSchema),
      handle: ({ query }) => store.list(db, query),
    }),
    endpoint({
      method: 'GET',
      path: '/audit-log/verification',
      tag: 'audit',
      summary: 'Proves that the audit log is as it was written, or says where it is not',
      access: 'owner',
      status: 200,
      response: verdictSchema,
      handle: () => store.verify(db),
    }),
  ]
}
