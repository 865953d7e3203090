/** What must hold when the network is well again and everybody is up: what the control plane says is what the nodes serve. */

import { readSplit } from '../../src/cp/split-column.ts'
import type { Sql } from '../../src/cp/db/database.ts'
import type { DeploymentId, NodeId } from '../../src/protocol/ids.ts'
import type { Assignment } from '../../src/edge/table-parts.ts'
import type { Route } from '../../src/protocol/manifest.ts'
import { selectsPop } from '../../src/protocol/selector.ts'
import type { SimulatedControlPlane } from './control-plane.ts'
import type { SimulatedNode } from './node.ts'
import { oracleFaults } from './oracle.ts'
import { sharesOf } from './shares.ts'
import type { World } from './world.ts'

/** What still differs; empty when all have converged. */
export async function differences(world: World): Promise<string[]> {
  const { cp } = world
  if (cp === null) return ['the control plane is down']
  await world.judgeSteps()
  if (world.violations.length > 0) return [...world.violations]
  const found: string[] = []
  for (const node of world.nodes) found.push(...(await nodeDifferences(cp, node)))
  const left = await cp.base.db.get('SELECT count(*) AS rows FROM outbox')
  if (left?.['rows'] !== 0) found.push(`${left?.['rows']} notices are left`)
  const open = await cp.base.db.all(
    `SELECT d.id, d.status FROM deployments d JOIN rollouts r ON r.deployment_id = d.id
     WHERE r.phase <> 'ended' OR d.status NOT IN ('completed', 'failed', 'rolled_back')`,
  )
  found.push(...open.map((row) => `deployment ${row['id']} is ${row['status']}`))
  // What nobody is done with may still differ.
  return found.length > 0 ? found : oracleFaults(world, cp)
}

async function nodeDifferences(cp: SimulatedControlPlane, node: SimulatedNode): Promise<string[]> {
  const { db } = cp.base
  const row = await db.get(
    'SELECT pop_id, desired_revision, applied_revision FROM nodes WHERE id = ?',
    [node.id],
  )
  const found: string[] = []
  if (!node.alive) found.push(`${node.id} is down`)
  const { revision, unacknowledged } = node.state
  if (revision !== row?.['desired_revision'] || revision !== row['applied_revision']) {
    found.push(
      `${node.id} is at ${revision}, wanted ${row?.['desired_revision']}, known ${row?.['applied_revision']}`,
    )
  }
  if (unacknowledged !== null) found.push(`${node.id} has unconfirmed results`)
  const assigned = await db.all(
    'SELECT function_id, version, split, deployment_id FROM assignments WHERE node_id = ? AND removed = 0',
    [node.id],
  )
  const wanted = new Map(assigned.map((item) => [String(item['function_id']), item]))
  for (const [functionId, { serving, pending, failure }] of node.state.functions) {
    const want = wanted.get(functionId)
    // What cannot be loaded stays wanted, and the version before serves on.
    const has = failure === null ? serving : pending
    const same =
      has?.version === want?.['version'] &&
      has?.deployment_id === want?.['deployment_id'] &&
      Bun.deepEquals(sharesOf(has), readSplit(want?.['split'])?.versions ?? null)
    if (!same)
      found.push(`${node.id} has ${functionId}@${has?.version}, wanted ${want?.['version']}`)
    if (failure === null && pending !== null) found.push(`${node.id} has ${functionId} pending`)
    wanted.delete(functionId)
  }
  for (const functionId of wanted.keys()) found.push(`${node.id} lacks ${functionId}`)
  return [...found, ...(await routeDifferences(cp, node, String(row?.['pop_id'])))]
}

/** A node went over from one deployment of a function to another. */
export interface ServingStep {
  readonly node_id: NodeId
  readonly from: DeploymentId
  readonly to: DeploymentId
}

/** What is wrong with it; null when nothing is. */
export async function stepFault(sql: Sql, { node_id, from, to }: ServingStep) {
  const rows = await sql.all(
    `SELECT d.id, d.revision, CASE WHEN r.superseded = 1 THEN 'superseded' ELSE d.status END AS status
     FROM deployments d JOIN rollouts r ON r.deployment_id = d.id WHERE d.id IN (?, ?)`,
    [from, to],
  )
  const left = rows.find((row) => row['id'] === from)
  const taken = rows.find((row) => row['id'] === to)
  const isOlder = Number(taken?.['revision'] ?? 0) < Number(left?.['revision'] ?? 0)
  const wasEnded = ['rolled_back', 'failed', 'superseded'].includes(String(left?.['status']))
  if (!isOlder || wasEnded) return null
  return `${node_id} went back from ${from}, which is ${left?.['status']}, to ${to}`
}

/**
 * What is wrong with a table that workers get: outside a split a function has one version, and in one exactly the versions of
 * it, all of them of one deployment.
 */
export function tableFaults({ functions }: Pick<Assignment, 'functions'>): string[] {
  const faults: string[] = []
  const rows = Map.groupBy(functions.values(), (fn) => fn.function_id)
  for (const [functionId, versions] of rows) {
    const main = functions.get(functionId)
    const wanted = main?.split?.arms.map(({ version }) => version) ?? [main?.version]
    const served = versions.map(({ version }) => version).sort((a, b) => a - b)
    const deployments = new Set(versions.map(({ deployment_id }) => deployment_id))
    if (Bun.deepEquals(served, wanted) && deployments.size === 1) continue
    faults.push(
      `${functionId} is served in versions ${served.join()} and should be in ${wanted.join()}`,
    )
  }
  return faults
}

async function routeDifferences(
  cp: SimulatedControlPlane,
  node: SimulatedNode,
  popId: string,
): Promise<string[]> {
  const rows = await cp.base.db.all(
    `SELECT id, pop_selector FROM routes WHERE deleted_at IS NULL AND function_id IN
       (SELECT function_id FROM assignments WHERE node_id = ? AND removed = 0)`,
    [node.id],
  )
  const wanted = new Set(
    rows
      .filter((row) => selectsPop(row['pop_selector'] as string | null, popId))
      .map((row) => String(row['id'])),
  )
  const has = new Set(
    [...node.state.routes.values()].map(({ route_id }: Route) => String(route_id)),
  )
  if (wanted.symmetricDifference(has).size === 0) return []
  return [`${node.id} has the routes ${[...has].join()}, wanted ${[...wanted].join()}`]
}
