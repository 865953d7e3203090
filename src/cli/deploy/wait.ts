/** Waits until every node of a deployment has said what became of it. */

import { EdgefnError } from '../../errors.ts'
import { deploymentViewSchema, type DeploymentView, type TargetState } from '../../protocol/api.ts'
import type { ApiClient } from '../api-client.ts'
import type { Progress } from '../progress.ts'

const pollMsMin = 100
const pollMsMax = 1000

const FINAL: readonly TargetState[] = ['deployed', 'failed', 'superseded']

/**
 * Polls with a line for each change of a node, until all are final or `msMax` has passed; returns the deployment as it was
 * last seen. A control plane that is away for a while (a restart) is waited for within the same time.
 */
export async function waitForNodes(
  client: ApiClient,
  deployment: DeploymentView,
  msMax: number,
  progress: Progress,
): Promise<DeploymentView> {
  const startedAt = performance.now()
  const states = new Map<string, TargetState>()
  let latest = deployment
  let pollMs = pollMsMin
  while (true) {
    reportChanges(latest, states, progress)
    const waiting = latest.targets.filter((target) => !FINAL.includes(target.state)).length
    const elapsedMs = performance.now() - startedAt
    if (waiting === 0 || elapsedMs >= msMax) break
    const seconds = Math.round(elapsedMs / 1000)
    progress.status(`waiting for ${waiting} of ${latest.targets.length} nodes, ${seconds} s`)
    await Bun.sleep(Math.min(pollMs, msMax - elapsedMs))
    pollMs = Math.min(pollMs * 1.3, pollMsMax)
    latest = await poll(client, latest)
  }
  progress.done()
  return latest
}

async function poll(client: ApiClient, known: DeploymentView): Promise<DeploymentView> {
  try {
    return await client.get(`/deployments/${known.id}`, deploymentViewSchema)
  } catch (error) {
    if (error instanceof EdgefnError && error.code === 'cp_unreachable') return known
    throw error
  }
}

function reportChanges(
  deployment: DeploymentView,
  states: Map<string, TargetState>,
  progress: Progress,
): void {
  for (const { node_id: nodeId, state, error } of deployment.targets) {
    if (states.get(nodeId) === state) continue
    states.set(nodeId, state)
    if (state === 'pending') continue
    const reason = error === null ? '' : `: ${error.message} (${error.code})`
    progress.line(`  ${nodeId}  ${state}${reason}`)
  }
}

/** Whether every node serves the version. */
export function isDeployedEverywhere(deployment: DeploymentView): boolean {
  return deployment.targets.every((target) => target.state === 'deployed')
}
