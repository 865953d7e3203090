/** How a deployment that is not in service everywhere stands: what stopped it, in numbers, and what to run next. */

import type { DeploymentView } from '../../protocol/api.ts'
import type { Evidence } from '../../protocol/rollout.ts'
import type { Terminal } from '../command.ts'
import { clean } from '../output.ts'
import { splitText } from './version-words.ts'

/** Lines of nodes; `deployment status` has them all. */
const nodesMax = 5

/** On `err`, because it is not what was asked for. */
export function printOutcome(terminal: Terminal, deployment: DeploymentView): void {
  for (const line of outcomeLines(deployment)) terminal.err(`${clean(line)}\n`)
}

/** `hello v7 is in service on 3 of 4 nodes`, with a line for each node that is done without: offline, or one that may fail. */
export function inServiceLines(what: string, { targets }: DeploymentView): string[] {
  const missing = targets.filter((target) => target.state !== 'deployed')
  const all = targets.length === 1 ? '1 node' : `${targets.length} nodes`
  const count = missing.length === 0 ? all : `${targets.length - missing.length} of ${all}`
  const lines = missing.slice(0, nodesMax).map(({ node_id: id, error }) => {
    return error === null
      ? `  ${id}  has not answered yet; it gets the version when it does`
      : `  ${id}  failed: ${error.message} (${error.code})`
  })
  const more = missing.length - lines.length
  return [
    `${what} is in service on ${count}`,
    ...lines,
    ...(more > 0 ? [`  and ${more} more: edgefn deployment status has them all`] : []),
  ]
}

/** For a deployment that is not in service everywhere. The first line says which of the ways it is. */
export function outcomeLines(deployment: DeploymentView): string[] {
  const { function_name: name, rollout } = deployment
  const { evidence } = rollout
  return [
    `error: ${name} ${splitText(deployment)} is not in service everywhere: ${howItStands(deployment)}`,
    ...(evidence === null ? [] : evidenceLines(evidence)),
    ...nodeLines(deployment),
    ...nextLines(deployment),
  ]
}

function howItStands(deployment: DeploymentView): string {
  const { status, rollout } = deployment
  const { phase, evidence, step, steps } = rollout
  const at = `at step ${evidence?.step ?? step} of ${steps.length}`
  const by =
    evidence?.gate === 'aborted' ? 'it was aborted' : `the gate ${evidence?.gate} did not hold`
  if (phase === 'paused') {
    return rollout.pause_reason === 'not_enough_samples'
      ? `paused ${at}, too little was seen to judge it (not_enough_samples)`
      : `paused ${at} (requested)`
  }
  switch (status) {
    case 'rolled_back':
      return `rolled back ${at}, ${by}; its nodes are given what they ran before`
    case 'failed':
      return evidence === null
        ? 'failed, nodes could not serve it'
        : `failed ${at}, ${by}; its nodes are left as they are`
    case 'superseded':
      return rollout.superseded_by === null
        ? 'superseded: another deployment came first, or the function was deleted'
        : `superseded by deployment ${rollout.superseded_by}`
    case 'completed':
      return deployment.targets.some(({ state }) => state === 'deployed')
        ? 'completed, but not on every node'
        : 'completed, but no node has acknowledged it'
    case 'pending':
    case 'in_progress':
      return `not done in the time of --timeout, ${at}; it goes on without being watched`
  }
}

function evidenceLines(evidence: Evidence): string[] {
  const { reason, measured, threshold, requests, errors, gate, step } = evidence
  const numbers = [
    ...(measured === null ? [] : [`measured ${Math.round(measured * 10_000) / 10_000}`]),
    ...(threshold === null ? [] : [`allowed ${threshold}`]),
    ...(requests === 0 ? [] : [`${requests} requests, ${errors} errors`]),
  ]
  const nodes = evidence.nodes.slice(0, nodesMax).map((node) => {
    const figures = [
      ...(node.requests === 0 ? [] : [`${node.requests} requests, ${node.errors} errors`]),
      ...(node.p95_ms === null ? [] : [`p95 ${Math.round(node.p95_ms * 10) / 10} ms`]),
      ...(node.error === null ? [] : [node.error]),
    ]
    return `    ${node.node_id}  ${figures.join(', ') || 'no answer'}`
  })
  const what = `  gate ${gate}, step ${step}: ${reason}`
  return [numbers.length === 0 ? what : `${what} (${numbers.join('; ')})`, ...nodes]
}

/** Only where no evidence tells of nodes. */
function nodeLines({ targets, rollout }: DeploymentView): string[] {
  if (rollout.evidence !== null || rollout.phase === 'paused') return []
  const missing = targets.filter((target) => target.state !== 'deployed')
  const lines = missing.slice(0, nodesMax).map(({ node_id: id, state, error }) => {
    return `    ${id}  ${state}${error === null ? '' : `: ${error.message} (${error.code})`}`
  })
  const more = missing.length - lines.length
  return more > 0 ? [...lines, `    and ${more} more`] : lines
}

/** Stopped, and some nodes were left with what it gave them. */
function isLeftHalfway({ status, rollout, targets }: DeploymentView): boolean {
  return (
    status === 'failed' &&
    rollout.evidence !== null &&
    targets.some(({ state }) => state === 'deployed')
  )
}

function nextLines(deployment: DeploymentView): string[] {
  const { id, function_name: name, rollout } = deployment
  // Of a function that may be gone.
  const isNamed = deployment.status !== 'superseded' || rollout.superseded_by !== null
  const status = isNamed
    ? `next: edgefn deployment status ${name}   (deployment ${id})`
    : `next: edgefn deployment status ${id}`
  if (isLeftHalfway(deployment)) {
    return [status, `      edgefn rollback ${name}   give all nodes the version before`]
  }
  if (rollout.phase !== 'paused') return [status]
  return [
    status,
    rollout.pause_reason === 'not_enough_samples'
      ? `      edgefn deployment resume ${name}   wait for requests once more`
      : `      edgefn deployment resume ${name}   go on where it was`,
    `      edgefn deployment promote ${name}  go on without the rest of the step`,
    `      edgefn deployment abort ${name}    give the nodes back what they ran`,
  ]
}
