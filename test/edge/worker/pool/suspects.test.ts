/** What the dispatcher does with the agent's verdicts, over real threads: suspects kept apart, quarantined calls not run. */

import { afterAll, beforeAll, expect, test } from 'bun:test'

import type { WorkerFunction } from '../../../../src/edge/ipc.ts'
import { answer, failure, request, startRuntime } from '../runtime/harness.ts'
import type { RuntimeHarness } from '../runtime/harness.ts'

let runtime: RuntimeHarness

beforeAll(async () => {
  runtime = await startRuntime(3)
})
afterAll(async () => {
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

async function warm(name: string): Promise<WorkerFunction> {
  const fn = await runtime.guest(name)
  await runtime.invoker.prepare(fn)
  return fn
}

/** How long calls of `fn` take that begin while another function sleeps for `sleepMs` in a thread: the shortest of five. */
async function msBeside(sleeper: WorkerFunction, sleepMs: number, fn: WorkerFunction) {
  const times: number[] = []
  for (let round = 0; round < 5; round += 1) {
    const asleep = runtime.invoker.invoke(sleeper, request(`/sleep/${sleepMs}`))
    const from = performance.now()
    answer(await runtime.invoker.invoke(fn, request('/')))
    times.push(performance.now() - from)
    answer(await asleep)
  }
  return Math.min(...times)
}

/** Milliseconds for which the suspects of these tests wait at most. */
const waitMs = 200

test('a suspect waits until no other one runs beside it, but never longer than its limit', async () => {
  const sleeper = await warm('misbehave-c')
  const fn = await warm('hello-c')
  runtime.verdicts.keepApart(sleeper.slot, sleeper.version, waitMs)
  // One suspect alone waits for nobody, and nobody waits who is none.
  expect(await msBeside(sleeper, 600, fn)).toBeLessThan(waitMs)
  runtime.verdicts.keepApart(fn.slot, fn.version, waitMs)
  expect(await msBeside(sleeper, 600, fn)).toBeWithin(waitMs - 1, 600)
  // It goes on as soon as the other has ended.
  expect(await msBeside(sleeper, 1, fn)).toBeLessThan(waitMs)
  runtime.verdicts.clear(sleeper.slot)
  runtime.verdicts.clear(fn.slot)
}, 120_000)

test('a suspect gets its turn alone, however busy another one is', async () => {
  const busy = await warm('misbehave-c')
  const fn = await warm('misbehave-c')
  for (const { slot, version } of [busy, fn]) runtime.verdicts.keepApart(slot, version, 8_000)
  let stopped = false
  // Two clients, so that one call of it always runs when another ends.
  const clients = [0, 40].map(async (delayMs) => {
    await Bun.sleep(delayMs)
    while (!stopped) answer(await runtime.invoker.invoke(busy, request('/sleep/80')))
  })
  for (let round = 0; round < 3; round += 1) {
    const beside = new Set<number>()
    const from = performance.now()
    let done = false
    const call = runtime.invoker.invoke(fn, request('/sleep/60')).finally(() => (done = true))
    while (!done) {
      const slots = runtime.running.read(0).map(({ slot }) => slot)
      if (slots.includes(fn.slot)) for (const slot of slots) beside.add(slot)
      await Bun.sleep(1)
    }
    answer(await call)
    expect(performance.now() - from).toBeLessThan(7_900)
    expect([...beside]).toEqual([fn.slot])
  }
  stopped = true
  await Promise.all(clients)
  for (const { slot } of [busy, fn]) runtime.verdicts.clear(slot)
}, 120_000)

test('a call that waits when its version is quarantined is not run', async () => {
  const fn = await warm('misbehave-c')
  const first = [1, 2].map(() => runtime.invoker.invoke(fn, request('/sleep/300')))
  const waiting = runtime.invoker.invoke(fn, request('/counter'))
  runtime.verdicts.quarantine(fn.slot, { version: fn.version, deaths: 3, until: Date.now() + 5000 })
  for (const outcome of first) answer(await outcome)
  expect(failure(await waiting)).toBe('function_quarantined')
  expect(failure(await runtime.invoker.invoke(fn, request('/counter')))).toBe(
    'function_quarantined',
  )
  runtime.verdicts.release(fn.slot)
  expect(answer(await runtime.invoker.invoke(fn, request('/counter'))).text).toBe('1')
})
