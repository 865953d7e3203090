/** What the control plane answers to a heartbeat, over real HTTP and a real database. */

import { expect, test } from 'bun:test'

import fc from 'fast-check'

import type { HeartbeatAnswer } from '../../../src/protocol/messages.ts'
import { heartbeatOf, testPlane } from '../api/test-plane.ts'

type Step = { readonly kind: 'deploy' | 'route'; readonly fn: number } | { readonly kind: 'sync' }

const STEPS: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('deploy'), fn: fc.nat(1) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('route'), fn: fc.nat(1) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('sync') }) },
) as fc.Arbitrary<Step>

test('P14: the answer to a heartbeat carries the notices that the node has not acknowledged, oldest first', async () => {
  await using cp = await testPlane()
  const names = ['first', 'second']
  const ids = [await cp.addFunction('first'), await cp.addFunction('second')].map(({ id }) => id)
  let run = 0
  await fc.assert(
    fc.asyncProperty(fc.array(STEPS, { minLength: 1, maxLength: 3 }), async (steps) => {
      run += 1
      const pop = `pop-${run}`
      const node = await cp.addNode(pop)
      const beat = () =>
        cp.must<HeartbeatAnswer>(
          'POST',
          `/nodes/${node.node_id}/heartbeat`,
          heartbeatOf(node.node_id),
          node.token,
        )
      const served = new Set<number>()
      // What waits, in the order in which it came about; the newer takes the place of the older about the same thing.
      let waiting: string[] = []
      for (const [at, step] of steps.entries()) {
        if (step.kind === 'sync') {
          await cp.syncNode(node, 0)
          waiting = []
        } else if (step.kind === 'deploy') {
          await cp.deploy(names[step.fn] ?? '', { target: pop })
          served.add(step.fn)
          const what = `deploy ${ids[step.fn]}`
          waiting = [...waiting.filter((each) => each !== what), what]
        } else {
          const path = `/r/${run}/${at}`
          await cp.addRoute({ path, function: names[step.fn], pop_selector: pop })
          if (served.has(step.fn)) {
            waiting = [...waiting.filter((each) => each !== 'routes'), 'routes']
          }
        }
        const answer = await beat()
        expect(
          answer.notices.map((notice) =>
            notice.type === 'deploy' ? `deploy ${notice.function_id}` : notice.type,
          ),
        ).toEqual(waiting)
        const revisions = answer.notices.map((notice) => notice.revision)
        expect(revisions).toEqual(revisions.toSorted((a, b) => a - b))
        expect(answer.revision).toBeGreaterThanOrEqual(revisions.at(-1) ?? 0)
      }
      // Asking does not count as having it.
      expect((await beat()).notices).toHaveLength(waiting.length)
    }),
    { numRuns: 100 },
  )
}, 120_000)
