/** Guests that wait in host functions, over real threads: they hold up nobody, and wake up into no more than may run. */

import { afterAll, beforeAll, expect, test } from 'bun:test'

import type { WorkerFunction } from '../../../../src/edge/ipc.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'
import { FETCH_CODES } from '../../../../src/edge/worker/fetch/outcome.ts'
import { until } from '../../../e2e/harness.ts'
import { startOrigin } from '../fetch/origin.ts'
import { answer, failure, request, startRuntime } from '../runtime/harness.ts'
import type { RuntimeHarness } from '../runtime/harness.ts'
import { numberGuest } from '../runtime/wat.ts'

const QUOTAS = { concurrency: null, requests_per_second: null, burst: null, queue_wait_ms: null }
const MS = 1_000_000

const POLL =
  '(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))'

/** WAT that sleeps for so many nanoseconds. */
const sleep = (ns: number) => `
  (i32.store (i32.const 1040) (i32.const 1)) (i64.store (i32.const 1048) (i64.const ${ns}))
  (drop (call $poll (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 2200)))`

let runtime: RuntimeHarness

// Of two threads that are awake, one function may have one.
beforeAll(async () => {
  runtime = await startRuntime(2, 2 ** 30, ['127.0.0.1/32'])
})
afterAll(async () => {
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

const invoke = (fn: WorkerFunction) => runtime.invoker.invoke(fn, request('/'))

function sleeping(ns: number, then: string, changes: Partial<WorkerFunction> = {}): WorkerFunction {
  return runtime.module(numberGuest(`(block (result i32) ${sleep(ns)} ${then})`, POLL), changes)
}

test('guests that sleep do so side by side, however few may run', async () => {
  const fn = sleeping(800 * MS, '(i32.const 5)', { quotas: { ...QUOTAS, queue_wait_ms: 3_000 } })
  await runtime.invoker.prepare(fn)
  const outcomes = await Promise.all(Array.from({ length: 16 }, () => invoke(fn)))
  // One after the other, most would have waited for longer than they may.
  expect(outcomes.map((outcome) => Number(answer(outcome).text))).toEqual(Array(16).fill(5))
  expect(runtime.stats.getWorker('executor_threads')).toBeGreaterThan(4)
}, 120_000)

test('as many wait for servers at a time as threads may sleep', async () => {
  let waiting = 0
  let most = 0
  const waiters: (() => void)[] = []
  const count = LIMITS.fetchesPerCallMax * 4
  const origin = await startOrigin({
    answer: () => {
      waiting += 1
      most = Math.max(most, waiting)
      if (waiting === count) for (const go of waiters.splice(0)) go()
      return null
    },
  })
  waiters.push(() => void origin.close())
  const fn = await runtime.guest('fetch-c', {
    http_allow: [`127.0.0.1:${origin.port}`],
    max_execution_ms: 20_000,
  })
  const body = new Uint8Array(Buffer.from(`GET ${origin.url}/\r\n\r\n`))
  const calls = Array.from({ length: count }, () =>
    runtime.invoker.invoke(fn, request('/whole', { method: 'POST', body })),
  )
  // The server closes its connections when all are there.
  const closed = `result ${FETCH_CODES.network}\n`
  for (const outcome of await Promise.all(calls)) expect(answer(outcome).text).toBe(closed)
  expect(most).toBe(count)
}, 120_000)

test('who sleeps first and computes then does not get more processors than others', async () => {
  const burning = sleeping(30 * MS, '(loop $l (br $l)) (i32.const 0)', { max_execution_ms: 700 })
  const quiet = runtime.module(numberGuest('(i32.const 7)'))
  await Promise.all([burning, quiet].map((fn) => runtime.invoker.prepare(fn)))
  const ended: string[] = []
  const burns = Array.from({ length: 12 }, async () => {
    const outcome = await invoke(burning)
    ended.push('burning')
    // One that wakes up while another one of them computes waits until its own time is over.
    return failure(outcome)
  })
  for (const _ of [1, 2, 3]) {
    expect(Number(answer(await invoke(quiet)).text)).toBe(7)
    ended.push('quiet')
  }
  expect(new Set(await Promise.all(burns))).toEqual(new Set(['execution_timeout']))
  expect(ended.slice(0, 3)).toEqual(['quiet', 'quiet', 'quiet'])
}, 120_000)

test('a guest that sleeps for moments over and over is as busy as any', async () => {
  const restless = sleeping(1, `(loop $l ${sleep(1000)} (br $l)) (i32.const 0)`, {
    max_execution_ms: 2_000,
    quotas: { ...QUOTAS, queue_wait_ms: 1_000 },
  })
  await runtime.invoker.prepare(restless)
  const codes = await Promise.all([1, 2, 3, 4].map(async () => failure(await invoke(restless))))
  expect(codes.toSorted()).toEqual(['execution_timeout', ...Array(3).fill('overloaded')])
}, 120_000)

test('where memory is short, those that sleep count as busy', async () => {
  const fn = sleeping(1_800 * MS, '(i32.const 5)', { quotas: { ...QUOTAS, queue_wait_ms: 1_000 } })
  await runtime.invoker.prepare(fn)
  runtime.invoker.relieve(1)
  const codes = await Promise.all(
    [1, 2, 3].map(async () => {
      const outcome = await invoke(fn)
      return outcome.ok ? 'ok' : outcome.code
    }),
  )
  runtime.invoker.relieve(0)
  expect(codes.toSorted()).toEqual(['ok', 'overloaded', 'overloaded'])
}, 120_000)

test('nor do more sleep than their memories and the worker have room for', async () => {
  const small = await startRuntime(2, 40 * 2 ** 20)
  const fn = small.module(
    numberGuest(`(block (result i32) ${sleep(1500 * MS)} (i32.const 5))`, POLL),
    { memory_pages: 128, max_execution_ms: 5000, quotas: { ...QUOTAS, queue_wait_ms: 700 } },
  )
  await small.invoker.prepare(fn)
  const outcomes = await Promise.all(
    [1, 2, 3, 4, 5].map(() => small.invoker.invoke(fn, request('/'))),
  )
  // 8 MiB of memory and 7 of thread for each, in four fifths of 40 MiB.
  expect(outcomes.filter(({ ok }) => ok)).toHaveLength(2)
  await small.close()
}, 120_000)

test('threads that a burst has left behind end, and the next burst is served', async () => {
  const fn = sleeping(300 * MS, '(i32.const 5)', { max_execution_ms: 5000 })
  const threads = () => runtime.stats.getWorker('executor_threads')
  for (let burst = 0; burst < 3; burst += 1) {
    const outcomes = await Promise.all(Array.from({ length: 12 }, () => invoke(fn)))
    expect(outcomes.map((outcome) => Number(answer(outcome).text))).toEqual(Array(12).fill(5))
    // As many as calls that came together, some of them started after these.
    await until('there are threads for all of them', () => threads() >= 12)
    // What is short of memory keeps no more than the usual number.
    await until('the others have ended', () => {
      runtime.invoker.relieve(1)
      runtime.invoker.relieve(0)
      return threads() === 2
    })
  }
}, 120_000)
