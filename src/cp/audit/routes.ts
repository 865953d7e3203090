/** The audit log over HTTP. */

import { pageSchema } from '../../protocol/api.ts'
import {
  auditRowSchema,
  auditVerdictSchema,
  mismatchAcceptanceSchema,
  mismatchAcceptedSchema,
} from '../../protocol/audit.ts'
import type { Database } from '../db/database.ts'
import type { Endpoint } from '../endpoint.ts'
import { endpoint } from '../endpoint.ts'
import { auditQuerySchema } from './schema.ts'
import type { AuditStore } from './store.ts'
import type { AuditWitness } from './witness.ts'

export function auditEndpoints(
  db: Database,
  store: AuditStore,
  witness: AuditWitness,
): readonly Endpoint[] {
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
      response: auditVerdictSchema,
      async handle() {
        const verdict = await store.verify(db)
        const seen = await witness.heads()
        const triggers_changed = await store.triggersChanged(db)
        const intact = verdict.intact && seen.mismatches === 0 && triggers_changed.length === 0
        return { ...verdict, ...seen, triggers_changed, intact, head: await store.head(db) }
      },
    }),
    endpoint({
      method: 'POST',
      path: '/audit-log/mismatches/accept',
      tag: 'audit',
      summary:
        'Takes it as known that nodes have seen another log, such as after a backup was put back',
      access: 'owner',
      body: mismatchAcceptanceSchema,
      status: 200,
      response: mismatchAcceptedSchema,
      handle: async ({ body, context }) => ({
        accepted: await witness.accept(context, body.reason),
      }),
    }),
  ]
}
