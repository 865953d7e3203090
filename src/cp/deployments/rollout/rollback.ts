/** Which version a roll-back goes to. */

import { EdgefnError } from '../../../errors.ts'
import type { FunctionId } from '../../../protocol/ids.ts'
import type { RollbackRequest } from '../../../protocol/rollout.ts'
import type { Sql } from '../../db/database.ts'

interface HistoryRow {
  readonly kind: 'deploy' | 'rollback'
  readonly version: number
  readonly whole: boolean
  readonly target: string
  readonly status: string
}

/**
 * The deployment that a roll-back asks for. Without `to`: the version that the function's present deployment took the place of,
 * which is the newest before it that was completed with all of the traffic, on every node or on the same target. When the present
 * one is a roll-back itself, it is the one before the version that it went to. Throws `conflict` when there is none.
 */
export async function rollbackBody(
  sql: Sql,
  functionId: FunctionId,
  request: RollbackRequest,
): Promise<{ readonly version: number; readonly target: string }> {
  const history = await historyOf(sql, functionId)
  const [present] = history
  if (present === undefined) {
    throw new EdgefnError('conflict', 'The function has never been deployed; nothing to roll back.')
  }
  const target = request.target ?? present.target
  if (request.to !== undefined) return { version: request.to, target }
  const wasInService = (row: HistoryRow) =>
    row.status === 'completed' && row.whole && (row.target === 'all' || row.target === target)
  const before = history
    .slice(1 + returnedTo(history, present, wasInService))
    .find((row) => wasInService(row) && (row.version !== present.version || !present.whole))
  if (before !== undefined) return { version: before.version, target }
  throw new EdgefnError(
    'conflict',
    'No version had all of the traffic before the present one; name the one to go to (--to, or `to` of the body).',
    { details: { field: 'to' } },
  )
}

/**
 * Where in the history the deployment is that stands for the present one: itself, or for a roll-back the deployment that it went
 * back to, so that repeating it goes on backwards and not to what was rolled back.
 */
function returnedTo(
  history: readonly HistoryRow[],
  present: HistoryRow,
  wasInService: (row: HistoryRow) => boolean,
): number {
  if (present.kind !== 'rollback') return 0
  const isIt = (row: HistoryRow) => row.kind === 'deploy' && row.version === present.version
  return Math.max(
    0,
    history.findIndex((row) => isIt(row) && wasInService(row)),
  )
}

/** Newest first, without what was taken back, or failed and left nothing behind to roll back. */
async function historyOf(sql: Sql, functionId: FunctionId): Promise<HistoryRow[]> {
  const rows = await sql.all(
    `SELECT r.kind, d.version, d.split IS NULL AS whole, d.target, d.status FROM deployments d
     JOIN rollouts r ON r.deployment_id = d.id
     WHERE d.function_id = ? AND r.superseded = 0
       AND (d.status IN ('pending', 'in_progress', 'completed') OR (d.status = 'failed' AND (r.driven = 0
         OR EXISTS (SELECT 1 FROM assignments a WHERE a.function_id = d.function_id AND a.deployment_id = d.id AND a.removed = 0))))
     ORDER BY d.revision DESC`,
    [functionId],
  )
  return rows.map((row) => ({ ...row, whole: row['whole'] === 1 }) as unknown as HistoryRow)
}
