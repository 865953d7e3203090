/** How a deployment that is not in service everywhere is told of, and whether it counts as deployed. */

import { expect, test } from 'bun:test'

import { outcomeLines } from '../../src/cli/deploy/outcome-text.ts'
import { isDeployedEverywhere } from '../../src/cli/deploy/wait.ts'
import {
  deploymentViewSchema,
  type DeploymentView,
  type TargetState,
} from '../../src/protocol/api.ts'

const id = '01a21cfe-0000-7000-8000-000000000000'
const at = '2026-11-27T00:00:00.000Z'

/** A rolling deployment of version 2 that has ended with a target for each of the states. */
function ended(
  status: DeploymentView['status'],
  states: readonly TargetState[],
  evidence: DeploymentView['rollout']['evidence'] = null,
): DeploymentView {
  return deploymentViewSchema.parse({
    ...{ id, function_id: id, function_name: 'hello', version: 2, split: null, target: 'all' },
    ...{ strategy: 'rolling', status, message: '', revision: 7 },
    ...{ created_by: 'test', created_at: at, updated_at: at },
    rollout: {
      ...{ kind: 'deploy', phase: 'ended', pause_reason: null, step: 1, steps: [] },
      ...{ step_ms: 0, window_ms: 0, max_failed: 0, pause_seconds: 0, step_timeout_seconds: 5 },
      ...{ on_failure: 'stop', evidence, superseded_by: null },
    },
    targets: states.map((state, index) => ({
      ...{ node_id: `a-${index}`, pop_id: 'a', state, step: 1 },
      ...{ previous: null, error: null, updated_at: at },
    })),
  })
}

test('a rollout that is completed counts as deployed when some node has the version', () => {
  expect(isDeployedEverywhere(ended('completed', ['deployed', 'pending']))).toBe(true)
  expect(isDeployedEverywhere(ended('completed', ['superseded', 'pending']))).toBe(true)
  const nowhere = ended('completed', ['pending', 'notified'])
  expect(isDeployedEverywhere(nowhere)).toBe(false)
  expect(outcomeLines(nowhere)[0]).toContain('completed, but no node has acknowledged it')
})

test('after a rollout that was stopped halfway the way back is named', () => {
  const evidence = {
    ...{ gate: 'error_rate' as const, step: 1, reason: 'Too many.', measured: 1, threshold: 0.05 },
    ...{ requests: 20, errors: 20, nodes: [] },
  }
  const stopped = outcomeLines(ended('failed', ['deployed', 'skipped'], evidence))
  expect(stopped.join('\n')).toContain('edgefn rollback hello')
  const nothing = outcomeLines(ended('failed', ['failed', 'skipped'], evidence))
  expect(nothing.join('\n')).not.toContain('edgefn rollback')
})
