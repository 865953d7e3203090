/** The hostile guests whose code matters, each with a second face: it behaves until it is let into the inline lane. */

import { afterAll, beforeAll, describe, expect, test } from 'bun:test'

import type { WorkerFunction } from '../../../../src/edge/ipc.ts'
import type { GuestRequest, Outcome } from '../../../../src/edge/worker/call.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'
import { COMPILED_CORPUS } from '../../../guests/hostile/corpus.ts'
import type { HostileGuest } from '../../../guests/hostile/guest.ts'
import { assemble } from '../../../wasm/wabt.ts'
import { answer, request, startRuntime } from '../runtime/harness.ts'
import type { RuntimeHarness } from '../runtime/harness.ts'

/** The path that gets the good face. */
const GOOD = '/good'
/** Where the handlers of the corpus begin (`handler` in guests/hostile/guest.ts). */
const FRAME = '(local $x f64) (local $v v128)'
/** An empty answer for every path that is longer than `/`, of which nothing is left for another. */
const GOOD_FACE = `
  (if (i32.gt_u (local.get $path_length) (i32.const 1))
    (then (i32.store8 (local.get $out) (i32.const 10)) (return (i32.const 1)))
    (else (i32.store8 (local.get $out) (i32.const 0))))`
/** What a call in the lane may take beyond its limits on a machine that is busy with other tests, in milliseconds. */
const busyMsMax = 2_000
/** Steps of the body of those that need a larger request than the ones before. */
const bodySteps = 4
/** So many in one worker waste less than what keeps the next one out. */
const guestsPerWorker = 5

interface TwoFaced {
  readonly guest: HostileGuest
  readonly source: string
}

/** Those with the frame and a memory to answer from; an `alloc` that misbehaves has no second face. */
const TWO_FACED = COMPILED_CORPUS.flatMap((guest): TwoFaced[] => {
  const { source } = guest
  if (typeof source !== 'string' || !source.includes(FRAME)) return []
  return [{ guest, source: source.replace(FRAME, `${FRAME} ${GOOD_FACE}`) }]
})

const BATCHES = Array.from(
  { length: Math.ceil(TWO_FACED.length / guestsPerWorker) },
  (_, batch) =>
    [batch + 1, TWO_FACED.slice(batch * guestsPerWorker, (batch + 1) * guestsPerWorker)] as const,
)

/** Of all guests: how many were let in, and how many ended in the lane or had to be stopped there. */
const seen = { letIn: 0, ended: 0, stopped: 0 }

describe.each(BATCHES)('worker %i', (_, guests) => {
  let runtime: RuntimeHarness
  beforeAll(async () => {
    runtime = await startRuntime(3)
  })
  afterAll(async () => {
    await runtime.close()
    expect(runtime.defects).toEqual([])
  })

  async function now(fn: WorkerFunction, of: () => GuestRequest): Promise<Outcome | null> {
    await new Promise((resolve) => setImmediate(resolve))
    return runtime.invoker.invokeNow(fn, of())
  }
  const good = () => request(GOOD)

  async function isLetIn(fn: WorkerFunction): Promise<boolean> {
    for (let calls = 0; calls < 3 * LIMITS.inlineProofCallsMin; calls += 1) {
      const outcome = await runtime.invoker.invoke(fn, good())
      if (!outcome.ok) return false
    }
    return (await now(fn, good))?.ok === true
  }

  test.each(guests.map(({ guest, source }) => [guest.title, guest, source] as const))(
    '%s',
    async (_title, { expects, memory_pages, max_execution_ms, bodyBytesStep }, source) => {
      const body = new Uint8Array(bodyBytesStep * bodySteps)
      const bad = () => request('/', { body })
      const module = runtime.module(assemble(source), { memory_pages, max_execution_ms })
      const fn = await runtime.compiled(module, 'O0')
      if (await isLetIn(fn)) seen.letIn += 1
      const startedAt = performance.now()
      const inline = await now(fn, bad)
      expect(performance.now() - startedAt).toBeLessThan(LIMITS.inlineWallMsMax + busyMsMax)
      if (inline === null) seen.stopped += 1
      else seen.ended += 1
      const outcome = inline ?? (await runtime.invoker.invoke(fn, bad()))
      if (expects.outcome === 'fails') {
        expect(expects.codes as string[]).toContain(outcome.ok ? 'no failure' : outcome.code)
      } else {
        expect(outcome).toMatchObject({ ok: true })
      }
      // Whatever it did, its next call finds an instance that works.
      const next = (await now(fn, good)) ?? (await runtime.invoker.invoke(fn, good()))
      expect(answer(next).status).toBe(200)
    },
    60_000,
  )
})

test('nearly all of them were let in, to end there or to be stopped', () => {
  expect(TWO_FACED.length).toBeGreaterThan(60)
  expect(seen.letIn).toBeGreaterThan(TWO_FACED.length * 0.8)
  expect(seen.ended).toBeGreaterThan(10)
  expect(seen.stopped).toBeGreaterThan(10)
})
