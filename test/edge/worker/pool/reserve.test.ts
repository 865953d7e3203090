import { afterAll, beforeAll, expect, test } from 'bun:test'

import { answer, failure, request, startRuntime } from '../runtime/harness.ts'
import type { RuntimeHarness } from '../runtime/harness.ts'
import { numberGuest } from '../runtime/wat.ts'

let runtime: RuntimeHarness

beforeAll(async () => {
  runtime = await startRuntime(2)
})
afterAll(async () => {
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

test('functions that hold every thread for long do not keep one that runs nowhere waiting', async () => {
  const burning = [1, 2, 3].map(() =>
    runtime.module(numberGuest('(block (result i32) (loop $again (br $again)) (i32.const 0))'), {
      max_execution_ms: 3000,
    }),
  )
  const quiet = runtime.module(numberGuest('(i32.const 7)'), { max_execution_ms: 3000 })
  await runtime.invoker.prepare(quiet)
  const ended: string[] = []
  const burns = burning.flatMap((fn) =>
    [1, 2].map(async () => {
      const outcome = await runtime.invoker.invoke(fn, request('/'))
      ended.push('burning')
      return failure(outcome)
    }),
  )
  for (const _ of [1, 2, 3]) {
    const outcome = await runtime.invoker.invoke(quiet, request('/'))
    ended.push('quiet')
    expect(Number(answer(outcome).text)).toBe(7)
  }
  expect(await Promise.all(burns)).toEqual(burns.map(() => 'execution_timeout'))
  expect(ended.slice(0, 3)).toEqual(['quiet', 'quiet', 'quiet'])
}, 120_000)
