/** The budget of the pools over real threads and a real engine [R5.5 P9]. */

import { expect, test } from 'bun:test'

import { openLibc } from '../../../../ffi/libc.ts'
import { residentBytes } from '../../../../src/edge/agent/supervise/proc.ts'
import { decodeModule } from '../../../../src/wasm/decode.ts'
import { tableBytesMax } from '../../../../src/wasm/tables.ts'
import { instanceCost } from '../../../../src/edge/worker/pool/instance.ts'
import { until } from '../ingress/harness.ts'
import { answer, failure, request, startRuntime } from '../runtime/harness.ts'
import { assemble, numberGuest } from '../runtime/wat.ts'

const MIB = 2 ** 20

test('hot instances of many functions stay within the budget, and the ones used last stay warm', async () => {
  // Each instance counts for 16 pages and a little, so four of them are 80 % of this.
  const runtime = await startRuntime(2, 5.2 * MIB)
  const bytes = numberGuest('(i32.const 7)', '', 16)
  const functions = Array.from({ length: 8 }, () => runtime.module(bytes))
  runtime.invoker.assign(functions)
  for (const fn of functions) answer(await runtime.invoker.invoke(fn, request('/')))
  const alive = () => functions.map((fn) => runtime.stats.get(fn.slot, 'instances'))
  expect(alive()).toEqual([0, 0, 0, 0, 1, 1, 1, 1])
  expect(runtime.stats.getWorker('pool_evictions')).toBe(4)
  const colds: boolean[] = []
  for (const fn of [functions[4], functions[0], functions[4], functions[5]]) {
    if (fn === undefined) continue
    const outcome = await runtime.invoker.invoke(fn, request('/'))
    expect(answer(outcome).text).toBe('0000000007')
    colds.push(outcome.cold)
  }
  // 4 was used again before 0 came back, so 5 had to make room for it.
  expect(colds).toEqual([false, true, false, true])
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

test('an instance that is over the budget by itself serves its call and goes', async () => {
  const runtime = await startRuntime(2, MIB)
  const fn = runtime.module(numberGuest('(i32.const 7)', '', 64))
  runtime.invoker.assign([fn])
  for (const _ of [1, 2]) {
    const outcome = await runtime.invoker.invoke(fn, request('/'))
    expect([answer(outcome).text, outcome.cold]).toEqual(['0000000007', true])
    expect(runtime.stats.get(fn.slot, 'instances')).toBe(0)
  }
  await runtime.close()
})

test('tables count by what they start with, or by what they may grow to', () => {
  const table = (limits: string, grow = '') =>
    tableBytesMax(decodeModule(assemble(`(module (table ${limits} funcref) (func ${grow}))`)))
  expect(table('10')).toBe(160)
  expect(table('10 20')).toBe(160)
  const grow = '(drop (table.grow 0 (ref.null func) (i32.const 1)))'
  expect(table('10 20', grow)).toBe(320)
  expect(table('10', grow)).toBe(1_600_000)
})

test('an instance costs its memory, its tables, its copy of the code and a fixed part', () => {
  const cost = instanceCost({ code: 16_000, memory: 65_536, tables: 160 })
  expect(cost).toBe(12 * 1024 + 16_000 + 65_536 + 160)
})

test('when memory is short the pools keep one instance each, and none over a quarter of the budget', async () => {
  const runtime = await startRuntime(4, 16 * MIB)
  const fn = await runtime.guest('misbehave-c', { max_execution_ms: 20_000 })
  runtime.invoker.assign([fn])
  const together = () => [1, 2, 3].map(() => runtime.invoker.invoke(fn, request('/sleep/500')))
  for (const outcome of await Promise.all(together())) answer(outcome)
  expect(runtime.stats.get(fn.slot, 'instances')).toBe(3)
  runtime.invoker.relieve(1)
  expect(runtime.stats.get(fn.slot, 'instances')).toBe(1)
  // Cold starts go on, but nothing that becomes idle is kept besides the one.
  for (const outcome of await Promise.all(together())) answer(outcome)
  expect(runtime.stats.get(fn.slot, 'instances')).toBe(1)
  const large = runtime.module(numberGuest('(i32.const 7)', '', 64))
  runtime.invoker.assign([fn, large])
  const outcome = await runtime.invoker.invoke(large, request('/'))
  expect([answer(outcome).text, runtime.stats.get(large.slot, 'instances')]).toEqual([
    '0000000007',
    0,
  ])
  runtime.invoker.relieve(0)
  for (const each of await Promise.all(together())) answer(each)
  expect(runtime.stats.get(fn.slot, 'instances')).toBe(3)
  await runtime.close()
})

test('when memory is very short what is warm goes on and nothing cold begins, in both kinds of ABI', async () => {
  const runtime = await startRuntime(3)
  const [warm, cold] = [await runtime.guest('misbehave-c'), await runtime.guest('misbehave-c')]
  const [loaded, unloaded] = [
    await runtime.guest('wagi-hello-c'),
    await runtime.guest('wagi-echo-c'),
  ]
  runtime.invoker.assign([warm, cold, loaded, unloaded])
  await runtime.invoker.prepare(warm)
  await runtime.invoker.prepare(loaded)
  runtime.invoker.relieve(2)
  // Calls at once wait for the one instance that is there.
  const calls = Array.from({ length: 4 }, () => runtime.invoker.invoke(warm, request('/counter')))
  const counts = (await Promise.all(calls)).map((outcome) => answer(outcome).text)
  expect(counts).toEqual(['1', '2', '3', '4'])
  for (const _ of [1, 2, 3]) {
    expect(answer(await runtime.invoker.invoke(loaded, request('/'))).status).toBe(200)
  }
  for (const fn of [cold, unloaded]) {
    const refused = await runtime.invoker.invoke(fn, request('/'))
    expect(failure(refused)).toBe('overloaded')
    expect(refused.ok ? '' : refused.message).toContain('short of memory')
  }
  // One whose instance is lost to a trap gets another: it was there before.
  expect(failure(await runtime.invoker.invoke(warm, request('/trap')))).toBe('function_trap')
  await until(() => runtime.stats.get(warm.slot, 'instances') === 1)
  expect(answer(await runtime.invoker.invoke(warm, request('/counter'))).text).toBe('1')
  runtime.invoker.relieve(0)
  for (const fn of [cold, unloaded]) {
    expect((await runtime.invoker.invoke(fn, request('/echo'))).ok).toBe(true)
  }
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

test('what instances have left is given back to the system', async () => {
  const { returnMemory } = openLibc()
  const resident = () => residentBytes('self') ?? 0
  const before = resident()
  const runtime = await startRuntime(4)
  const functions = Array.from({ length: 60 }, () => runtime.guest('echo-rust'))
  const all = await Promise.all(functions)
  runtime.invoker.assign(all)
  for (const fn of all) await runtime.invoker.prepare(fn)
  const full = resident()
  runtime.invoker.assign([])
  await until(() => {
    returnMemory()
    return resident() - before < (full - before) / 2
  })
  await runtime.close()
})
