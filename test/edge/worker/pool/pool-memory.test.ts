/** The budget of the pools over real threads and a real engine [R5.5 P9]. */

import { expect, test } from 'bun:test'

import { decodeModule } from '../../../../src/wasm/decode.ts'
import { tableBytesMax } from '../../../../src/wasm/tables.ts'
import { instanceCost } from '../../../../src/edge/worker/pool/instance.ts'
import { answer, request, startRuntime } from '../runtime/harness.ts'
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
  const cost = instanceCost({ module: 1000, memory: 65_536, tables: 160 })
  expect(cost).toBe(12 * 1024 + 16_000 + 65_536 + 160)
})
