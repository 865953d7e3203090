/** What a deployment's body asks of its rollout, and which node belongs to which step. */

import { expect, test } from 'bun:test'
import fc from 'fast-check'

import { rolloutSettings } from '../../../../src/cp/deployments/rollout/settings.ts'
import { nodesBySteps } from '../../../../src/cp/deployments/rollout/steps.ts'
import { EdgefnError } from '../../../../src/errors.ts'
import { deploymentCreationSchema } from '../../../../src/protocol/api.ts'
import type { NodeId, PopId } from '../../../../src/protocol/ids.ts'

const settings = (body: unknown, nodes: number) =>
  rolloutSettings(deploymentCreationSchema.parse(body), nodes)
const sizes = (body: unknown, nodes: number) => settings(body, nodes).steps.map((s) => s.nodes)

function refusedField(body: unknown): unknown {
  try {
    settings(body, 10)
  } catch (thrown) {
    if (thrown instanceof EdgefnError) return thrown.details?.['field']
    throw thrown
  }
  return null
}

test('P25: a canary begins with one node, one that is online, and reaches each node once', () => {
  expect(sizes({ strategy: 'canary' }, 100)).toEqual([1, 10, 50, 100])
  expect(sizes({ strategy: 'canary' }, 3)).toEqual([1, 2, 3])
  expect(sizes({ strategy: 'canary', canary: { steps: [{ nodes: 2 }] } }, 5)).toEqual([2, 5])
  const pops = fc.array(fc.record({ pop: fc.constantFrom('a', 'b', 'c'), online: fc.boolean() }), {
    minLength: 1,
  })
  const order = fc.subarray(['c', 'a*', '!b'])
  fc.assert(
    fc.property(pops, order, (made, pop_order) => {
      const nodes = made.map(({ pop, online }, index) => ({
        ...{ id: `n${index}` as NodeId, pop_id: pop as PopId, online },
      }))
      const { steps } = settings({ strategy: 'canary', canary: { pop_order } }, nodes.length)
      const placed = nodesBySteps(nodes, steps, pop_order)
      expect(placed.filter((item) => item.step === 1)).toHaveLength(1)
      expect(new Set(placed.map(({ node }) => node.id)).size).toBe(nodes.length)
      for (const [index, { nodes: wanted }] of steps.entries()) {
        expect(placed.filter((item) => item.step <= index + 1)).toHaveLength(wanted)
      }
      const [first] = placed
      const equals =
        pop_order.length === 0 ? nodes : nodes.filter((n) => n.pop_id === first?.node.pop_id)
      if (equals.some((node) => node.online)) expect(first?.node.online).toBe(true)
    }),
    { numRuns: 300 },
  )
})

test('batches are of the size that is asked for, in the order of the POPs', () => {
  expect(sizes({ strategy: 'rolling', rolling: { batch: '25%' } }, 10)).toEqual([3, 6, 9, 10])
  expect(sizes({ strategy: 'rolling' }, 3)).toEqual([1, 2, 3])
  const nodes = ['b', 'a', 'c'].map((pop) => ({
    ...{ id: `n-${pop}` as NodeId, pop_id: pop as PopId, online: pop !== 'c' },
  }))
  const rolling = { batch: 2, pop_order: ['c', 'b'] }
  const { steps, pop_order } = settings({ strategy: 'rolling', rolling }, 3)
  const placed = nodesBySteps(nodes, steps, pop_order)
  expect(placed.map(({ node, step }) => `${node.pop_id}${step}`)).toEqual(['c1', 'b1', 'a2'])
})

test('contradictions are refused by the name of the field', () => {
  expect(refusedField({ strategy: 'canary', rolling: {} })).toBe('rolling')
  expect(refusedField({ strategy: 'rolling', canary: {} })).toBe('canary')
  expect(refusedField({ gates: {} })).toBe('gates')
  expect(refusedField({ on_failure: 'stop' })).toBe('on_failure')
  expect(refusedField({ step_timeout_seconds: 9 })).toBe('step_timeout_seconds')
  expect(refusedField({ max_failed: 1, step_timeout_seconds: 9 })).toBeNull()
  const canary = { strategy: 'canary' } as const
  expect(refusedField({ ...canary, step_timeout_seconds: 60 })).toBe('step_timeout_seconds')
  const steps = [{ nodes: '50%' }, { nodes: '10%' }]
  expect(refusedField({ ...canary, canary: { steps } })).toBe('canary.steps.1.nodes')
  const half = { version: 1, weight: 50 }
  const versions = [half, { ...half, version: 2 }]
  expect(refusedField({ ...canary, versions })).toBe('strategy')
  for (const bad of ['0%', '101%', 0, -1, 1.5, 'all']) {
    const body = { strategy: 'rolling', rolling: { batch: bad } }
    expect(deploymentCreationSchema.safeParse(body).success).toBe(false)
  }
})

test('who asks a batch for a threshold is given a window and samples for it', () => {
  const body = { strategy: 'rolling', gates: { p95_ms_max: 100 } }
  expect(settings(body, 2).steps[0]?.gates).toEqual({
    ...{ error_rate_max: null, p95_ms_max: 100, min_samples: 20, window_seconds: 60 },
  })
  expect(settings({ strategy: 'rolling', max_failed: '25%' }, 10).max_failed).toBe(2)
})
