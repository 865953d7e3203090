/** How a deployment goes from node to node, as flags of `deploy`, `versions deploy` and `plan`. */

import type { z } from 'zod'

import { defaulted, optional, type Options, type Values } from '../../config/option.ts'
import { choice, duration, integer, matching, wholeSeconds } from '../../config/values.ts'
import { EdgefnError } from '../../errors.ts'
import { deploymentCreationSchema } from '../../protocol/api.ts'
import { LIMITS } from '../../protocol/limits.ts'
import { failedShareSchema, nodeShareSchema, strategySchema } from '../../protocol/rollout.ts'

const share =
  <T>(schema: z.ZodType<T>) =>
  (text: string): T => {
    const parsed = schema.safeParse(/^\d+$/.test(text) ? Number(text) : text)
    if (parsed.success) return parsed.data
    throw new Error('must be a number of nodes, or a percentage like 10%')
  }
const nodeShare = share(nodeShareSchema)
const failedShare = share(failedShareSchema)

/** `0.05` and `5%` are the same. */
function errorRate(text: string): number {
  const [, number = '', percent] = /^(\d{1,3}(?:\.\d{1,6})?)(%?)$/.exec(text) ?? []
  const rate = Number(number) / (percent === '%' ? 100 : 1)
  if (number === '' || rate > 1) throw new Error('must be a part such as 0.05 or 5%')
  return rate
}

export const TARGET_OPTION = {
  target: defaulted(matching(deploymentCreationSchema.shape.target.unwrap()), 'all', {
    placeholder: 'POPS',
    help: 'all, or POP ids separated by commas; * and leading ! allowed',
  }),
} as const satisfies Options

export const ROLLOUT_OPTIONS = {
  strategy: defaulted(choice(...strategySchema.options), 'immediate', {
    placeholder: 'STRATEGY',
    help: 'immediate: every node at once; rolling: batch by batch; canary: step by step, watched',
  }),
  steps: optional((text) => text.split(',').map(nodeShare), {
    placeholder: 'NODES,…',
    help: 'canary: nodes that have the version after each step; default: 1,10%,50%,100%',
  }),
  batch: optional(nodeShare, { placeholder: 'NODES', help: 'rolling: 3 or 10%; default: 1' }),
  pause: optional(wholeSeconds('0s', '7d'), {
    placeholder: 'TIME',
    help: 'rolling: between two batches; default: 0s',
  }),
  'pop-order': optional((text) => text.split(','), {
    placeholder: 'POP,…',
    help: 'rolling, canary: POPs in the order of their turn',
  }),
  'error-rate-max': optional(errorRate, {
    placeholder: 'PART',
    help: 'gate: part of the requests that may be errors, 0.05 or 5%',
  }),
  'p95-max': optional(duration('1ms', '15m'), {
    placeholder: 'TIME',
    help: 'gate: within which 95 of 100 requests must be answered',
  }),
  'min-samples': optional(integer(0, LIMITS.rolloutSamplesMax), {
    placeholder: 'N',
    help: 'gate: requests without which a step is not judged',
  }),
  window: optional(wholeSeconds('0s', '7d'), {
    placeholder: 'TIME',
    help: 'gate: how long a step is watched once its nodes have it',
  }),
  'max-failed': optional(failedShare, {
    placeholder: 'NODES',
    help: 'nodes that may fail before the rollout does: 2 or 10%',
  }),
  'step-timeout': optional(wholeSeconds('1s', '14d'), {
    placeholder: 'TIME',
    help: 'how long a step may take; default: 10 minutes more than --window',
  }),
  'on-failure': optional(choice('roll-back', 'stop'), {
    placeholder: 'WHAT',
    help: 'when a gate fails: roll-back (default) gives nodes back what they ran, stop leaves them',
  }),
  'check-index': optional(integer(0, Number.MAX_SAFE_INTEGER), {
    placeholder: 'N',
    help: 'refuse when the function has changed since the plan with this index',
  }),
} as const satisfies Options

/** Fields of a deployment's body. Throws `invalid_config` naming a flag that is not of the strategy. */
export function rolloutFieldsOf(values: Values<typeof ROLLOUT_OPTIONS>) {
  const { strategy, steps, batch, pause, window } = values
  const of = (name: keyof typeof ROLLOUT_OPTIONS, ...strategies: readonly string[]) => {
    if (values[name] === null || strategies.includes(strategy)) return
    const which = strategies.join(' or ')
    throw new EdgefnError('invalid_config', `--${name} needs --strategy ${which}.`)
  }
  of('steps', 'canary')
  of('batch', 'rolling')
  of('pause', 'rolling')
  for (const name of GATED) of(name, 'canary', 'rolling')
  if (values['max-failed'] === null) {
    for (const name of ['step-timeout', 'on-failure'] as const) of(name, 'canary', 'rolling')
  }
  const order = values['pop-order'] === null ? {} : { pop_order: values['pop-order'] }
  const timeoutMs = values['step-timeout']
  const onFailure = values['on-failure']
  const gates = {
    ...given('error_rate_max', values['error-rate-max']),
    ...given('p95_ms_max', values['p95-max']),
    ...given('min_samples', values['min-samples']),
    ...given('window_seconds', window === null ? null : window / 1000),
  }
  const rolling = {
    ...given('batch', batch),
    ...given('pause_seconds', pause === null ? null : pause / 1000),
    ...order,
  }
  const canary = { ...given('steps', steps?.map((nodes) => ({ nodes })) ?? null), ...order }
  return {
    strategy,
    ...(strategy === 'rolling' ? { rolling } : {}),
    ...(strategy === 'canary' ? { canary } : {}),
    ...(Object.keys(gates).length === 0 ? {} : { gates }),
    ...given('max_failed', values['max-failed']),
    ...given('step_timeout_seconds', timeoutMs === null ? null : timeoutMs / 1000),
    ...given('on_failure', onFailure === null ? null : ON_FAILURE[onFailure]),
    ...given('check_index', values['check-index']),
  }
}

const ON_FAILURE = { 'roll-back': 'roll_back', stop: 'stop' } as const
const GATED = ['pop-order', 'error-rate-max', 'p95-max', 'min-samples', 'window'] as const

function given(name: string, value: unknown): Record<string, unknown> {
  return value === null ? {} : { [name]: value }
}
