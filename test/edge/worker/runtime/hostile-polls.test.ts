import { afterAll, beforeAll, describe, expect, test } from 'bun:test'

import { answer, failure, request, startRuntime } from './harness.ts'
import type { RuntimeHarness } from './harness.ts'
import { numberGuest } from './wat.ts'

let runtime: RuntimeHarness

beforeAll(async () => {
  runtime = await startRuntime(3)
})
afterAll(async () => {
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

/** Loads as far behind the memory as there are addresses: each would read what lies behind the engine's 8 GiB. */
const FARTHEST = [1, 2, 3, 5, 7, 8, 15, 16].flatMap((back) => [
  `(i32.load offset=0xffffffff (i32.const -${back}))`,
  `(i32.wrap_i64 (i64.load offset=0xffffffff (i32.const -${back})))`,
  `(i32x4.extract_lane 3 (v128.load offset=0xffffffff (i32.const -${back})))`,
])

describe.each(['interpreted', 'O0', 'O2'] as const)('%s', (tier) => {
  test('no load reaches what is mapped behind the guest’s address space', async () => {
    const select = FARTHEST.map(
      (load, at) => `(if (i32.eq (local.get $n) (i32.const ${at})) (then (local.set $n ${load})))`,
    )
    // The length of the body says which of them to try.
    const body = `(block (result i32) (local.set $n (local.get 7)) ${select.join(' ')} (local.get $n))`
    const fn = await runtime.compiled(runtime.module(numberGuest(body)), tier)
    const tries = FARTHEST.flatMap((_, at) => [at, at])
    const outcomes = await Promise.all(
      tries.map((at) =>
        runtime.invoker.invoke(fn, request('/', { method: 'POST', body: new Uint8Array(at) })),
      ),
    )
    expect(outcomes.map(failure)).toEqual(outcomes.map(() => 'function_trap'))
    // One that tries none of them is answered.
    const body999 = new Uint8Array(999)
    const harmless = await runtime.invoker.invoke(
      fn,
      request('/', { method: 'POST', body: body999 }),
    )
    expect(Number(answer(harmless).text)).toBe(999)
  })

  test('the page of the polls holds nothing and takes nothing', async () => {
    const place = 'offset=0xFFFFFFF0'
    const load = numberGuest(`(i32.load ${place} (i32.const -131008))`)
    const store = numberGuest(
      `(block (result i32) (i32.store ${place} (i32.const -131008) (i32.const 7)) (i32.const 5))`,
    )
    const [loading, storing] = await Promise.all(
      [load, store].map((bytes) => runtime.compiled(runtime.module(bytes), tier)),
    )
    if (loading === undefined || storing === undefined) throw new Error('Two were compiled.')
    for (const _ of [1, 2, 3]) {
      const loaded = await runtime.invoker.invoke(loading, request('/'))
      // Interpreted code has bounds; compiled code reads the zeros there.
      if (tier === 'interpreted') expect(failure(loaded)).toBe('function_trap')
      else expect(Number(answer(loaded).text)).toBe(0)
      expect(failure(await runtime.invoker.invoke(storing, request('/')))).toBe('function_trap')
    }
  })
})
