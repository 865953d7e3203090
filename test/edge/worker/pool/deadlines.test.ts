/** The two limits of a call's time, waiting and executing, over real threads; and what becomes of a guest that nothing stops. */

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { join } from 'node:path'

import fc from 'fast-check'

import { openLibc } from '../../../../ffi/libc.ts'
import { answer, failure, request, startRuntime } from '../runtime/harness.ts'
import type { RuntimeHarness } from '../runtime/harness.ts'

const { monotonicMs } = openLibc()
const QUOTAS = { concurrency: null, requests_per_second: null, burst: null, queue_wait_ms: null }

let runtime: RuntimeHarness

// Of two threads one function gets one, so its second call waits.
beforeAll(async () => {
  runtime = await startRuntime(2)
})
afterAll(async () => {
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

test('a call that waits past its queue limit is refused and not run', async () => {
  const quotas = { ...QUOTAS, queue_wait_ms: 100 }
  const fn = await runtime.guest('misbehave-c', { quotas, max_execution_ms: 20_000 })
  await runtime.invoker.prepare(fn)
  const slow = runtime.invoker.invoke(fn, request('/sleep/1500'))
  const from = monotonicMs()
  expect(failure(await runtime.invoker.invoke(fn, request('/counter')))).toBe('overloaded')
  expect(monotonicMs() - from).toBeGreaterThan(90)
  expect(runtime.stats.getWorker('queue_length')).toBe(0)
  answer(await slow)
  expect(answer(await runtime.invoker.invoke(fn, request('/counter'))).text).toBe('1')
})

test('waiting counts from the admission, not from the moment the pool gets the call', async () => {
  const fn = await runtime.guest('misbehave-c', { max_execution_ms: 20_000 })
  await runtime.invoker.prepare(fn)
  const slow = runtime.invoker.invoke(fn, request('/sleep/1800'))
  const late = request('/counter', { admitted_ms: monotonicMs() - 9_950 })
  const from = monotonicMs()
  expect(failure(await runtime.invoker.invoke(fn, late))).toBe('overloaded')
  expect(monotonicMs() - from).toBeLessThan(1_500)
  answer(await slow)
  const tooLate = request('/counter', { admitted_ms: monotonicMs() - 10_001 })
  expect(failure(await runtime.invoker.invoke(fn, tooLate))).toBe('overloaded')
  // The instance was not touched, so it is still warm.
  const outcome = await runtime.invoker.invoke(fn, request('/counter'))
  expect([answer(outcome).text, outcome.cold]).toEqual(['1', false])
})

test('a call that begins late has its whole execution time', async () => {
  const fn = await runtime.guest('misbehave-c', { max_execution_ms: 1500 })
  await runtime.invoker.prepare(fn)
  const calls = [1, 2, 3].map(() => runtime.invoker.invoke(fn, request('/sleep/700')))
  for (const outcome of await Promise.all(calls)) expect(answer(outcome).status).toBe(200)
})

test('no call of a flood runs past its queue limit and its execution limit together', async () => {
  const quotas = { ...QUOTAS, queue_wait_ms: 300 }
  const fn = await runtime.guest('misbehave-c', { max_execution_ms: 50, quotas })
  await runtime.invoker.prepare(fn)
  const from = monotonicMs()
  const codes = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const code = failure(await runtime.invoker.invoke(fn, request('/loop')))
      expect(monotonicMs() - from).toBeLessThan(300 + 50 + 1_000)
      return code
    }),
  )
  expect(new Set(codes)).toEqual(new Set(['execution_timeout', 'overloaded']))
})

test('a call whose client leaves while it waits is not run, whenever that is', async () => {
  const fn = await runtime.guest('misbehave-c')
  await runtime.invoker.prepare(fn)
  let run = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.boolean(), { minLength: 1, maxLength: 4 }),
      fc.boolean(),
      async (leaves, early) => {
        const busy = runtime.invoker.invoke(fn, request('/counter'))
        const clients = leaves.map((leaving) => ({ leaving, control: new AbortController() }))
        const leave = () => {
          for (const { leaving, control } of clients) if (leaving) control.abort()
        }
        if (early) leave()
        const calls = clients.map(({ control }) =>
          runtime.invoker.invoke(fn, request('/counter'), () => control.signal),
        )
        leave()
        answer(await busy)
        run += 1
        for (const [index, outcome] of (await Promise.all(calls)).entries()) {
          if (leaves[index] === true) expect(failure(outcome)).toBe('client_gone')
          else expect(Number(answer(outcome).text)).toBe((run += 1))
        }
      },
    ),
    { numRuns: 100 },
  )
  expect(runtime.stats.getWorker('queue_length')).toBe(0)
})

test('a thread that could not load a module does not count as one that holds it', async () => {
  const own = await startRuntime(3)
  // So large that one thread at most may hold it.
  const fn = await own.guest('misbehave-c', { size_bytes: 30_000_000 })
  const other = await own.guest('misbehave-c', { max_execution_ms: 20_000 })
  expect(failure(await own.invoker.invoke({ ...fn, path: '/nowhere' }, request('/')))).toBe(
    'artifact_mismatch',
  )
  await own.invoker.prepare(other)
  let slept = false
  const sleeper = own.invoker.invoke(other, request('/sleep/4000')).then((outcome) => {
    slept = true
    return outcome
  })
  // The thread that failed is busy now; another one takes the call.
  answer(await own.invoker.invoke(fn, request('/counter')))
  expect(slept).toBe(false)
  answer(await sleeper)
  await own.close()
})

test('a guest that nothing stops is given up about two seconds after its limit, named and counted', async () => {
  const fixture = Bun.spawn([process.execPath, join(import.meta.dir, 'stuck-fixture.ts')], {
    stdout: 'pipe',
    stderr: 'inherit',
  })
  const said = JSON.parse(await fixture.stdout.text())
  expect(await fixture.exited).toBe(0)
  expect(said).toMatchObject({ code: 'worker_lost', defects: 1, stuck: { version: 3 } })
  // What the agent blames when this process has ended.
  expect(said.running).toEqual([{ slot: said.slot, version: 3 }])
  expect(said.stuck.overdue_ms).toBeWithin(2000, 20_000)
  expect(said.ms).toBeWithin(2200, 50_000)
})

test('a process that stood still while a guest ran into its limit gives up neither guest nor thread', async () => {
  for (const _ of [1, 2, 3]) {
    const fixture = Bun.spawn([process.execPath, join(import.meta.dir, 'frozen-fixture.ts')], {
      stdout: 'pipe',
      stderr: 'inherit',
    })
    const said = JSON.parse(await fixture.stdout.text())
    expect(said).toEqual({ code: 'execution_timeout', defects: [] })
  }
})
