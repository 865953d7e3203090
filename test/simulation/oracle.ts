/**
 * What every node should have, worked out anew from what was deployed and what became of it, without what the control plane assigned;
 * and whether what the developer was told still holds.
 */

import type { Row } from '../../src/cp/db/database.ts'
import { readSplit } from '../../src/cp/split-column.ts'
import { selectsPop } from '../../src/protocol/selector.ts'
import type { SimulatedControlPlane } from './control-plane.ts'
import type { SimulatedNode } from './node.ts'
import { sharesOf } from './shares.ts'
import { NODES } from './template.ts'
import type { World } from './world.ts'

const DEPLOYMENTS = `SELECT d.id, d.function_id, f.name AS function_name, d.version, d.split, d.target, d.revision, r.driven,
  CASE WHEN r.superseded = 1 THEN 'superseded' ELSE d.status END AS status
  FROM deployments d JOIN functions f ON f.id = d.function_id JOIN rollouts r ON r.deployment_id = d.id ORDER BY d.revision DESC`

interface Deployment {
  readonly id: string
  readonly function_id: string
  readonly function_name: string
  readonly version: number
  readonly split: string | null
  readonly target: string
  readonly driven: number
  readonly status: string
}

export async function oracleFaults(world: World, cp: SimulatedControlPlane): Promise<string[]> {
  const { db } = cp.base
  // The casts are those of every row.
  const deployments = (await db.all(DEPLOYMENTS)) as unknown as Deployment[]
  const targets = await db.all('SELECT deployment_id, node_id, state FROM deployment_targets')
  const states = new Map(targets.map((row) => [`${row['deployment_id']} ${row['node_id']}`, row]))
  const stateOf = (deployment: Deployment, node: SimulatedNode) => {
    const state = states.get(`${deployment.id} ${node.id}`)?.['state']
    return state === undefined ? null : String(state)
  }
  const found = promisedDeploymentFaults(world, deployments)
  for (const [, [newest, ...rest]] of Map.groupBy(deployments, (row) => row.function_id)) {
    if (newest === undefined) continue
    if (newest.status === 'superseded')
      found.push(`${newest.id} is superseded, and nothing is newer`)
    for (const node of world.nodes) {
      const pop = NODES.find(({ id }) => id === node.id)?.pop ?? ''
      const wanted = [newest, ...rest].find(
        (row) =>
          selectsPop(row.target === 'all' ? null : row.target, pop) &&
          isInForce(row, stateOf(row, node)),
      )
      const state = wanted === undefined ? null : stateOf(wanted, node)
      found.push(...nodeFaults(node, newest.function_id, wanted ?? null, state))
    }
  }
  const routes = await db.all('SELECT * FROM routes WHERE deleted_at IS NULL')
  return [...found, ...routeFaults(world, routes, deployments)]
}

/** Whether a node of its target, where its own state is as given (null: never asked), is to have what was deployed. */
function isInForce({ driven, status }: Deployment, state: string | null): boolean {
  if (driven === 0) return true
  // What was stopped half-way without being taken back stays on the nodes that it had reached.
  return status === 'completed' || (status === 'failed' && state !== null)
}

function nodeFaults(
  node: SimulatedNode,
  functionId: string,
  wanted: Deployment | null,
  state: string | null,
): string[] {
  const entry = [...node.state.functions.values()].find(
    ({ serving, pending }) => (serving ?? pending)?.function_id === functionId,
  )
  if (wanted === null) {
    return entry === undefined ? [] : [`${node.id} should not have ${functionId}`]
  }
  if (state !== 'deployed' && state !== 'failed') {
    return [`${node.id} has deployment ${wanted.id} in state ${state}`]
  }
  const has = state === 'failed' ? entry?.pending : entry?.serving
  const same =
    has?.deployment_id === wanted.id &&
    has.version === wanted.version &&
    Bun.deepEquals(sharesOf(has), readSplit(wanted.split)?.versions ?? null)
  if (same) return []
  return [
    `${node.id} should have ${wanted.function_name}@${wanted.version} of ${wanted.id}, which ${state} there, and has ${has?.version} of ${has?.deployment_id}`,
  ]
}

function promisedDeploymentFaults(world: World, rows: readonly Deployment[]): string[] {
  const found: string[] = []
  const byId = new Map(rows.map((row) => [row.id, row]))
  for (const [id, promised] of world.promises.deployments) {
    const row = byId.get(id)
    if (row === undefined) {
      found.push(`deployment ${id} was acknowledged and is lost`)
      continue
    }
    const same =
      row.function_name === promised.function &&
      (promised.version === null || row.version === promised.version) &&
      (promised.target === null || row.target === promised.target)
    if (!same) found.push(`deployment ${id} is not what was acknowledged`)
  }
  return found
}

function routeFaults(
  world: World,
  rows: readonly Row[],
  deployments: readonly Deployment[],
): string[] {
  const found: string[] = []
  const byId = new Map(rows.map((row) => [String(row['id']), row]))
  const names = new Map(deployments.map((row) => [row.function_id, row.function_name]))
  for (const [id, promised] of world.promises.routes) {
    const row = byId.get(id)
    if (row === undefined) {
      if (promised.removal === 'no') found.push(`route ${id} was acknowledged and is lost`)
      continue
    }
    if (promised.removal === 'acknowledged') found.push(`route ${id} was removed and is there`)
    const functionId = String(row['function_id'])
    const selector = row['pop_selector'] as string | null
    if (!promised.selectors.includes(selector)) found.push(`route ${id} has selector ${selector}`)
    // A function that was never deployed has no name here, and no node.
    if ((names.get(functionId) ?? promised.function) !== promised.function)
      found.push(`route ${id} leads elsewhere`)
    for (const { id: nodeId, pop } of NODES) {
      const node = world.nodes.find((one) => one.id === nodeId)
      const serves = [...(node?.state.functions.values() ?? [])].some(
        ({ serving, pending }) => (serving ?? pending)?.function_id === functionId,
      )
      const live = [...(node?.state.routes.values() ?? [])].some(
        ({ route_id }) => String(route_id) === id,
      )
      const wanted = serves && selectsPop(selector, pop)
      if (wanted !== live) found.push(`route ${id} is ${live ? '' : 'not '}live on ${nodeId}`)
    }
  }
  return found
}
