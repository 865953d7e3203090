/**
 * Where routes are live [R9.4 C19.2], derived and not recorded: a node serves a route when it has acknowledged the revision in
 * which the route last changed, and holds the function.
 */

import type { RouteView } from '../../protocol/api.ts'
import type { FunctionId, NodeId, PopId } from '../../protocol/ids.ts'
import { selectsPop } from '../../protocol/selector.ts'
import type { RouteNodeView } from '../../protocol/syncs.ts'
import type { Sql } from '../db/database.ts'
import type { StoredRouteRow } from './schema.ts'

interface ServingNode {
  readonly node_id: NodeId
  readonly pop_id: PopId
  readonly applied_revision: number
  /** Whether some version of the function was brought into service there. */
  readonly holds: boolean
}

type Place = Pick<StoredRouteRow, 'function_id' | 'pop_selector' | 'revision'>

export interface Delivery {
  /** By id. */
  nodesOf(route: Place): RouteNodeView[]
  /** Makes nothing of single nodes: a page of routes on a large fleet is half a million of them. */
  countOf(route: Place): RouteView['delivery']
}

/** Asks for the nodes of each function once; the answers are then without further reads. */
export async function readDelivery(sql: Sql, functionIds: Iterable<FunctionId>): Promise<Delivery> {
  const serving = new Map<FunctionId, Map<PopId, ServingNode[]>>()
  for (const id of new Set(functionIds)) {
    serving.set(
      id,
      Map.groupBy(await servingNodes(sql, id), (node) => node.pop_id),
    )
  }
  function* selected({ function_id, pop_selector }: Place): Generator<readonly ServingNode[]> {
    for (const [popId, nodes] of serving.get(function_id) ?? []) {
      if (selectsPop(pop_selector, popId)) yield nodes
    }
  }
  return {
    nodesOf: (route) => {
      const views = [...selected(route)].flat().map((node): RouteNodeView => {
        const { holds: _, ...view } = node
        return { ...view, live: isLive(node, route) }
      })
      return views.sort((a, b) => (a.node_id < b.node_id ? -1 : 1))
    },
    countOf: (route) => {
      const count = { nodes: 0, live: 0 }
      for (const nodes of selected(route)) {
        count.nodes += nodes.length
        for (const node of nodes) if (isLive(node, route)) count.live += 1
      }
      return count
    },
  }
}

function isLive({ holds, applied_revision }: ServingNode, { revision }: Place): boolean {
  return holds && applied_revision >= revision
}

/**
 * Nodes to which the function is assigned. One that has not acknowledged the newest assignment holds it all the same
 * when an earlier deployment of it was a success there.
 */
async function servingNodes(sql: Sql, functionId: FunctionId): Promise<ServingNode[]> {
  const rows = await sql.all(
    `SELECT n.id AS node_id, n.pop_id, n.applied_revision, n.applied_revision >= a.revision OR EXISTS (
         SELECT 1 FROM deployments d JOIN deployment_targets t ON t.deployment_id = d.id
         WHERE d.function_id = a.function_id AND t.node_id = a.node_id AND t.state = 'deployed') AS holds
     FROM assignments a JOIN nodes n ON n.id = a.node_id
     WHERE a.function_id = ? AND a.removed = 0`,
    [functionId],
  )
  return rows.map((row) => ({ ...row, holds: row['holds'] === 1 }) as unknown as ServingNode)
}
