/** What a rollout does next, out of what is recorded of it: pure, so that every course can be tried [R11 C18 P25-P27]. */

import { LIMITS } from '../../../protocol/limits.ts'
import type { TargetState } from '../../../protocol/api.ts'
import type { NodeId } from '../../../protocol/ids.ts'
import type { Evidence, FullGates, RolloutPhase } from '../../../protocol/rollout.ts'
import type { VersionSample } from '../../lookup.ts'
import { judge, unseen } from './gates.ts'

export interface RolloutStep {
  /** How many nodes have the version once it has begun, those of the steps before it included. */
  readonly nodes: number
  readonly gates: FullGates
}

/** Durations in milliseconds, of the time in which the rollout was driven. */
export interface RolloutState {
  readonly phase: RolloutPhase
  /** The step that began last, from 1. */
  readonly step: number
  readonly steps: readonly RolloutStep[]
  readonly step_ms: number
  /** Since all nodes of the step acknowledged; null while one has not. */
  readonly window_ms: number | null
  /** The rest of the step is to be left out. */
  readonly promoted: boolean
  /** Null: any number of nodes may fail. */
  readonly max_failed: number | null
  /** Between two steps. */
  readonly pause_ms: number
  readonly step_timeout_ms: number
}

export interface RolloutTarget {
  readonly node_id: NodeId
  readonly step: number
  readonly state: TargetState
  readonly online: boolean
  /** Why it failed, as the node says. */
  readonly error: string | null
}

export type Decision =
  /** Nothing; look again after so many milliseconds at the latest, Infinity: when something was reported or ordered. */
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'open_window' }
  | { readonly do: 'begin_step'; readonly step: number }
  | { readonly do: 'complete' }
  | { readonly do: 'pause'; readonly evidence: Evidence }
  | { readonly do: 'fail'; readonly evidence: Evidence }

/**
 * The rules, in their order:
 * 1. More nodes failed than may: the rollout fails.
 * 2. A step waits until each of its nodes has answered. A node that is offline is not waited for. Those that have not answered by
 *    the step's time-out count as failed; if too many have failed then, the rollout fails.
 * 3. Then its window begins. A gate that is broken fails the rollout at once.
 * 4. After the window (and the pause between steps) the next step begins. With fewer requests than `min_samples` the step waits
 *    for them until its time-out, and is paused then; so does one that asks for requests while no node that has the version is
 *    online: what came before says nothing of nodes that have gone since.
 *    The last step waits in the same way while no node at all has the version: nothing would be in service.
 * `samples` are those since the window began, of nodes that have the version.
 */
export function decide(
  state: RolloutState,
  targets: readonly RolloutTarget[],
  samples: readonly VersionSample[],
): Decision {
  if (state.phase !== 'running') return { do: 'wait', ms: Infinity }
  const begun = targets.filter((target) => target.step <= state.step)
  const failed = begun.filter((target) => target.state === 'failed')
  if (isTooMany(state, failed.length)) return { do: 'fail', evidence: tooMany(state, failed) }
  return state.window_ms === null
    ? untilAnswered(state, begun, failed)
    : inWindow(state, state.window_ms, begun, samples)
}

function untilAnswered(
  state: RolloutState,
  begun: readonly RolloutTarget[],
  failed: readonly RolloutTarget[],
): Decision {
  const silent = begun.filter(
    ({ step, online, state: said }) =>
      step === state.step && online && (said === 'pending' || said === 'notified'),
  )
  if (state.promoted) return next(state)
  if (silent.length === 0) return { do: 'open_window' }
  const leftMs = state.step_timeout_ms - state.step_ms
  if (leftMs > 0) return { do: 'wait', ms: leftMs }
  if (!isTooMany(state, failed.length + silent.length)) return { do: 'open_window' }
  return { do: 'fail', evidence: unanswered(state, failed, silent) }
}

function inWindow(
  state: RolloutState,
  windowMs: number,
  begun: readonly RolloutTarget[],
  samples: readonly VersionSample[],
): Decision {
  const { gates } = stepOf(state)
  const verdict = judge(state.step, gates, samples)
  if (verdict.passed === false) return { do: 'fail', evidence: verdict.evidence }
  if (state.promoted) return next(state)
  const isLast = state.step >= state.steps.length
  const leftMs = gates.window_seconds * 1000 + (isLast ? 0 : state.pause_ms) - windowMs
  if (leftMs > 0) return { do: 'wait', ms: leftMs }
  const isSeen = gates.min_samples === 0 || begun.some(isServing)
  const isServed = !isLast || begun.some((target) => target.state === 'deployed')
  if (verdict.passed && isSeen && isServed) return next(state)
  const timeMs = state.step_timeout_ms - state.step_ms
  if (timeMs > 0) return { do: 'wait', ms: timeMs }
  if (!verdict.passed) return { do: 'pause', evidence: verdict.evidence }
  const evidence = isSeen ? unserved(state, begun) : unseen(state.step, gates, samples)
  return { do: 'pause', evidence }
}

function isServing({ state, online }: RolloutTarget): boolean {
  return online && state === 'deployed'
}

function next(state: RolloutState): Decision {
  return state.step < state.steps.length
    ? { do: 'begin_step', step: state.step + 1 }
    : { do: 'complete' }
}

function stepOf(state: RolloutState): RolloutStep {
  const step = state.steps[state.step - 1]
  if (step === undefined) throw new Error(`A rollout has no step ${state.step}.`)
  return step
}

function isTooMany(state: RolloutState, count: number): boolean {
  return state.max_failed !== null && count > state.max_failed
}

function tooMany(state: RolloutState, failed: readonly RolloutTarget[]): Evidence {
  const reason = `${nodesText(failed.length)} could not serve the version; ${state.max_failed} may fail.`
  return nodeEvidence('max_failed', state, failed, reason)
}

function unanswered(
  state: RolloutState,
  failed: readonly RolloutTarget[],
  silent: readonly RolloutTarget[],
): Evidence {
  const seconds = Math.round(state.step_timeout_ms / 1000)
  const reason = `${nodesText(silent.length)} did not acknowledge within ${seconds} s though online, ${failed.length} failed; ${state.max_failed} may.`
  return nodeEvidence('acknowledged', state, [...silent, ...failed], reason)
}

/** The rollout is at its end, and no node has the version. */
function unserved(state: RolloutState, begun: readonly RolloutTarget[]): Evidence {
  const failed = begun.filter((target) => target.state === 'failed')
  const reason = `No node has the version: ${failed.length} failed, and no other has acknowledged.`
  return { ...nodeEvidence('acknowledged', state, failed, reason), measured: 0, threshold: null }
}

function nodesText(count: number): string {
  return count === 1 ? '1 node' : `${count} nodes`
}

function nodeEvidence(
  gate: Evidence['gate'],
  state: RolloutState,
  nodes: readonly RolloutTarget[],
  reason: string,
): Evidence {
  return {
    gate,
    step: state.step,
    reason,
    measured: nodes.length,
    threshold: state.max_failed,
    requests: 0,
    errors: 0,
    nodes: nodes.slice(0, LIMITS.rolloutEvidenceNodesMax).map(({ node_id, error }) => ({
      ...{ node_id, requests: 0, errors: 0, p95_ms: null },
      error,
    })),
  }
}
