import { afterAll, beforeAll, describe, expect, test } from 'bun:test'

import { readFileSync, rmSync, writeFileSync } from 'node:fs'

import { answer, failure, request, startRuntime } from './harness.ts'
import type { RuntimeHarness } from './harness.ts'
import { assemble, numberGuest } from './wat.ts'

/** What a guest can do must not depend on the form in which it runs. */
const TIERS = ['interpreted', 'O0', 'O2'] as const

let runtime: RuntimeHarness

beforeAll(async () => {
  runtime = await startRuntime(4)
})
afterAll(async () => {
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

describe.each(TIERS)('%s', (tier) => {
  test.each(['echo-c', 'echo-as', 'echo-rust', 'wagi-echo-c', 'wagi-echo-rust'])(
    '%s answers',
    async (guest) => {
      const fn = await runtime.compiled(await runtime.guest(guest), tier)
      await runtime.invoker.prepare(fn)
      const call = request('/a%20b?x=1', {
        method: 'POST',
        body: new TextEncoder().encode('höllo "w"\n'),
      })
      for (const _ of [1, 2, 3]) {
        const { status, text } = answer(await runtime.invoker.invoke(fn, call))
        expect(status).toBe(200)
        expect(JSON.parse(text)).toMatchObject({ method: 'POST', body: 'höllo "w"\n' })
      }
    },
  )

  test('each misbehaviour is contained and named, and the next call is served', async () => {
    const fn = await runtime.compiled(
      await runtime.guest('misbehave-c', { max_execution_ms: 200 }),
      tier,
    )
    const cases = [
      ['/loop', 'execution_timeout'],
      ['/alloc', 'memory_limit'],
      ['/trap', 'function_trap'],
      ['/oob', 'function_trap'],
      ['/div0', 'function_trap'],
      ['/recurse', 'stack_overflow'],
      ['/write100m', 'invalid_response'],
      ['/negative', 'function_error'],
    ] as const
    for (const [path, code] of cases) {
      const outcome = await runtime.invoker.invoke(fn, request(path))
      expect([path, failure(outcome)]).toEqual([path, code])
      expect(answer(await runtime.invoker.invoke(fn, request('/echo'))).status).toBe(200)
    }
  })

  /** Functions of which each calls the next one, and the last one the first. */
  function around(count: number): string {
    return Array.from({ length: count }, (_, i) => {
      return `(func $f${i} (result i32) (i32.add (call $f${(i + 1) % count}) (i32.const 1)))`
    }).join('\n')
  }
  /** The parameters of a function, for another one. */
  function passed(count: number): string {
    return Array.from({ length: count }, (_, i) => `(local.get ${i})`).join(' ')
  }

  const STACKS: [string, string, string][] = [
    ['direct', '(func $f (result i32) (i32.add (call $f) (i32.const 1)))', '(call $f)'],
    [
      'mutual, with many locals',
      `(func $f (result i32) (local ${'i64 '.repeat(300)}) (i32.add (call $g) (i32.const 1)))
       (func $g (result i32) (local ${'v128 '.repeat(200)}) (i32.mul (call $f) (i32.const 3)))`,
      '(call $f)',
    ],
    [
      'through a table',
      `(table 1 funcref) (elem (i32.const 0) $f)
       (func $f (result i32) (i32.add (call_indirect (result i32) (i32.const 0)) (i32.const 1)))`,
      '(call $f)',
    ],
    [
      'with values that live across the call',
      `(func $f (param i32) (result i32) ${'(i32.load (local.get 0))'.repeat(400)}
         (call $f (i32.const 8)) ${'(i32.rotl)'.repeat(400)})`,
      '(call $f (i32.const 4))',
    ],
    [
      'from a loop',
      '(func $f (result i32) (loop (drop (call $f)) (br 0)) (i32.const 1))',
      '(call $f)',
    ],
    [
      'of two functions of which one stands in a table that nobody calls through',
      `(table 1 funcref) (elem (i32.const 0) $g)
       (func $f (result i32) (i32.add (call $g) (i32.const 1)))
       (func $g (result i32) (i32.add (call $f) (i32.const 1)))`,
      '(call $g)',
    ],
    ['around two thousand functions', around(2_000), '(call $f0)'],
    [
      'with as many parameters as there may be',
      `(type $t (func (param ${'i32 '.repeat(1_000)}) (result i32))) (table 2 funcref) (elem (i32.const 0) $f $g)
       (func $f (type $t) (call $g ${passed(1_000)}))
       (func $g (type $t) (call_indirect (type $t) ${passed(1_000)} (local.get 9)))`,
      `(call $f ${'(i32.const 1)'.repeat(1_000)})`,
    ],
  ]
  test.each(STACKS)('recursion %s ends as stack_overflow', async (_name, fields, body) => {
    const fn = await runtime.compiled(runtime.module(numberGuest(body, fields)), tier)
    for (const _ of [1, 2, 3]) {
      expect(failure(await runtime.invoker.invoke(fn, request('/')))).toBe('stack_overflow')
    }
  })

  test('recursion that ends is served as often as it is asked for, however deep', async () => {
    const fields = `(func $down (param i32) (result i32) (if (result i32) (local.get 0)
      (then (i32.add (call $down (i32.sub (local.get 0) (i32.const 1))) (i32.const 1))) (else (i32.const 0))))`
    const body = '(call $down (i32.const 12000))'
    const fn = await runtime.compiled(runtime.module(numberGuest(body, fields)), tier)
    for (const _ of [1, 2, 3, 4, 5]) {
      const { text } = answer(await runtime.invoker.invoke(fn, request('/')))
      expect(Number(text)).toBe(12_000)
    }
  })

  test('a chain of calls without recursion keeps within the stack', async () => {
    const locals = 'v128 '.repeat(200)
    const chain = Array.from({ length: 400 }, (_, i) => {
      const next = i === 399 ? '(i32.const 1)' : `(call $f${i + 1} (local.get 0))`
      return `(func $f${i} (param i32) (result i32) (local ${locals})
        (local.set 7 (v128.load (local.get 0)))
        (i32.add ${next} (i32x4.extract_lane 0 (local.get 7))))`
    })
    const bytes = numberGuest('(call $f0 (i32.const 64))', chain.join('\n'))
    const fn = await runtime.compiled(runtime.module(bytes), tier)
    const outcome = await runtime.invoker.invoke(fn, request('/'))
    if (!outcome.ok) expect(outcome.code).toBe('stack_overflow')
  })

  /** Functions of which each calls the next one twice, and the last one does something. */
  const fan = (levels: number, last: string) =>
    Array.from({ length: levels }, (_, i) =>
      i === levels - 1
        ? `(func $d${i} ${last})`
        : `(func $d${i} (call $d${i + 1}) (call $d${i + 1}))`,
    ).join('\n')
  /** No compiler can leave it out, or do many at once. */
  const DIVISION = `(i64.store (i32.const 2048)
    (i64.div_u (i64.sub (i64.const -1) (i64.load (i32.const 2048))) (i64.or (i64.load (i32.const 2056)) (i64.const 3))))`

  const ENDLESS: [string, string, string][] = [
    ['a loop', '(loop $l (br $l)) (i32.const 0)', ''],
    ['a loop by br_table', '(loop $l (br_table $l $l (i32.const 0))) (i32.const 0)', ''],
    [
      'a loop of bulk operations',
      '(loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br $l)) (i32.const 0)',
      '',
    ],
    [
      'calls that double at each of forty levels',
      '(call $d0) (i32.const 0)',
      fan(40, '(i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))'),
    ],
    [
      'recursion that doubles at each of forty levels',
      '(block (result i32) (call $twice (i32.const 40)) (i32.const 0))',
      `(func $twice (param i32) (if (local.get 0) (then
         (call $twice (i32.sub (local.get 0) (i32.const 1)))
         (call $twice (i32.sub (local.get 0) (i32.const 1))))))`,
    ],
    [
      'recursion through a table that doubles at each of forty levels',
      '(block (result i32) (call $twice (i32.const 40)) (i32.const 0))',
      `(type $t (func (param i32))) (table 2 funcref) (elem (i32.const 0) $twice $once)
       (func $once (type $t) (call $twice (local.get 0)))
       (func $twice (type $t) (if (local.get 0) (then
         (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.and (local.get 0) (i32.const 1)))
         (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1)))))`,
    ],
    [
      'what recursion does on its way back',
      '(call $down (i32.const 12000))',
      `(func $down (param i32) (result i32) (if (result i32) (local.get 0)
         (then (i32.add (call $down (i32.sub (local.get 0) (i32.const 1))) (call $work)))
         (else (i32.const 0))))
       (func $work (result i32) (call $d0) (i32.load (i32.const 2048)))
       ${fan(15, DIVISION)}`,
    ],
    [
      'many calls of a long function without a loop',
      '(block (result i32) (call $d0) (i32.const 0))',
      fan(17, `${DIVISION.repeat(1000)} ${'nop '.repeat(1_000_000)}`),
    ],
    [
      'a loop of calls through a table to the host',
      '(loop $l (drop (call_indirect (result i32) (i32.const 0))) (br $l)) (i32.const 0)',
      '(table 1 funcref) (elem (i32.const 0) $yield)',
    ],
    ['a loop of host calls', '(loop $l (drop (call $yield)) (br $l)) (i32.const 0)', ''],
    [
      'a row of host calls',
      `${'(drop (call $random (i32.const 0) (i32.const 10000000)))'.repeat(300)} (i32.const 0)`,
      '',
    ],
  ]
  test.each(ENDLESS)('%s is stopped in time', async (_name, body, fields) => {
    const imports = `(import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
      (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))`
    const bytes = numberGuest(body, `${imports} ${fields}`, 160)
    const fn = await runtime.compiled(
      runtime.module(bytes, { memory_pages: 160, max_execution_ms: 100 }),
      tier,
    )
    for (const _ of [1, 2]) {
      const outcome = await runtime.invoker.invoke(fn, request('/'))
      expect(failure(outcome)).toBe('execution_timeout')
      expect(outcome.execution_ms).toBeLessThan(2000)
    }
  })

  test('a start function that loops or recurses is stopped like any other', async () => {
    const guest = (start: string) =>
      assemble(`(module (memory (export "memory") 1) (start $s) ${start}
        (func (export "alloc") (param i32) (result i32) (i32.const 1024))
        (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const -1)))`)
    const loop = runtime.module(guest('(func $s (loop $l (br $l)))'), { max_execution_ms: 100 })
    const recurse = runtime.module(guest('(func $s (call $s))'))
    const looped = await runtime.invoker.invoke(await runtime.compiled(loop, tier), request('/'))
    expect(failure(looped)).toBe('execution_timeout')
    const deep = await runtime.invoker.invoke(await runtime.compiled(recurse, tier), request('/'))
    expect(failure(deep)).toBe('stack_overflow')
  })
})

describe('a compiled form that is not the one the node has signed', () => {
  test('is refused when it is tried, and gives way to the interpreter when it is called', async () => {
    const fn = await runtime.compiled(await runtime.guest('echo-c'), 'O0')
    const path = fn.compiled?.module.path ?? ''
    const bytes = readFileSync(path)
    bytes[bytes.length - 9] = (bytes[bytes.length - 9] ?? 0) ^ 1
    writeFileSync(path, bytes)
    await expect(runtime.invoker.prepare(fn)).rejects.toMatchObject({ code: 'artifact_mismatch' })
    expect(answer(await runtime.invoker.invoke(fn, request('/'))).status).toBe(200)
  })

  test('does not run when another version of the program has made it', async () => {
    const fn = await runtime.compiled(await runtime.guest('hello-c'), 'O0')
    const compiled = fn.compiled && { ...fn.compiled, target: '0.14.1/x64/rewriter-1/polls' }
    await expect(runtime.invoker.prepare({ ...fn, compiled })).rejects.toThrow('another version')
  })

  test('does not run under the name of another module', async () => {
    const one = await runtime.compiled(await runtime.guest('echo-c'), 'O0')
    const other = await runtime.guest('hello-c')
    const mixed = { ...other, compiled: one.compiled }
    await expect(runtime.invoker.prepare(mixed)).rejects.toMatchObject({
      code: 'artifact_mismatch',
    })
  })
})

describe.each(['O0', 'O2'] as const)('%s', (tier) => {
  test('host functions work at the bottom of the deepest recursion', async () => {
    // The deepest that returns is found first; at each depth the host is called with all that JavaScript needs of the stack.
    const body = `(block (result i32) (call $down (i32.load8_u (local.get 2))))`
    const fields = `(import "edgefn" "kv_put" (func $kv (param i32 i32 i32 i32 i32) (result i32)))
      (import "edgefn" "log" (func $log (param i32 i32 i32)))
      (global $left (mut i32) (i32.const 0))
      (func $down (param i32) (result i32)
        (drop (call $kv (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 100) (i32.const 0)))
        (call $log (i32.const 1) (i32.const 0) (i32.const 64))
        (i32.rotl (call $down (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))`
    const fn = await runtime.compiled(
      runtime.module(numberGuest(body, fields), { max_execution_ms: 20_000 }),
      tier,
    )
    expect(failure(await runtime.invoker.invoke(fn, request('/')))).toBe('stack_overflow')
  }, 120_000)
})

test('a module is rewritten once for all threads of a worker, and loaded by the others without its file', async () => {
  const fn = await runtime.guest('echo-c', { max_execution_ms: 5_000 })
  await runtime.invoker.prepare(fn)
  rmSync(fn.path ?? '')
  const outcomes = await Promise.all(
    Array.from({ length: 8 }, () => runtime.invoker.invoke(fn, request('/'))),
  )
  for (const outcome of outcomes) expect(answer(outcome).status).toBe(200)
  expect(outcomes.filter(({ cold }) => cold).length).toBeGreaterThan(0)
})
