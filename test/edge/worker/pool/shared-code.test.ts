/** Functions that run the same module: they share its code on every thread, and nothing else. */

import { expect, test } from 'bun:test'

import { answer, failure, request, startRuntime } from '../runtime/harness.ts'

test.each(['interpreted', 'O0'] as const)(
  'functions with one module, %s: each has its own instances, and the module stays as long as one of them does',
  async (form) => {
    const runtime = await startRuntime(1)
    const one = await runtime.compiled(await runtime.guest('misbehave-c'), form)
    const id = Bun.randomUUIDv7() as typeof one.function_id
    const other = { ...one, function_id: id, slot: one.slot + 1, env: { NAME: 'other' } }
    const { invoker } = runtime
    const count = async (fn: typeof one) =>
      answer(await invoker.invoke(fn, request('/counter'))).text
    invoker.assign([one, other])
    expect([await count(one), await count(one), await count(other)]).toEqual(['1', '2', '1'])
    // A trap of one is none of the other's business.
    expect(failure(await invoker.invoke(one, request('/trap')))).toBe('function_trap')
    expect([await count(one), await count(other)]).toEqual(['1', '2'])
    invoker.assign([other])
    expect(await count(other)).toBe('3')
    invoker.assign([])
    invoker.assign([one])
    expect(await count(one)).toBe('1')
    await runtime.close()
    expect(runtime.defects).toEqual([])
  },
)

test('the file of a module is not read again for another function that runs it', async () => {
  const runtime = await startRuntime(1)
  const one = await runtime.guest('hello-c')
  const other = { ...one, function_id: Bun.randomUUIDv7() as typeof one.function_id, path: '/none' }
  runtime.invoker.assign([one, other])
  for (const fn of [one, other]) {
    expect(answer(await runtime.invoker.invoke(fn, request('/'))).status).toBe(200)
  }
  await runtime.close()
})
