/** Rollouts as people read them: steps, gates, evidence, plans. */

import type { DeploymentView } from '../../protocol/api.ts'
import type {
  DeploymentPlanView,
  Evidence,
  FullGates,
  PlanNodeView,
} from '../../protocol/rollout.ts'
import type { Terminal } from '../command.ts'
import { printList, printRecord, timeText } from '../output.ts'
import { showRoute } from '../route-text.ts'
import { splitText } from './version-words.ts'

/** `errors <= 5 %, p95 <= 200 ms, 20 requests, 60 s`. */
export function gatesText(gates: FullGates): string {
  const { error_rate_max: rate, p95_ms_max: p95, min_samples: samples, window_seconds } = gates
  const parts = [
    ...(rate === null ? [] : [`errors <= ${percent(rate)}`]),
    ...(p95 === null ? [] : [`p95 <= ${p95} ms`]),
    ...(samples === 0 ? [] : [`${samples} requests`]),
    ...(window_seconds === 0 ? [] : [`${window_seconds} s`]),
  ]
  return ['acknowledged', ...parts].join(', ')
}

function percent(part: number): string {
  return `${Math.round(part * 10_000) / 100} %`
}

export function phaseText({ rollout, status }: DeploymentView): string {
  if (rollout.phase === 'ended') return status
  const seconds = Math.round(rollout.step_ms / 1000)
  const window =
    rollout.window_ms === null ? '' : `, watched ${Math.round(rollout.window_ms / 1000)} s`
  const why = rollout.pause_reason === null ? '' : ` (${rollout.pause_reason})`
  return `${rollout.phase}${why}, step ${rollout.step} of ${rollout.steps.length}, ${seconds} s${window}`
}

/** Everything of a rollout, as tables. */
export function printStatus(terminal: Terminal, deployment: DeploymentView): void {
  const { rollout } = deployment
  printRecord(terminal, 'table', deployment, {
    deployment: deployment.id,
    function: `${deployment.function_name} ${splitText(deployment)}`,
    kind: `${rollout.kind}, ${deployment.strategy}, to ${deployment.target}`,
    status: deployment.status,
    rollout: phaseText(deployment),
    message: deployment.message || '-',
    by: `${deployment.created_by}, ${timeText(deployment.created_at)}`,
    ...(rollout.superseded_by === null ? {} : { 'superseded by': rollout.superseded_by }),
  })
  terminal.out('\n')
  printList(terminal, 'table', rollout.steps, {
    STEP: (item) => String(item.step),
    NODES: (item) => String(item.nodes),
    STATE: (item) => item.state,
    GATES: (item) => gatesText(item.gates),
  })
  terminal.out('\n')
  printList(terminal, 'table', deployment.targets, {
    NODE: (item) => item.node_id,
    POP: (item) => item.pop_id,
    STEP: (item) => String(item.step),
    STATE: (item) => item.state,
    BEFORE: (item) => (item.previous === null ? '-' : splitText(item.previous)),
    UPDATED: (item) => timeText(item.updated_at),
    ERROR: (item) => (item.error === null ? '' : `${item.error.message} (${item.error.code})`),
  })
  if (rollout.evidence !== null) printEvidence(terminal, rollout.evidence)
}

function printEvidence(terminal: Terminal, evidence: Evidence): void {
  terminal.out('\n')
  printRecord(terminal, 'table', evidence, {
    evidence: evidence.reason,
    gate: `${evidence.gate}, step ${evidence.step}`,
    measured: measuredText(evidence.measured),
    allowed: String(evidence.threshold ?? '-'),
    requests: `${evidence.requests}, ${evidence.errors} errors`,
  })
  if (evidence.nodes.length === 0) return
  printList(terminal, 'table', evidence.nodes, {
    NODE: (item) => item.node_id,
    REQUESTS: (item) => String(item.requests),
    ERRORS: (item) => String(item.errors),
    P95: (item) => (item.p95_ms === null ? '-' : `${measuredText(item.p95_ms)} ms`),
    ERROR: (item) => item.error ?? '',
  })
}

/** To four places: what is measured is no more exact. */
function measuredText(value: number | null): string {
  return value === null ? '-' : String(Math.round(value * 10_000) / 10_000)
}

/** What would change where. */
export function printPlan(terminal: Terminal, plan: DeploymentPlanView): void {
  printRecord(terminal, 'table', plan, {
    function: `${plan.function_name} ${splitText(plan)}`,
    strategy: `${plan.strategy}, to ${plan.target}`,
    'max failed': String(plan.max_failed ?? 'any number'),
    supersedes: plan.supersedes ?? '-',
    index: String(plan.index),
  })
  terminal.out('\n')
  printList(terminal, 'table', plan.steps, {
    STEP: (item) => String(item.step),
    NODES: (item) => String(item.nodes),
    GATES: (item) => gatesText(item.gates),
  })
  const routes = new Map(plan.routes.map((route) => [route.id, showRoute(route)]))
  terminal.out('\n')
  printList(terminal, 'table', plan.nodes, {
    NODE: (item) => item.node_id,
    POP: (item) => item.pop_id,
    STEP: (item) => String(item.step ?? '-'),
    ONLINE: (item) => (item.online ? 'yes' : 'no'),
    NOW: nowText,
    THEN: thenText,
    ROUTES: (item) => item.routes.map((id) => routes.get(id) ?? id).join(' ') || '-',
  })
}

/** A node that is behind may serve what it had before, which nobody knows. */
function nowText({ from, acknowledged }: PlanNodeView): string {
  if (from === null) return '-'
  return acknowledged ? splitText(from) : `${splitText(from)} (not acknowledged)`
}

function thenText({ from, to }: PlanNodeView): string {
  const then = to === null ? '-' : splitText(to)
  return then === (from === null ? '-' : splitText(from)) ? `${then} (no change)` : then
}
