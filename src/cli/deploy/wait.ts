/** Waits until every node of a deployment has said what became of it. */

import { EdgefnError } from '../../errors.ts'
import { deploymentViewSchema, type DeploymentView, type TargetState } from '../../protocol/api.ts'
import type { ApiClient } from '../api-client.ts'
import type { Progress } from '../progress.ts'
import { gatesText } from './rollout-text.ts'

const pollMsMin = 100
const pollMsMax = 1000

const FINAL: readonly TargetState[] = ['deployed', 'failed', 'superseded', 'rolled_back', 'skipped']
/** Milliseconds that nodes get which are all given the version at once. */
const nodesMsMax = 120_000

/**
 * Polls with a line for each change of a node and each step, until all are final, the rollout has ended or is paused, or `msMax`
 * has passed (null: two minutes, or none when there are steps); returns the deployment as it was last seen. A control plane that is away for a while (a restart) is waited for within the same time.
 */
export async function waitForNodes(
  client: ApiClient,
  deployment: DeploymentView,
  limitMs: number | null,
  progress: Progress,
): Promise<DeploymentView> {
  const startedAt = performance.now()
  const msMax = limitMs ?? (hasSteps(deployment) ? Infinity : nodesMsMax)
  let step = 0
  const states = new Map<string, TargetState>()
  let latest = deployment
  let pollMs = pollMsMin
  while (true) {
    reportChanges(latest, states, progress)
    if (hasSteps(latest) && latest.rollout.step !== step) {
      step = latest.rollout.step
      progress.line(stepLine(latest))
    }
    const waiting = latest.targets.filter((target) => !FINAL.includes(target.state)).length
    const elapsedMs = performance.now() - startedAt
    const { phase } = latest.rollout
    const over = hasSteps(latest) ? phase !== 'running' : waiting === 0
    if (over || elapsedMs >= msMax) break
    const seconds = Math.round(elapsedMs / 1000)
    progress.status(`waiting for ${waiting} of ${latest.targets.length} nodes, ${seconds} s`)
    await Bun.sleep(Math.min(pollMs, msMax - elapsedMs))
    pollMs = Math.min(pollMs * 1.3, pollMsMax)
    latest = await poll(client, latest)
  }
  progress.done()
  return latest
}

/** `step 2 of 4: 3 nodes, acknowledged, errors <= 5 %, 60 s`. */
function stepLine({ rollout: { step, steps } }: DeploymentView): string {
  const begun = steps[step - 1]
  const what = begun === undefined ? '' : `: ${nodesText(begun.nodes)}, ${gatesText(begun.gates)}`
  return `step ${step} of ${steps.length}${what}`
}

function nodesText(count: number): string {
  return count === 1 ? '1 node' : `${count} nodes`
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
    if (state === 'pending' || state === 'waiting') continue
    const reason = error === null ? '' : `: ${error.message} (${error.code})`
    progress.line(`  ${nodeId}  ${state}${reason}`)
  }
}

/** Whether every node serves the version; of one with steps, whether it is completed and some node does, or did until a newer one. */
export function isDeployedEverywhere(deployment: DeploymentView): boolean {
  if (hasSteps(deployment)) {
    const isReached = deployment.targets.some(
      ({ state }) => state === 'deployed' || state === 'superseded',
    )
    return deployment.status === 'completed' && isReached
  }
  return deployment.targets.every((target) => target.state === 'deployed')
}

/** Whether the control plane takes it from step to step, and says itself when it is over. */
function hasSteps({ strategy, rollout }: DeploymentView): boolean {
  return strategy !== 'immediate' || rollout.max_failed !== null
}
