/** Threads that end take nothing with them that others need: the holder of compiled code above all. */

import { afterAll, beforeAll, expect, test } from 'bun:test'

import { until } from '../../../e2e/harness.ts'
import { answer, request, startRuntime } from '../runtime/harness.ts'
import type { RuntimeHarness } from '../runtime/harness.ts'
import { numberGuest } from '../runtime/wat.ts'

const POLL =
  '(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))'
const SLEEP = `(i32.store (i32.const 1040) (i32.const 1)) (i64.store (i32.const 1048) (i64.const 200000000))
  (drop (call $poll (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 2200)))`

let runtime: RuntimeHarness
beforeAll(async () => {
  runtime = await startRuntime(1)
})
afterAll(async () => {
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

test('compiled guests run and are stopped after the thread that parked the holder has ended', async () => {
  const threads = () => runtime.stats.getWorker('executor_threads')
  const number = (body: string, changes = {}) => runtime.module(numberGuest(body, POLL), changes)
  const sleeping = number(`(block (result i32) ${SLEEP} (i32.const 5))`, { max_execution_ms: 9000 })
  const last = await runtime.compiled(number('(i32.const 6)'), 'O0')
  // The first threads sleep in interpreted code, so that a later one is the first to run compiled code.
  const sleepers = Array.from({ length: 3 }, () => runtime.invoker.invoke(sleeping, request('/')))
  await until('the others sleep', () => threads() >= 3)
  expect(Number(answer(await runtime.invoker.invoke(last, request('/'))).text)).toBe(6)
  for (const outcome of await Promise.all(sleepers)) answer(outcome)
  await until('all but one have ended', () => {
    runtime.invoker.relieve(1)
    runtime.invoker.relieve(0)
    return threads() === 1
  })
  const trapping = await runtime.compiled(number('(i32.div_s (i32.const 1) (i32.const 0))'), 'O0')
  const endless = await runtime.compiled(
    number('(loop $l (br $l)) (i32.const 0)', { max_execution_ms: 100 }),
    'O0',
  )
  for (let round = 0; round < 20; round += 1) {
    const [trapped, stopped] = [
      await runtime.invoker.invoke(trapping, request('/')),
      round < 3 ? await runtime.invoker.invoke(endless, request('/')) : null,
    ]
    expect(trapped.ok ? '' : trapped.code).toBe('function_trap')
    if (stopped !== null) expect(stopped.ok ? '' : stopped.code).toBe('execution_timeout')
  }
  expect(Number(answer(await runtime.invoker.invoke(last, request('/'))).text)).toBe(6)
}, 120_000)
