/** What slices call to leave a trace; the implementation is `audit/store.ts`. */

import type { RolloutOrder } from '../../protocol/rollout.ts'
import type { RequestContext } from '../context.ts'
import type { Transaction } from '../db/database.ts'

export interface AuditEntry {
  readonly resource_type:
    | 'function'
    | 'version'
    | 'route'
    | 'deployment'
    | 'node'
    | 'join_token'
    | 'api_key'
    | 'webhook'
    | 'secret'
    | 'audit_log'
    | 'schema'
  readonly resource_id: string
  readonly operation:
    | 'create'
    | 'update'
    | 'delete'
    | 'deploy'
    | 'rollback'
    | RolloutOrder
    | 'preview'
    | 'register'
    | 'denied'
    | 'mismatch'
    | 'accept'
    | 'command'
    | 'command_result'
  /** Values before and after, without secrets; null where there is none. */
  readonly before: unknown
  readonly after: unknown
}

/** Appends an entry inside the transaction of the change itself [R14 P32]. */
export type RecordAudit = (
  tx: Transaction,
  context: RequestContext,
  entry: AuditEntry,
) => Promise<void>
