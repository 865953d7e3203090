/** What a deployment's body asks of its rollout, with nothing left open: pure, refuses what contradicts itself by field. */

import { EdgefnError } from '../../../errors.ts'
import type { DeploymentCreation } from '../../../protocol/api.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import {
  canarySchema,
  rollingSchema,
  type FailedShare,
  type FullGates,
  type Gates,
  type NodeShare,
} from '../../../protocol/rollout.ts'
import type { RolloutStep } from './decide.ts'

export interface RolloutSettings {
  /** Whether the driver takes it from step to step; else all nodes are given the version at once and nothing is watched. */
  readonly driven: boolean
  readonly steps: readonly RolloutStep[]
  readonly pop_order: readonly string[]
  readonly max_failed: number | null
  readonly pause_ms: number
  readonly step_timeout_ms: number
  readonly on_failure: 'roll_back' | 'stop'
}

export type RolloutRequest = Pick<
  DeploymentCreation,
  | 'strategy'
  | 'rolling'
  | 'canary'
  | 'gates'
  | 'max_failed'
  | 'step_timeout_seconds'
  | 'on_failure'
  | 'versions'
>

const OPEN: FullGates = {
  error_rate_max: null,
  p95_ms_max: null,
  min_samples: 0,
  window_seconds: 0,
}
const WATCHED: FullGates = {
  error_rate_max: LIMITS.rolloutErrorRateDefault,
  p95_ms_max: null,
  min_samples: LIMITS.rolloutSamplesDefault,
  window_seconds: LIMITS.rolloutWindowSecondsDefault,
}

/** Of a rollout to so many nodes. Throws `invalid_field` with the name of the field. */
export function rolloutSettings(request: RolloutRequest, nodesCount: number): RolloutSettings {
  checkFields(request)
  const { strategy, max_failed: failed } = request
  const steps = stepsOf(request, nodesCount)
  const windowSeconds = Math.max(...steps.map(({ gates }) => gates.window_seconds))
  const timeoutSeconds =
    request.step_timeout_seconds ?? windowSeconds + LIMITS.rolloutStepSecondsDefault
  if (timeoutSeconds <= windowSeconds) {
    throw refusal(
      'step_timeout_seconds',
      `must be more than gates.window_seconds, which is ${windowSeconds}`,
    )
  }
  const defaultFailed = strategy === 'immediate' ? null : 0
  return {
    driven: strategy !== 'immediate' || failed !== undefined,
    steps,
    pop_order: request.rolling?.pop_order ?? request.canary?.pop_order ?? [],
    max_failed: failed === undefined ? defaultFailed : failedCount(failed, nodesCount),
    pause_ms: (request.rolling?.pause_seconds ?? 0) * 1000,
    step_timeout_ms: timeoutSeconds * 1000,
    on_failure: request.on_failure ?? 'roll_back',
  }
}

/** Nodes of a share, a part rounded up. */
export function nodeCount(share: NodeShare, nodesCount: number): number {
  const count =
    typeof share === 'number' ? share : Math.ceil((Number.parseFloat(share) * nodesCount) / 100)
  return Math.min(Math.max(count, 1), Math.max(nodesCount, 1))
}

function failedCount(share: FailedShare, nodesCount: number): number {
  return typeof share === 'number'
    ? share
    : Math.floor((Number.parseFloat(share) * nodesCount) / 100)
}

function checkFields(request: RolloutRequest): void {
  const { strategy } = request
  for (const name of ['rolling', 'canary'] as const) {
    if (request[name] !== undefined && strategy !== name) {
      throw refusal(name, `must not be given with strategy ${strategy}`)
    }
  }
  if (request.versions !== undefined && strategy !== 'immediate') {
    throw refusal('strategy', 'must be immediate for a split: its weights are its steps')
  }
  if (strategy !== 'immediate') return
  if (request.gates !== undefined) {
    throw refusal('gates', 'must not be given with strategy immediate, which has no steps')
  }
  if (request.max_failed !== undefined) return
  for (const name of ['step_timeout_seconds', 'on_failure'] as const) {
    if (request[name] !== undefined) {
      throw refusal(name, 'must not be given with strategy immediate without max_failed')
    }
  }
}

function stepsOf(request: RolloutRequest, nodesCount: number): RolloutStep[] {
  switch (request.strategy) {
    case 'immediate':
      return [{ nodes: nodesCount, gates: OPEN }]
    case 'rolling':
      return batches(request, nodesCount)
    case 'canary':
      return canarySteps(request, nodesCount)
  }
}

function batches(request: RolloutRequest, nodesCount: number): RolloutStep[] {
  const gates = fullGates(request.gates, 'gates', OPEN)
  const size = nodeCount(rollingSchema.parse(request.rolling ?? {}).batch, nodesCount)
  const steps: RolloutStep[] = []
  for (let nodes = size; nodes < nodesCount; nodes += size) steps.push({ nodes, gates })
  return [...steps, { nodes: nodesCount, gates }]
}

/** Steps that would add no node are left out: of three nodes, 1 is 10 % as well. */
function canarySteps(request: RolloutRequest, nodesCount: number): RolloutStep[] {
  const asked = canarySchema.parse(request.canary ?? {}).steps
  const all = fullGates(request.gates, 'gates', WATCHED)
  const steps: RolloutStep[] = []
  for (const [index, { nodes: share, gates: own }] of asked.entries()) {
    checkAscending(asked[index - 1]?.nodes, share, index)
    const gates = fullGates(own, `canary.steps.${index}.gates`, all)
    const nodes = nodeCount(share, nodesCount)
    if (nodes > (steps.at(-1)?.nodes ?? 0)) steps.push({ nodes, gates })
  }
  if ((steps.at(-1)?.nodes ?? 0) < nodesCount) steps.push({ nodes: nodesCount, gates: all })
  return steps
}

/** A number and a part can be compared only when the nodes are counted; two of a kind always. */
function checkAscending(before: NodeShare | undefined, share: NodeShare, index: number): void {
  if (before === undefined || typeof before !== typeof share) return
  if (Number.parseFloat(String(share)) > Number.parseFloat(String(before))) return
  throw refusal(`canary.steps.${index}.nodes`, `must be more than the ${before} of the step before`)
}

/** What `own` leaves out is taken from `base`, but that who asks for a threshold where there was none is given samples for it. */
function fullGates(own: Gates | undefined, field: string, base: FullGates): FullGates {
  if (own === undefined) return base
  const asksForSamples = (own.error_rate_max ?? own.p95_ms_max ?? null) !== null
  const rest =
    asksForSamples && base.window_seconds === 0 ? { ...WATCHED, error_rate_max: null } : base
  const gates: FullGates = {
    error_rate_max: own.error_rate_max === undefined ? rest.error_rate_max : own.error_rate_max,
    p95_ms_max: own.p95_ms_max === undefined ? rest.p95_ms_max : own.p95_ms_max,
    min_samples: own.min_samples ?? rest.min_samples,
    window_seconds: own.window_seconds ?? rest.window_seconds,
  }
  if (own.min_samples !== undefined && own.min_samples > 0 && gates.window_seconds === 0) {
    throw refusal(`${field}.window_seconds`, 'must be more than 0 when min_samples is')
  }
  return gates
}

function refusal(field: string, problem: string): EdgefnError {
  return new EdgefnError('invalid_field', `${field} ${problem}.`, { details: { field } })
}
