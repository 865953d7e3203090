import { afterAll, beforeAll, describe, expect, test } from 'bun:test'

import { answer, failure, request, startRuntime } from './harness.ts'
import type { RuntimeHarness } from './harness.ts'

/** Host functions answer compiled guests as they answer interpreted ones: none calls back into the guest. */
const TIERS = ['interpreted', 'O0', 'O2'] as const

let runtime: RuntimeHarness

beforeAll(async () => {
  runtime = await startRuntime(2)
})
afterAll(async () => {
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

describe.each(TIERS)('%s', (tier) => {
  test('a Spin module gets results in memory of its own', async () => {
    const guest = await runtime.guest('spin-echo-rust', { env: { PLACE: 'tokyo' } })
    const fn = await runtime.compiled(guest, tier)
    await runtime.invoker.prepare(fn)
    const told = async (path: string) =>
      answer(await runtime.invoker.invoke(fn, request(path))).text
    for (const _ of [1, 2, 3]) {
      expect(await told('/config/PLACE')).toBe('tokyo')
      expect(await told('/pg')).toBe('1 5: not available on edgefn')
      expect([await told('/kv/set/a/1'), await told('/kv/get/a'), await told('/kv/keys')]).toEqual([
        'done',
        '1',
        'a',
      ])
      expect(failure(await runtime.invoker.invoke(fn, request('/panic')))).toBe('function_trap')
    }
  }, 120_000)

  test('an Extism plug-in has its kernel and its variables', async () => {
    const guest = await runtime.guest('extism-count-as', { env: { PLACE: 'tokyo' } })
    const fn = await runtime.compiled(guest, tier)
    await runtime.invoker.prepare(fn)
    const body = new TextEncoder().encode('Hello, World!')
    for (const calls of [1, 2, 3]) {
      const outcome = await runtime.invoker.invoke(fn, request('/', { method: 'POST', body }))
      expect(JSON.parse(answer(outcome).text)).toMatchObject({ count: 3, calls, place: 'tokyo' })
    }
  }, 120_000)

  test('a worker of Wasm Workers Server answers', async () => {
    const guest = await runtime.guest('wws-echo-rust', { abi: 'wws' })
    const fn = await runtime.compiled(guest, tier)
    await runtime.invoker.prepare(fn)
    const outcome = await runtime.invoker.invoke(fn, request('/a'))
    expect(JSON.parse(answer(outcome).text)).toMatchObject({ url: 'http://example.com/a' })
  }, 120_000)
})
