/** What a rollout does next, for every state that it can be in. */

import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'

import {
  decide,
  type Decision,
  type RolloutState,
  type RolloutTarget,
} from '../../../../src/cp/deployments/rollout/decide.ts'
import { judge, p95Ms } from '../../../../src/cp/deployments/rollout/gates.ts'
import type { VersionSample } from '../../../../src/cp/lookup.ts'
import type { NodeId } from '../../../../src/protocol/ids.ts'
import { LATENCY_BUCKETS } from '../../../../src/telemetry/metrics.ts'

const runs = { numRuns: 500 }

const gates = fc.record({
  error_rate_max: fc.option(fc.double({ min: 0, max: 1, noNaN: true })),
  p95_ms_max: fc.option(fc.integer({ min: 1, max: 10_000 })),
  min_samples: fc.integer({ min: 0, max: 50 }),
  window_seconds: fc.integer({ min: 0, max: 60 }),
})
const states: fc.Arbitrary<RolloutState> = fc
  .record({
    phase: fc.constantFrom('running' as const, 'running' as const, 'paused' as const),
    steps: fc.array(fc.record({ nodes: fc.integer({ min: 1, max: 9 }), gates }), { minLength: 1 }),
    at: fc.nat(),
    step_ms: fc.integer({ min: 0, max: 100_000 }),
    window_ms: fc.option(fc.integer({ min: 0, max: 100_000 })),
    promoted: fc.boolean(),
    max_failed: fc.option(fc.integer({ min: 0, max: 3 })),
    pause_ms: fc.integer({ min: 0, max: 5_000 }),
    step_timeout_ms: fc.integer({ min: 1, max: 100_000 }),
  })
  .map(({ at, ...state }) => ({ ...state, step: 1 + (at % state.steps.length) }))
const nodeIds = fc.stringMatching(/^n[0-9]{1,3}$/).map((id) => id as NodeId)
const targets: fc.Arbitrary<RolloutTarget[]> = fc.array(
  fc.record({
    node_id: nodeIds,
    step: fc.integer({ min: 1, max: 4 }),
    state: fc.constantFrom('pending', 'notified', 'deployed', 'deployed', 'failed'),
    online: fc.boolean(),
    error: fc.constant(null),
  }),
  { maxLength: 8 },
)
const counts = fc.array(fc.nat(20), {
  minLength: LATENCY_BUCKETS.length + 1,
  maxLength: LATENCY_BUCKETS.length + 1,
})
const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0)
const samples: fc.Arbitrary<VersionSample[]> = fc.array(
  fc
    .record({ node_id: nodeIds, buckets: counts, part: fc.double({ min: 0, max: 1, noNaN: true }) })
    .map(({ node_id, buckets, part }) => {
      const requests = sum(buckets)
      return { node_id, requests, errors: Math.floor(requests * part), buckets }
    }),
  { maxLength: 4 },
)

const open = { error_rate_max: null, p95_ms_max: null, min_samples: 0, window_seconds: 0 }
const goesOn = (decision: Decision) => decision.do === 'begin_step' || decision.do === 'complete'
const stepOf = (state: RolloutState) => {
  const step = state.steps[state.step - 1]
  if (step === undefined) throw new Error('The generator made a step that is not there.')
  return step
}

function always(check: (state: RolloutState, nodes: RolloutTarget[], of: VersionSample[]) => void) {
  fc.assert(fc.property(states, targets, samples, check), runs)
}

describe('a rollout', () => {
  test('that is paused does nothing', () => {
    always((state, nodes, of) => {
      if (state.phase === 'paused') expect(decide(state, nodes, of).do).toBe('wait')
    })
  })

  test('begins no step but the next, and is complete only after the last', () => {
    always((state, nodes, of) => {
      const decision = decide(state, nodes, of)
      if (decision.do === 'begin_step') {
        expect(decision.step).toBe(state.step + 1)
        expect(decision.step).toBeLessThanOrEqual(state.steps.length)
      }
      if (decision.do === 'complete') expect(state.step).toBe(state.steps.length)
    })
  })

  test('waits until every node of the step that is online has answered, or its time is over', () => {
    always((state, nodes, of) => {
      const decision = decide(state, nodes, of)
      if (state.window_ms === null && !state.promoted) expect(goesOn(decision)).toBe(false)
      if (decision.do !== 'open_window') return
      const silent = nodes.filter(
        ({ step, online, state: said }) =>
          step === state.step && online && (said === 'pending' || said === 'notified'),
      )
      if (silent.length > 0) expect(state.step_ms).toBeGreaterThanOrEqual(state.step_timeout_ms)
    })
  })

  test('is not held up by a node that is offline', () => {
    always((state, nodes, of) => {
      const gone = { node_id: 'gone' as NodeId, step: state.step, online: false, error: null }
      const withGone: RolloutTarget[] = [...nodes, { ...gone, state: 'pending' }]
      expect(decide(state, withGone, of)).toEqual(decide(state, nodes, of))
    })
  })

  test('P26: over a threshold it fails, promoted or not, and never otherwise; the evidence has the numbers', () => {
    always((state, nodes, of) => {
      if (state.phase !== 'running') return
      const decision = decide(state, nodes, of)
      const failed = nodes.filter((node) => node.step <= state.step && node.state === 'failed')
      const tooMany = state.max_failed !== null && failed.length > state.max_failed
      const verdict = judge(state.step, stepOf(state).gates, of)
      const isBroken = state.window_ms !== null && verdict.passed === false
      if (tooMany || isBroken) expect(decision.do).toBe('fail')
      if (decision.do !== 'fail') return
      if (!tooMany && !isBroken) expect(decision.evidence.gate).toBe('acknowledged')
      const { measured, threshold } = decision.evidence
      expect(measured ?? Infinity).toBeGreaterThan(threshold ?? Number.MAX_VALUE)
    })
  })

  test('P26: a rate of errors is judged as it is, with requests enough, of all nodes and of each', () => {
    fc.assert(
      fc.property(samples, gates, (of, asked) => {
        const verdict = judge(1, { ...asked, p95_ms_max: null }, of)
        const requests = sum(of.map((sample) => sample.requests))
        if (requests < asked.min_samples) return expect(verdict.passed).toBeNull()
        const rateMax = asked.error_rate_max
        const over = (group: readonly VersionSample[]) =>
          rateMax !== null &&
          sum(group.map((s) => s.errors)) > rateMax * sum(group.map((s) => s.requests))
        const single = of.filter((s) => s.requests >= Math.max(asked.min_samples, 20))
        const isBad = over(of) || single.some((sample) => over([sample]))
        expect(verdict.passed).toBe(!isBad)
      }),
      runs,
    )
  })

  test('goes on only after window and pause and with the samples that are asked for', () => {
    always((state, nodes, of) => {
      const decision = decide(state, nodes, of)
      if (!goesOn(decision) || state.promoted) return
      const asked = stepOf(state).gates
      const pauseMs = state.step < state.steps.length ? state.pause_ms : 0
      expect(state.window_ms).toBeGreaterThanOrEqual(asked.window_seconds * 1000 + pauseMs)
      expect(sum(of.map((s) => s.requests))).toBeGreaterThanOrEqual(asked.min_samples)
    })
  })

  test('that asks for requests does not go on by itself while no node with the version is online', () => {
    always((state, nodes, of) => {
      const gone = nodes.map((node) => ({ ...node, online: false }))
      const decision = decide(state, gone, of)
      if (stepOf(state).gates.min_samples > 0 && !state.promoted)
        expect(goesOn(decision)).toBe(false)
      if (decision.do !== 'pause') return
      expect(state.step_ms).toBeGreaterThanOrEqual(state.step_timeout_ms)
      const isServed =
        state.step < state.steps.length || nodes.some((node) => node.state === 'deployed')
      const { gate, step } = decision.evidence
      expect(step).toBe(state.step)
      if (isServed) expect(gate).toBe('min_samples')
      else expect(['min_samples', 'acknowledged']).toContain(gate)
    })
  })

  test('is not complete by itself while no node has the version', () => {
    always((state, nodes, of) => {
      if (state.promoted) return
      const without = nodes.filter((node) => node.state !== 'deployed' || node.step > state.step)
      // Nothing else keeps it: the window is over, no request is asked for.
      const steps = state.steps.map((step) => ({ ...step, gates: open }))
      const atEnd = { ...state, steps, window_ms: 1e9, max_failed: null }
      expect(decide(atEnd, without, of).do).not.toBe('complete')
    })
  })

  test('never waits without end', () => {
    always((state, nodes, of) => {
      const later = { ...state, step_ms: 1e9, window_ms: state.window_ms === null ? null : 1e9 }
      if (state.phase === 'running') expect(decide(later, nodes, of).do).not.toBe('wait')
    })
  })
})

test('p95 lies in the bucket that it must, and is not known beyond the last', () => {
  fc.assert(
    fc.property(counts, (buckets) => {
      const p95 = p95Ms(buckets)
      if (p95 === null) return expect(sum(buckets)).toBe(0)
      const ms = LATENCY_BUCKETS.map((bound) => bound * 1000)
      const at = ms.findIndex((bound) => p95 <= bound + 1e-9)
      const index = at < 0 ? ms.length : at
      expect(sum(buckets.slice(0, index))).toBeLessThanOrEqual(0.95 * sum(buckets))
      expect(sum(buckets.slice(0, index + 1))).toBeGreaterThanOrEqual(0.95 * sum(buckets) - 1e-6)
    }),
    runs,
  )
  const one = LATENCY_BUCKETS.map((bound) => (bound === 0.1 ? 100 : 0))
  expect(p95Ms([...one, 0])).toBeCloseTo(50 + 0.95 * 50)
  expect(p95Ms([...LATENCY_BUCKETS.map(() => 0), 1])).toBe(Infinity)
})

test('a p95 above what is allowed stops a rollout, and one below does not', () => {
  const buckets = LATENCY_BUCKETS.map((bound) => (bound === 0.1 ? 100 : 0)).concat(0)
  const slow = [{ node_id: 'n1' as NodeId, requests: 100, errors: 0, buckets }]
  const allowing = (p95_ms_max: number) =>
    judge(1, { error_rate_max: null, p95_ms_max, min_samples: 20, window_seconds: 1 }, slow)
  expect(allowing(97)).toMatchObject({
    passed: false,
    evidence: { gate: 'p95_ms', threshold: 97, measured: 97.5, requests: 100 },
  })
  expect(allowing(98)).toEqual({ passed: true })
})
