/** Nothing of a request is there for the next one, although both run in the same instance. */

import { afterAll, beforeAll, describe, expect, spyOn, test } from 'bun:test'

import type { WorkerFunction } from '../../../../src/edge/ipc.ts'
import { Engine } from '../../../../src/edge/worker/runtime/engine.ts'
import { functionIdSchema } from '../../../../src/protocol/ids.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'
import { failure, request, startRuntime } from './harness.ts'
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

/** What the guest below is told to do, one after the other. */
const STEP = {
  store: 0,
  fill: 1,
  i32: 2,
  i64: 3,
  f64: 4,
  v128: 5,
  grow: 6,
  trap: 7,
  loop: 8,
  exit: 9,
  recurse: 10,
  scribble: 11,
} as const
type Step = readonly [kind: number, a: number, b: bigint]

const STEP_BYTES = 16

/**
 * A command that first answers with a sum of its whole memory, its size and all its globals, and then does to them what the
 * request's body says. Something stands at the memory's begin, in its middle and at its end.
 */
function scribbler(pages: number, more = ''): Uint8Array<ArrayBuffer> {
  return assemble(`(module
    (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
    (memory (export "memory") ${pages}) (table 2 funcref)
    (data (i32.const 64) "content-type: a/b\\0a\\0a")
    (data (i32.const ${Math.floor(pages * 32768) + 8190}) "in the middle, across two pages")
    (data (i32.const ${pages * 65536 - 3}) "end")
    (global $i32 (mut i32) (i32.const 1)) (global $i64 (mut i64) (i64.const 2))
    (global $f64 (mut f64) (f64.const 3)) (global $v128 (mut v128) (v128.const i64x2 4 5))
    (global $starts (mut i32) (i32.const 0))
    (start $begin)
    (func $begin (global.set $starts (i32.add (global.get $starts) (i32.const 1)))
      (i32.store (i32.const 768) (i32.add (i32.load (i32.const 768)) (i32.const 1))))
    (func $bytes (result i32) (i32.shl (memory.size) (i32.const 16)))
    (func $sum (result i64) (local $at i32) (local $end i32) (local $sum i64)
      (local.set $end (call $bytes)) (local.set $sum (i64.const -3750763034362895579))
      (loop $next
        (local.set $sum (i64.mul (i64.xor (local.get $sum) (i64.load (local.get $at))) (i64.const 1099511628211)))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br_if $next (i32.lt_u (local.get $at) (local.get $end))))
      (local.get $sum))
    (func $recurse (param i32) (result i32) (i32.add (call $recurse (local.get 0)) (i32.const 1)))
    (func $do (param $kind i32) (param $a i32) (param $b i64)
      (block $scribble (block $recurse (block $exit (block $loop (block $trap (block $grow (block $v128 (block $f64
      (block $i64 (block $i32 (block $fill (block $store
        (br_table $store $fill $i32 $i64 $f64 $v128 $grow $trap $loop $exit $recurse $scribble $trap (local.get $kind)))
      (i64.store offset=8192 (i32.rem_u (local.get $a) (i32.sub (call $bytes) (i32.const 8200))) (local.get $b)) (return))
      (memory.fill (i32.add (i32.const 8192) (i32.rem_u (local.get $a) (i32.sub (call $bytes) (i32.const 73728))))
        (i32.const 170) (i32.wrap_i64 (i64.and (local.get $b) (i64.const 65535)))) (return))
      (global.set $i32 (local.get $a)) (return))
      (global.set $i64 (local.get $b)) (return))
      (global.set $f64 (f64.reinterpret_i64 (local.get $b))) (return))
      (global.set $v128 (i64x2.splat (local.get $b))) (return))
      (drop (memory.grow (local.get $a))) (return))
      (unreachable))
      (loop $again (br $again)))
      (call $proc_exit (local.get $a)))
      (drop (call $recurse (local.get $a))) (return))
      (memory.fill (i32.const 0) (local.get $a) (i32.const 4096)))
    (func (export "_start") (local $sum i64) (local $at i32) (local $end i32)
      (local.set $sum (call $sum))
      (i64.store (i32.const 128) (local.get $sum)) (i32.store (i32.const 136) (memory.size))
      (i32.store (i32.const 140) (global.get $i32)) (i64.store (i32.const 144) (global.get $i64))
      (f64.store (i32.const 152) (global.get $f64)) (v128.store (i32.const 160) (global.get $v128))
      (i32.store (i32.const 176) (global.get $starts)) (i32.store (i32.const 180) (i32.load (i32.const 768)))
      (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 19))
      (i32.store (i32.const 8) (i32.const 128)) (i32.store (i32.const 12) (i32.const 56))
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 2) (i32.const 16)))
      (i32.store (i32.const 0) (i32.const 4096)) (i32.store (i32.const 4) (i32.const 4096))
      (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))
      (local.set $at (i32.const 4096)) (local.set $end (i32.add (i32.const 4096) (i32.load (i32.const 16))))
      (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (call $do (i32.load (local.get $at)) (i32.load offset=4 (local.get $at)) (i64.load offset=8 (local.get $at)))
        (local.set $at (i32.add (local.get $at) (i32.const ${STEP_BYTES})))
        (br $next)))
      ${more}))`)
}

function bodyOf(steps: readonly Step[]): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(steps.length * STEP_BYTES))
  for (const [index, [kind, a, b]] of steps.entries()) {
    view.setUint32(index * STEP_BYTES, kind, true)
    view.setUint32(index * STEP_BYTES + 4, a, true)
    view.setBigUint64(index * STEP_BYTES + 8, b, true)
  }
  return new Uint8Array(view.buffer)
}

const asking = (steps: readonly Step[]) => request('/', { method: 'POST', body: bodyOf(steps) })

/** Numbers that are the same in every run. */
function numbers(seed: number): (below: number) => number {
  let state = seed
  return function next(below) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

/** Steps after which the guest still comes to its end: what it is told stands below 8192, where none of them writes. */
function harmless(next: (below: number) => number): Step[] {
  const kinds = [STEP.store, STEP.store, STEP.fill, STEP.i32, STEP.i64, STEP.f64, STEP.v128]
  return Array.from({ length: next(12) }, () => {
    const a = next(2 ** 32)
    const kind = kinds[next(kinds.length)] ?? STEP.store
    return [kind, a, BigInt(next(2 ** 32)) * 0x1_0000_0001n + 1n] as const
  })
}

const ENDS: readonly Step[] = [
  [STEP.exit, 0, 0n],
  [STEP.scribble, 255, 0n],
  [STEP.grow, 2, 0n],
  [STEP.grow, 1000, 0n],
  [STEP.trap, 0, 0n],
  [STEP.exit, 3, 0n],
  [STEP.recurse, 0, 0n],
  [STEP.loop, 0, 0n],
]

describe.each(['O0', 'O2'] as const)('%s', (tier) => {
  test.each([2, 24])(
    'a guest of %d pages never sees what one before it has done',
    async (pages) => {
      const artifact = runtime.module(scribbler(pages), { max_execution_ms: 400 })
      const interpreted = await runtime.invoker.invoke(artifact, asking([]))
      if (!interpreted.ok) throw new Error(interpreted.message)
      const fresh = Buffer.from(interpreted.response.body).toString('hex')
      expect(fresh).toHaveLength(2 * 56)
      const fn = await runtime.compiled(artifact, tier)
      const next = numbers(pages)
      const codes = new Set<string>()
      for (let call = 0; call < 300; call += 1) {
        const steps = harmless(next)
        const end = ENDS[call % 5 === 0 ? next(call % 50 === 0 ? 8 : 7) : -1]
        if (end !== undefined) steps.push(end, ...(end[0] === STEP.grow ? harmless(next) : []))
        const outcome = await runtime.invoker.invoke(fn, asking(steps))
        if (!outcome.ok) codes.add(outcome.code)
        else
          expect([call, Buffer.from(outcome.response.body).toString('hex')]).toEqual([call, fresh])
      }
      expect([...codes].sort()).toEqual(
        expect.arrayContaining(['function_error', 'function_trap', 'stack_overflow']),
      )
      for (let times = 0; times < 3; times += 1) {
        const stopped = await runtime.invoker.invoke(fn, asking([[STEP.loop, 0, 0n]]))
        expect(failure(stopped)).toBe('execution_timeout')
        for (const _ of [1, 2, 3]) {
          const outcome = await runtime.invoker.invoke(fn, asking([[STEP.scribble, 7, 0n]]))
          if (!outcome.ok) throw new Error(outcome.message)
          expect(Buffer.from(outcome.response.body).toString('hex')).toBe(fresh)
        }
      }
    },
  )
})

describe('on the HTTP thread, where it can be counted', () => {
  /** What a call answers, and how many instances were made for it; in a turn of the event loop of its own, which has room for it. */
  async function called(
    fn: WorkerFunction,
    steps: readonly Step[],
  ): Promise<[answer: string, made: number]> {
    await new Promise((resolve) => setImmediate(resolve))
    const instantiate = spyOn(Engine.prototype, 'instantiate')
    try {
      const outcome = runtime.invoker.invokeNow(fn, asking(steps))
      if (outcome === null) throw new Error('It did not run inline.')
      const body = outcome.ok ? Buffer.from(outcome.response.body).toString('hex') : outcome.code
      return [body, instantiate.mock.calls.length]
    } finally {
      instantiate.mockRestore()
    }
  }

  async function proven(bytes: Uint8Array<ArrayBuffer>): Promise<WorkerFunction> {
    const fn = await runtime.compiled(runtime.module(bytes), 'O2')
    await prove(fn)
    return fn
  }

  async function prove(fn: WorkerFunction): Promise<void> {
    const endsAt = performance.now() + 20_000
    while (performance.now() < endsAt) {
      for (let calls = 0; calls < LIMITS.inlineProofCallsMin; calls += 1) {
        await runtime.invoker.invoke(fn, asking([]))
      }
      await new Promise((resolve) => setImmediate(resolve))
      if (runtime.invoker.invokeNow(fn, asking([])) !== null) return
    }
    throw new Error('It never ran inline.')
  }

  test('one instance serves many requests, and goes when it cannot be set back', async () => {
    const fn = await proven(scribbler(2))
    await called(fn, [])
    const [fresh, made] = await called(fn, [])
    expect([fresh.length, made]).toEqual([2 * 56, 0])
    const next = numbers(1)
    for (let call = 0; call < 200; call += 1) {
      const end = ENDS[call % 3]
      const steps = [...harmless(next), ...(end === undefined || end[0] === STEP.grow ? [] : [end])]
      expect(await called(fn, steps)).toEqual([fresh, 0])
    }
    // What did not grow is as it was.
    expect(await called(fn, [[STEP.grow, 1000, 0n]])).toEqual([fresh, 0])
    expect(await called(fn, [])).toEqual([fresh, 0])
    const gone: readonly [Step, string][] = [
      [[STEP.grow, 1, 0n], fresh],
      [[STEP.trap, 0, 0n], 'function_trap'],
      [[STEP.exit, 1, 0n], 'function_error'],
      [[STEP.recurse, 0, 0n], 'stack_overflow'],
    ]
    for (const [step, answer] of gone) {
      expect([step, ...(await called(fn, [step]))]).toEqual([step, answer, 0])
      expect([step, ...(await called(fn, []))]).toEqual([step, fresh, 1])
      expect([step, ...(await called(fn, []))]).toEqual([step, fresh, 0])
    }
  })

  test('functions that run the same module never have the same instance', async () => {
    const one = await proven(scribbler(2))
    const other = { ...one, function_id: functionIdSchema.parse(Bun.randomUUIDv7()) }
    await prove(other)
    for (const _ of [1, 2, 3]) {
      expect((await called(one, []))[1]).toBe(1)
      expect((await called(one, []))[1]).toBe(0)
      expect((await called(other, []))[1]).toBe(1)
      expect((await called(other, []))[1]).toBe(0)
    }
  })

  test('a module that changes its table has a new instance for each request', async () => {
    const fn = await proven(scribbler(2, '(table.set 0 (i32.const 0) (ref.null func))'))
    const [fresh] = await called(fn, [])
    for (const _ of [1, 2, 3]) expect(await called(fn, [])).toEqual([fresh, 1])
  })
})
