/** `isolation: request` where instances are kept: the next request finds what the first one found. */

import { afterAll, beforeAll, describe, expect, spyOn, test } from 'bun:test'

import type { WorkerFunction } from '../../../../src/edge/ipc.ts'
import { Engine } from '../../../../src/edge/worker/runtime/engine.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'
import { answer, failure, request, startRuntime } from './harness.ts'
import type { RuntimeHarness } from './harness.ts'
import { assemble } from './wat.ts'

let runtime: RuntimeHarness

beforeAll(async () => {
  runtime = await startRuntime(1)
})
afterAll(async () => {
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

/**
 * Answers how often its memory and a global have counted a request, how often `alloc` and `_initialize` have run, and how long the
 * request's id was that `_initialize` saw. Then it does what the path says.
 */
const COUNTING = `(module
  (import "edgefn" "request_id" (func $id (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (table 1 funcref)
  (global $count (mut i32) (i32.const 0)) (global $allocs (mut i32) (i32.const 0))
  (global $starts (mut i32) (i32.const 0)) (global $heap (mut i32) (i32.const 16384))
  (data (i32.const 1024) "content-type: a/b\\0a\\0a")
  (func (export "_initialize")
    (global.set $starts (i32.add (global.get $starts) (i32.const 1)))
    (i32.store (i32.const 2000) (call $id (i32.const 3000) (i32.const 100))))
  (func (export "alloc") (param $size i32) (result i32)
    (global.set $allocs (i32.add (global.get $allocs) (i32.const 1)))
    (if (i32.gt_u (i32.add (global.get $heap) (local.get $size)) (i32.shl (memory.size) (i32.const 16)))
      (then (drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))))
    (global.get $heap) (global.set $heap (i32.add (global.get $heap) (local.get $size))))
  (func $digit (param $at i32) (param $value i32)
    (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.and (local.get $value) (i32.const 63)))))
  (func (export "handle") (param $at i32) (param i32) (param $target i32) (param $length i32) (param i32 i32 i32 i32)
      (param $out i32) (param i32) (result i32) (local $what i32)
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (i32.store (i32.const 40000) (i32.add (i32.load (i32.const 40000)) (i32.const 1)))
    (memory.copy (local.get $out) (i32.const 1024) (i32.const 19))
    (call $digit (i32.add (local.get $out) (i32.const 19)) (global.get $count))
    (call $digit (i32.add (local.get $out) (i32.const 20)) (i32.load (i32.const 40000)))
    (call $digit (i32.add (local.get $out) (i32.const 21)) (global.get $allocs))
    (call $digit (i32.add (local.get $out) (i32.const 22)) (global.get $starts))
    (call $digit (i32.add (local.get $out) (i32.const 23)) (i32.load (i32.const 2000)))
    (local.set $what (i32.load8_u offset=1 (local.get $target)))
    (if (i32.eq (local.get $what) (i32.const 116)) (then (unreachable)))
    (if (i32.eq (local.get $what) (i32.const 110)) (then (return (i32.const -5))))
    (if (i32.eq (local.get $what) (i32.const 103)) (then (drop (memory.grow (i32.const 1)))))
    (if (i32.eq (local.get $what) (i32.const 108)) (then (loop $again (br $again))))
    (i32.const 24)))`

/** One request counted, two buffers asked for, one start, which saw the id of the warm-up (7 bytes) and not a client's. */
const FIRST = '11217'

async function counting(level: 'interpreted' | 'O0' | 'O2', wat = COUNTING) {
  const changes = { isolation: 'request', max_execution_ms: 300 } as const
  return await runtime.compiled(runtime.module(assemble(wat), changes), level)
}

async function told(fn: WorkerFunction, of = request('/x')): Promise<string> {
  return answer(await runtime.invoker.invoke(fn, of)).text
}

describe.each(['interpreted', 'O0', 'O2'] as const)('%s', (tier) => {
  test.each([true, false])('each request is the first, warmed up before: %p', async (warm) => {
    const fn = await counting(tier)
    if (warm) await runtime.invoker.prepare(fn)
    for (let call = 0; call < 20; call += 1) expect(await told(fn)).toBe(FIRST)
  })

  test('so it is after those that ended otherwise', async () => {
    const fn = await counting(tier)
    const ends = [
      ['/trap', 'function_trap'],
      ['/negative', 'function_error'],
      ['/loop', 'execution_timeout'],
    ] as const
    for (const [target, code] of ends) {
      expect(await told(fn)).toBe(FIRST)
      expect(failure(await runtime.invoker.invoke(fn, request(target)))).toBe(code)
    }
    expect(await told(fn, request('/grow'))).toBe(FIRST)
    expect(await told(fn)).toBe(FIRST)
    // A request that needs a larger buffer asks for it, and the next one has the first again.
    const large = request('/x', { method: 'POST', body: new Uint8Array(20_000) })
    expect(await told(fn, large)).toBe('11317')
    expect(await told(fn)).toBe(FIRST)
  })

  test('without it, instances keep what requests leave in them', async () => {
    const fn = { ...(await counting(tier)), isolation: 'instance' } as const
    await runtime.invoker.prepare(fn)
    const answers: string[] = []
    for (let call = 0; call < 3; call += 1) answers.push((await told(fn)).slice(0, 2))
    expect(answers).toEqual(['11', '22', '33'])
  })

  test('a plug-in’s variables are gone too', async () => {
    const kept = await runtime.compiled(await runtime.guest('extism-count-as'), tier)
    const clean = { ...kept, isolation: 'request', version: 2 } as const
    const texts = async (fn: WorkerFunction) => [await told(fn), await told(fn), await told(fn)]
    expect(new Set(await texts(kept)).size).toBe(3)
    expect(new Set(await texts(clean)).size).toBe(1)
  })

  test.each(['echo-c', 'echo-as', 'echo-rust'])('%s answers as ever', async (name) => {
    const fn = await runtime.compiled(await runtime.guest(name, { isolation: 'request' }), tier)
    for (let call = 0; call < 5; call += 1) {
      const of = request(`/${call}`, { method: 'POST', body: Buffer.from(`body ${call}`) })
      expect(JSON.parse(await told(fn, of))).toMatchObject({ body: `body ${call}` })
    }
  })
})

test('one instance is set back again and again, unless its module does what cannot be undone', async () => {
  const tables = COUNTING.replace(
    '(global.set $count (i32.add',
    '(table.set 0 (i32.const 0) (ref.null func)) (global.set $count (i32.add',
  )
  expect(tables).not.toBe(COUNTING)
  const fn = await counting('O2')
  const endsAt = performance.now() + 20_000
  let made = -1
  while (made < 0 && performance.now() < endsAt) {
    for (let calls = 0; calls < LIMITS.inlineProofCallsMin; calls += 1) await told(fn)
    await new Promise((resolve) => setImmediate(resolve))
    if (runtime.invoker.invokeNow(fn, request('/x')) === null) continue
    const instantiate = spyOn(Engine.prototype, 'instantiate')
    for (let calls = 0; calls < 50; calls += 1) {
      const outcome = runtime.invoker.invokeNow(fn, request('/x'))
      if (outcome === null) throw new Error('It did not run inline.')
      expect(answer(outcome).text).toBe(FIRST)
    }
    made = instantiate.mock.calls.length
    instantiate.mockRestore()
  }
  expect(made).toBe(0)
  const other = await counting('O2', tables)
  for (const _ of [1, 2, 3]) {
    const outcome = await runtime.invoker.invoke(other, request('/x'))
    expect([answer(outcome).text, outcome.cold]).toEqual([FIRST, true])
  }
})
