/** Where a version is live: what nodes are assigned and what they said became of it. */

import type { z } from 'zod'

import type { FunctionId, PopId } from '../../protocol/ids.ts'
import type { versionLiveSchema } from '../../protocol/versions.ts'
import type { Sql } from '../db/database.ts'
import { readSplit } from '../split-column.ts'

/** By POP; a version of a split with its share there. */
export async function liveIn(
  sql: Sql,
  functionId: FunctionId,
  version: number,
): Promise<z.infer<typeof versionLiveSchema>[]> {
  const rows = await sql.all(
    `SELECT n.pop_id, a.version, a.split, count(*) AS nodes, sum(coalesce(t.state = 'deployed', 0)) AS deployed
     FROM assignments a JOIN nodes n ON n.id = a.node_id
     LEFT JOIN deployment_targets t ON t.deployment_id = a.deployment_id AND t.node_id = a.node_id
     WHERE a.function_id = ? AND a.removed = 0
     GROUP BY n.pop_id, a.version, a.split ORDER BY n.pop_id`,
    [functionId],
  )
  return rows.flatMap((row) => {
    const split = readSplit(row['split'])
    const share = split?.versions.find((one) => one.version === version)?.weight
    const weight = split === null ? (row['version'] === version ? 100 : undefined) : share
    if (weight === undefined) return []
    const { nodes, deployed } = row
    return [
      { pop_id: row['pop_id'] as PopId, nodes: Number(nodes), deployed: Number(deployed), weight },
    ]
  })
}
