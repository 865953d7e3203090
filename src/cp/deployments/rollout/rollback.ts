/** Which version a roll-back goes to. */

import { EdgefnError } from '../../../errors.ts'
import type { FunctionId } from '../../../protocol/ids.ts'
import type { RollbackRequest } from '../../../protocol/rollout.ts'
import type { Sql } from '../../db/database.ts'

interface HistoryRow {
  readonly version: number
  readonly whole: boolean
  readonly target: string
  readonly status: string
}

/**
 * The deployment that a roll-back asks for. Without `to`: the version that the function's present deployment took the place of,
 * which is the newest before it that was completed with all of the traffic, on every node or on the same target. Throws
 * `conflict` when there is none.
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
  const before = history
    .slice(1)
    .find(
      (row) =>
        row.status === 'completed' &&
        row.whole &&
        (row.version !== present.version || !present.whole) &&
        (row.target === 'all' || row.target === target),
    )
  if (before !== undefined) return { version: before.version, target }
  throw new EdgefnError(
    'conflict',
    'No version had all of the traffic before the present one; name one with `to`.',
    { details: { field: 'to' } },
  )
}

/** Newest first, without what was taken back or failed: those left nothing behind to roll back. */
async function historyOf(sql: Sql, functionId: FunctionId): Promise<HistoryRow[]> {
  const rows = await sql.all(
    `SELECT d.version, d.split IS NULL AS whole, d.target, d.status FROM deployments d
     JOIN rollouts r ON r.deployment_id = d.id
     WHERE d.function_id = ? AND r.superseded = 0
       AND (d.status IN ('pending', 'in_progress', 'completed') OR (d.status = 'failed' AND r.driven = 0))
     ORDER BY d.revision DESC`,
    [functionId],
  )
  return rows.map((row) => ({ ...row, whole: row['whole'] === 1 }) as unknown as HistoryRow)
}
