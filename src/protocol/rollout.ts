/** Rollouts: how a deployment goes from node to node, what must hold before it goes on, and what is told of it [R11 C18 P25-P27]. */

import { z } from 'zod'

import {
  deploymentIdSchema,
  functionIdSchema,
  functionNameSchema,
  nodeIdSchema,
  popIdSchema,
  revisionSchema,
  routeIdSchema,
  textSchema,
  timestampSchema,
  versionSchema,
} from './ids.ts'
import { LIMITS } from './limits.ts'
import { pathTypeSchema } from './manifest.ts'
import { popSelectorSchema } from './selector.ts'
import { splitViewSchema } from './split.ts'

export const strategySchema = z.enum(['immediate', 'canary', 'rolling'])
export type Strategy = z.infer<typeof strategySchema>

export const deploymentStatusSchema = z.enum([
  'pending',
  'in_progress',
  'completed',
  'failed',
  'rolled_back', // its nodes are given what they ran before
  'superseded', // a newer one took its place before it was done
])
export type DeploymentStatus = z.infer<typeof deploymentStatusSchema>

export const targetStateSchema = z.enum([
  'waiting', // its step has not begun
  'pending', // not yet announced
  'notified', // the node has the notice
  'deployed', // the node serves the version
  'failed', // the node could not, and keeps what it served
  'superseded', // a newer deployment took the node over first
  'rolled_back', // the node is given again what it ran before
  'skipped', // its step never began
])
export type TargetState = z.infer<typeof targetStateSchema>

export const targetSelectorSchema = z.union([z.literal('all'), popSelectorSchema], {
  error:
    'must be "all", or POP ids in one string, separated by commas; * matches any characters, a leading ! excludes',
})

const shareProblem = `must be a whole number of nodes, ${LIMITS.rolloutNodesMax} at most, or a percentage like "10%"`
const percentSchema = z.string().regex(/^(?:100|\d{1,2}(?:\.\d{1,2})?)%$/, shareProblem)

/** A number of nodes, or a part of them: `3`, `"10%"`. A part is rounded up. */
export const nodeShareSchema = z
  .union([z.int().min(1).max(LIMITS.rolloutNodesMax), percentSchema], { error: shareProblem })
  .refine((share) => typeof share === 'number' || Number.parseFloat(share) > 0, 'must be above 0%')
export type NodeShare = z.infer<typeof nodeShareSchema>

/** How many nodes may fail: `0`, `3`, `"10%"`. A part is rounded down. */
export const failedShareSchema = z.union(
  [z.int().min(0).max(LIMITS.rolloutNodesMax), percentSchema],
  { error: shareProblem },
)
export type FailedShare = z.infer<typeof failedShareSchema>

const errorRateMaxSchema = z.number().min(0).max(1)
const p95MsMaxSchema = z.number().min(1).max(LIMITS.rolloutP95MsMax)
const minSamplesSchema = z.int().min(0).max(LIMITS.rolloutSamplesMax)
const windowSecondsSchema = z.int().min(0).max(LIMITS.rolloutWindowSecondsMax)

/**
 * What must hold of a step before the next begins. That all its nodes have acknowledged always must; `window_seconds` begin
 * then. Requests and errors are those of the version on the nodes that have it, since the window began; an error is a fault
 * of the function (trap, limit, timeout, an answer of 500 and above), never the client's.
 */
export const gatesSchema = z.strictObject({
  /** Part of the requests that may be errors, 0 to 1; null is not looked at. */
  error_rate_max: errorRateMaxSchema.nullable().optional(),
  /** Milliseconds within which 95 of 100 requests must be answered; null is not looked at. */
  p95_ms_max: p95MsMaxSchema.nullable().optional(),
  /** Requests without which neither is judged, and the step does not end. */
  min_samples: minSamplesSchema.optional(),
  /** How long the step is watched. */
  window_seconds: windowSecondsSchema.optional(),
})
export type Gates = z.infer<typeof gatesSchema>

/** Gates with nothing left out, as they are recorded. */
export const fullGatesSchema = z.strictObject({
  error_rate_max: errorRateMaxSchema.nullable(),
  p95_ms_max: p95MsMaxSchema.nullable(),
  min_samples: minSamplesSchema,
  window_seconds: windowSecondsSchema,
})
export type FullGates = z.infer<typeof fullGatesSchema>

export const rollingSchema = z.strictObject({
  /** Nodes of one batch. */
  batch: nodeShareSchema.default(LIMITS.rolloutBatchDefault),
  /** POPs (ids or selectors) in the order of their turn; those that none selects come last, by id. */
  pop_order: z.array(popSelectorSchema).max(LIMITS.rolloutPopOrderMax).default([]),
  /** Between the end of a batch and the beginning of the next. */
  pause_seconds: z.int().min(0).max(LIMITS.rolloutWindowSecondsMax).default(0),
})

export const canaryStepSchema = z.strictObject({
  /** How many nodes have the version once the step has begun, those of the steps before it included. */
  nodes: nodeShareSchema,
  /** Instead of the deployment's `gates`, field by field. */
  gates: gatesSchema.optional(),
})

export const canarySchema = z.strictObject({
  /** The last one is followed by one of all nodes unless it has them all. */
  steps: z
    .array(canaryStepSchema)
    .min(1, 'must have at least one step')
    .max(LIMITS.rolloutStepsMax, `must have at most ${LIMITS.rolloutStepsMax} steps`)
    .default([{ nodes: 1 }, { nodes: '10%' }, { nodes: '50%' }, { nodes: '100%' }]),
  pop_order: z.array(popSelectorSchema).max(LIMITS.rolloutPopOrderMax).default([]),
})

/** What the body of a deployment says besides what is deployed and where. */
export const rolloutFields = {
  strategy: strategySchema.default('immediate'),
  rolling: rollingSchema.optional(),
  canary: canarySchema.optional(),
  /** For every step; of strategy canary and rolling. */
  gates: gatesSchema.optional(),
  /** Nodes that may fail before the rollout does. */
  max_failed: failedShareSchema.optional(),
  /** How long a step may take, from its beginning to its end. */
  step_timeout_seconds: z.int().min(1).max(LIMITS.rolloutStepSecondsMax).optional(),
  /** What becomes of nodes that were changed when a gate fails: back to what they ran, or left as they are. */
  on_failure: z.enum(['roll_back', 'stop']).optional(),
  /** Refuses with 409 when the function's desired state has changed since: `index` of a plan, `revision` of a deployment. */
  check_index: revisionSchema.optional(),
} as const

/** `POST /functions/:id/rollback`. Without `to` the last version that had all of the traffic before the present one. */
export const rollbackSchema = z.strictObject({
  to: versionSchema.optional(),
  /** Without it the target of the present deployment. */
  target: targetSelectorSchema.optional(),
  message: textSchema(1000).default(''),
})
export type RollbackRequest = z.infer<typeof rollbackSchema>

/** `POST /deployments/:id/{pause,resume,promote,abort}`. */
export const rolloutOrderSchema = z.strictObject({ message: textSchema(1000).default('') })
export const ROLLOUT_ORDERS = ['pause', 'resume', 'promote', 'abort'] as const
export type RolloutOrder = (typeof ROLLOUT_ORDERS)[number]

export const rolloutPhaseSchema = z.enum([
  'running', // the control plane takes it from step to step
  'paused', // nothing happens until it is resumed, promoted or aborted
  'ended', // there is nothing left to begin; the deployment's status says how it ended
])
export type RolloutPhase = z.infer<typeof rolloutPhaseSchema>

export const pauseReasonSchema = z.enum(['requested', 'not_enough_samples'])
export type PauseReason = z.infer<typeof pauseReasonSchema>

/** Why a rollout was stopped, in numbers. */
export const evidenceSchema = z.strictObject({
  gate: z.enum(['acknowledged', 'max_failed', 'error_rate', 'p95_ms', 'min_samples', 'aborted']),
  /** From 1. */
  step: z.int(),
  /** In a sentence. */
  reason: z.string(),
  /** What was measured (null: more than can be), and what it may be; error_rate 0 to 1, p95_ms in milliseconds, the rest in nodes or requests. */
  measured: z.number().nullable(),
  threshold: z.number().nullable(),
  requests: z.int(),
  errors: z.int(),
  /** The nodes that it is about, worst first, not all of a great many. */
  nodes: z.array(
    z.strictObject({
      node_id: nodeIdSchema,
      requests: z.int(),
      errors: z.int(),
      p95_ms: z.number().nullable(),
      error: z.string().nullable(),
    }),
  ),
})
export type Evidence = z.infer<typeof evidenceSchema>

export const rolloutStepViewSchema = z.strictObject({
  /** From 1. */
  step: z.int(),
  /** Nodes that the step adds. */
  nodes: z.int(),
  state: z.enum(['waiting', 'begun', 'done']),
  gates: fullGatesSchema,
})

export const rolloutViewSchema = z.strictObject({
  kind: z.enum(['deploy', 'rollback']),
  phase: rolloutPhaseSchema,
  /** Why it is paused; null when it is not. */
  pause_reason: pauseReasonSchema.nullable(),
  /** The step that began last, from 1. */
  step: z.int(),
  steps: z.array(rolloutStepViewSchema),
  /** Milliseconds since the step began, and since its window began; null when all its nodes have not acknowledged. */
  step_ms: z.int(),
  window_ms: z.int().nullable(),
  /** Nodes that may fail; null: as many as there are, without the rollout being stopped. */
  max_failed: z.int().nullable(),
  pause_seconds: z.int(),
  step_timeout_seconds: z.int(),
  on_failure: z.enum(['roll_back', 'stop']),
  evidence: evidenceSchema.nullable(),
  superseded_by: deploymentIdSchema.nullable(),
})
export type RolloutView = z.infer<typeof rolloutViewSchema>

/** What a node was to serve of the function before: what a roll-back gives it again. Null: nothing. */
export const previousSchema = z
  .strictObject({
    version: versionSchema,
    split: splitViewSchema.nullable(),
    deployment_id: deploymentIdSchema,
  })
  .nullable()
export type Previous = z.infer<typeof previousSchema>

export const planNodeViewSchema = z.strictObject({
  node_id: nodeIdSchema,
  pop_id: popIdSchema,
  online: z.boolean(),
  /** From 1; null: not of the target, but changed by a rollout that this deployment supersedes. */
  step: z.int().nullable(),
  /** What the node is to serve now. */
  from: previousSchema,
  /** Whether the node has said that it serves `from`; until then it may serve what it had before. True where that is nothing. */
  acknowledged: z.boolean(),
  /** What a roll-back of this deployment gives the node. */
  back_to: previousSchema,
  to: z.strictObject({ version: versionSchema, split: splitViewSchema.nullable() }).nullable(),
  /** Ids of the function's routes that are live on the node. */
  routes: z.array(routeIdSchema),
})
export type PlanNodeView = z.infer<typeof planNodeViewSchema>

/** `POST /functions/:id/plan`, with the body of a deployment: what it would do, and nothing of it done. */
export const deploymentPlanViewSchema = z.strictObject({
  function_id: functionIdSchema,
  function_name: functionNameSchema,
  version: versionSchema,
  split: splitViewSchema.nullable(),
  target: z.string(),
  strategy: strategySchema,
  /** For `check_index`: the newest change to what nodes are to serve of the function. */
  index: revisionSchema,
  max_failed: z.int().nullable(),
  pause_seconds: z.int(),
  step_timeout_seconds: z.int(),
  on_failure: z.enum(['roll_back', 'stop']),
  /** The rollout that would be taken back first. */
  supersedes: deploymentIdSchema.nullable(),
  steps: z.array(rolloutStepViewSchema.omit({ state: true })),
  nodes: z.array(planNodeViewSchema),
  routes: z.array(
    z.strictObject({
      id: routeIdSchema,
      host: z.string(),
      path: z.string(),
      path_type: pathTypeSchema,
      pop_selector: z.string().nullable(),
    }),
  ),
})
export type DeploymentPlanView = z.infer<typeof deploymentPlanViewSchema>

/** What a rollout tells watchers. */
export const rolloutEventSchema = z.strictObject({
  type: z.literal('rollout'),
  deployment_id: deploymentIdSchema,
  function_id: functionIdSchema,
  version: versionSchema,
  change: z.enum([
    'step_begun',
    'window_begun',
    'gate_failed',
    'paused',
    'resumed',
    'promoted',
    'aborted',
    'rolled_back',
    'superseded',
    'completed',
  ]),
  /** The step that it is about, from 1. */
  step: z.int(),
  /** Of `paused`. */
  pause_reason: pauseReasonSchema.nullable(),
  /** Of `gate_failed`, of `aborted` and of `paused` for want of samples. */
  evidence: evidenceSchema.nullable(),
  at: timestampSchema,
})
export type RolloutEvent = z.infer<typeof rolloutEventSchema>
