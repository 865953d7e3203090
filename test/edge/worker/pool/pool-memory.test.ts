/** The budget of the pools over real threads and a real engine [R5.5 P9]. */

import { expect, test } from 'bun:test'

import { openLibc } from '../../../../ffi/libc.ts'
import type { WorkerFunction } from '../../../../src/edge/ipc.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'
import { residentBytes } from '../../../../src/edge/agent/supervise/proc.ts'
import { decodeModule } from '../../../../src/wasm/decode.ts'
import { tableBytesMax } from '../../../../src/wasm/tables.ts'
import { instanceCost } from '../../../../src/edge/worker/pool/instance.ts'
import { until } from '../ingress/harness.ts'
import { answer, failure, request, startRuntime } from '../runtime/harness.ts'
import { assemble, numberGuest } from '../runtime/wat.ts'

const MIB = 2 ** 20

/** A guest that answers 7, and touches all of its memory when the request's target has more than one character. */
function toucher(pages: number): Uint8Array<ArrayBuffer> {
  const rest = '(i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 65536))'
  return numberGuest(
    `(if (result i32) (i32.gt_u (local.get 3) (i32.const 1))
      (then (memory.fill (i32.const 65536) (i32.const 1) ${rest}) (i32.const 7))
      (else (i32.const 7)))`,
    '',
    pages,
  )
}

test('hot instances of many functions stay within the budget, and the ones used last stay warm', async () => {
  // Each instance counts for 16 pages and a little, so four of them are 80 % of this.
  const runtime = await startRuntime(2, 5.4 * MIB)
  const bytes = toucher(16)
  const functions = Array.from({ length: 8 }, () => runtime.module(bytes))
  runtime.invoker.assign(functions)
  for (const fn of functions) answer(await runtime.invoker.invoke(fn, request('/all')))
  const alive = () => functions.map((fn) => runtime.stats.get(fn.slot, 'instances'))
  expect(alive()).toEqual([0, 0, 0, 0, 1, 1, 1, 1])
  expect(runtime.stats.getWorker('pool_evictions')).toBe(4)
  const colds: boolean[] = []
  for (const fn of [functions[4], functions[0], functions[4], functions[5]]) {
    if (fn === undefined) continue
    const outcome = await runtime.invoker.invoke(fn, request('/all'))
    expect(answer(outcome).text).toBe('0000000007')
    colds.push(outcome.cold)
  }
  // 4 was used again before 0 came back, so 5 had to make room for it.
  expect(colds).toEqual([false, true, false, true])
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

test('where room is short an instance counts for what it has touched, and for all the more when it touches more', async () => {
  const runtime = await startRuntime(2, 5.4 * MIB)
  const bytes = toucher(16)
  const functions = Array.from({ length: 24 }, () => runtime.module(bytes))
  runtime.invoker.assign(functions)
  const alive = () =>
    functions.reduce((total, fn) => total + runtime.stats.get(fn.slot, 'instances'), 0)
  // Together they might touch four times what there is.
  for (const _ of [1, 2]) {
    for (const fn of functions) answer(await runtime.invoker.invoke(fn, request('/')))
  }
  expect([alive(), runtime.stats.getWorker('pool_evictions')]).toEqual([24, 0])
  for (const fn of functions) answer(await runtime.invoker.invoke(fn, request('/all')))
  expect(alive()).toBe(4)
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

test('memory that guests touch in short calls, each in one of many, is not held beyond the budget', async () => {
  const runtime = await startRuntime(2, 64 * MIB)
  // 4 MiB of 16 where the target has more than one character.
  const some = '(memory.fill (i32.const 65536) (i32.const 1) (i32.const 0x400000))'
  const bytes = numberGuest(
    `(if (result i32) (i32.gt_u (local.get 3) (i32.const 1))
      (then ${some} (i32.const 7)) (else (i32.const 7)))`,
    '',
    256,
  )
  const functions = Array.from({ length: 60 }, () => runtime.module(bytes, { memory_pages: 256 }))
  runtime.invoker.assign(functions)
  for (const _ of [1, 2]) {
    for (const fn of functions) answer(await runtime.invoker.invoke(fn, request('/')))
  }
  const resident = () => residentBytes('self') ?? 0
  const alive = functions.filter((fn) => runtime.stats.get(fn.slot, 'instances') === 1)
  expect(alive.length).toBe(60)
  const before = resident()
  for (const fn of functions) answer(await runtime.invoker.invoke(fn, request('/more')))
  const kept = functions.filter((fn) => runtime.stats.get(fn.slot, 'instances') === 1)
  expect(kept.length).toBeWithin(10, 13)
  expect(resident() - before).toBeLessThan(80 * MIB)
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

test('nor is it where guests run on the HTTP thread', async () => {
  const runtime = await startRuntime(2, 24 * MIB)
  const bytes = toucher(32)
  const first = await runtime.compiled(runtime.module(bytes), 'O2')
  const { compiled } = first
  const others = Array.from({ length: 39 }, () => runtime.module(bytes, { compiled }))
  const functions = [first, ...others]
  runtime.invoker.assign(functions)
  const now = async (fn: WorkerFunction, target: string) => {
    // In a turn of its own, which has room for it.
    await new Promise((resolve) => setImmediate(resolve))
    return runtime.invoker.invokeNow(fn, request(target))
  }
  /** On the HTTP thread, where the first function proves the module if that must be done, or again after a call that took too long. */
  const call = async (fn: WorkerFunction, target: string) => {
    if ((await now(fn, target)) !== null) return
    for (let calls = 0; calls < 10 * LIMITS.inlineProofCallsMin; calls += 1) {
      if ((await now(first, '/')) !== null) break
      await runtime.invoker.invoke(first, request('/'))
    }
    await now(fn, target)
  }
  const sum = () =>
    functions.reduce((total, fn) => total + runtime.stats.get(fn.slot, 'instances'), 0)
  for (const _ of [1, 2]) for (const fn of functions) await call(fn, '/')
  expect(sum()).toBeGreaterThanOrEqual(40)
  // 2 MiB each, of 19 that there are.
  for (const fn of functions) await call(fn, '/all')
  expect(runtime.stats.getWorker('inline_calls')).toBeGreaterThan(100)
  expect(sum()).toBeWithin(5, 10)
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

test('an instance that is over the budget by itself serves its call and goes', async () => {
  const runtime = await startRuntime(2, MIB)
  const fn = runtime.module(toucher(64))
  runtime.invoker.assign([fn])
  for (const _ of [1, 2]) {
    const outcome = await runtime.invoker.invoke(fn, request('/all'))
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
  expect(cost).toBe(48 * 1024 + 16_000 + 65_536 + 160)
})

test('when memory is short the pools keep one instance each, and none over a quarter of the budget', async () => {
  const runtime = await startRuntime(4, 15 * MIB)
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
  const large = runtime.module(toucher(64))
  runtime.invoker.assign([fn, large])
  const outcome = await runtime.invoker.invoke(large, request('/all'))
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
