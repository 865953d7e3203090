/** The audit log in the API: its rows, and whether it is what was written. */

import { z } from 'zod'

import { auditHeadSchema } from './audit-chain.ts'
import { textSchema } from './ids.ts'

/** A row of `GET /audit-log`, as it is in the table, which somebody may have edited by hand. */
export const auditRowSchema = z.strictObject({
  /** One written by hand may be beyond what is exact. */
  seq: z.number(),
  id: z.string(),
  actor: z.string(),
  resource_type: z.string(),
  resource_id: z.string(),
  operation: z.string(),
  old_value: z.unknown(),
  new_value: z.unknown(),
  request_id: z.string(),
  created_at: z.string(),
  previous_hash: z.string(),
  hash: z.string(),
})
export type AuditRow = z.infer<typeof auditRowSchema>

/** What a node has seen of the log, and whether the log still has it; what is stored of that may have been edited by hand too. */
export const seenHeadSchema = z.strictObject({
  seq: z.number(),
  hash: z.string(),
  node_id: z.string(),
  /** `missing`: the log ends before; `differs`: it has another row there; `accepted`: somebody knows. */
  state: z.enum(['matches', 'missing', 'differs', 'accepted']),
  reported_at: z.string(),
})
export type SeenHead = z.infer<typeof seenHeadSchema>

/** `GET /audit-log/verification`. */
export const auditVerdictSchema = z.strictObject({
  /** The chain holds, every node's head is in it, and the database refuses changes. */
  intact: z.boolean(),
  entries: z.int(),
  problem: z.strictObject({ seq: z.int(), reason: z.string() }).nullable(),
  /**
   * Triggers of the database that should refuse changes of the log and are gone or others than they were, and those that do not belong
   * there: somebody wanted to change it.
   */
  triggers_changed: z.array(z.string()).default([]),
  /** The newest row; keep it elsewhere, and a later log can be held against it. */
  head: auditHeadSchema.nullable(),
  /** Heads that nodes have seen, those that the log does not have first; at most a thousand. */
  heads: z.array(seenHeadSchema),
  /**
   * Nodes that have said which head they have seen; how many of them not since this control plane started, whose heads are known from its
   * database only; and heads that the log does not have.
   */
  nodes: z.int(),
  nodes_stored: z.int().default(0),
  mismatches: z.int(),
})
export type AuditVerdictView = z.infer<typeof auditVerdictSchema>

/** `POST /audit-log/mismatches/accept`: the log is known to be another, such as from a backup. */
export const mismatchAcceptanceSchema = z.strictObject({ reason: textSchema(1000).min(1) })
export const mismatchAcceptedSchema = z.strictObject({ accepted: z.int() })
