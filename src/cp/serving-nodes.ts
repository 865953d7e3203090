/** Which nodes serve a function, as several slices ask it. */

import type { FunctionId, NodeId } from '../protocol/ids.ts'
import type { Sql } from './db/database.ts'

/** Nodes that should serve the function now, with the POP they are in. */
export async function nodesServing(
  sql: Sql,
  functionId: FunctionId,
): Promise<{ readonly node_id: NodeId; readonly pop_id: string }[]> {
  const rows = await sql.all(
    `SELECT a.node_id, n.pop_id FROM assignments a JOIN nodes n ON n.id = a.node_id
     WHERE a.function_id = ? AND a.removed = 0 ORDER BY a.node_id`,
    [functionId],
  )
  return rows as unknown as { node_id: NodeId; pop_id: string }[]
}
