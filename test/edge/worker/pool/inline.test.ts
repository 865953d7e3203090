import { afterAll, beforeAll, describe, expect, test } from 'bun:test'

import { openLibc } from '../../../../ffi/libc.ts'
import type { WorkerFunction } from '../../../../src/edge/ipc.ts'
import type { GuestRequest, Outcome } from '../../../../src/edge/worker/call.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'
import { answer, failure, request, startRuntime } from '../runtime/harness.ts'
import type { RuntimeHarness } from '../runtime/harness.ts'
import { assemble } from '../runtime/wat.ts'

/** Logs a word, and answers unless its path has more than a slash. */
const LOGS_AND_LOOPS = `(module
  (import "edgefn" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "seencontent-type: a/b\\n\\nhi")
  (func (export "alloc") (param i32) (result i32) (i32.const 65536))
  (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (call $log (i32.const 1) (i32.const 16) (i32.const 4))
    (if (i32.gt_u (local.get 3) (i32.const 1)) (then (loop $again (br $again))))
    (memory.copy (local.get 8) (i32.const 20) (i32.const 21))
    (i32.const 21)))`

/** Sleeps a tenth of a millisecond, or two where its path has more than a slash. */
const SLEEPS = `(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "alloc") (param i32) (result i32) (i32.const 65536))
  (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (i32.store offset=16 (i32.const 0) (i32.const 1))
    (i64.store offset=24 (i32.const 0)
      (select (i64.const 2000000) (i64.const 100000) (i32.gt_u (local.get 3) (i32.const 1))))
    (drop (call $poll (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 192)))
    (i32.store8 (local.get 8) (i32.const 10))
    (i32.const 1)))`

/** Where its path has more than a slash, counts for some milliseconds in fifteen of sixteen calls. */
const MOSTLY_SLOW = `(module
  (memory (export "memory") 2)
  (global $calls (mut i32) (i32.const 0))
  (func (export "alloc") (param i32) (result i32) (i32.const 65536))
  (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (local $i i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (if (i32.and (i32.gt_u (local.get 3) (i32.const 1))
        (i32.ne (i32.const 0) (i32.and (global.get $calls) (i32.const 15))))
      (then (loop $again
        (i32.store (i32.const 64) (local.tee $i (i32.add (local.get $i) (i32.const 1))))
        (br_if $again (i32.lt_u (i32.load (i32.const 64)) (i32.const 15000000))))))
    (i32.store8 (local.get 8) (i32.const 10))
    (i32.const 1)))`

let runtime: RuntimeHarness

beforeAll(async () => {
  runtime = await startRuntime(4)
})
afterAll(async () => {
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

/** In a turn of its own, which has room for it. */
async function now(fn: WorkerFunction, of: GuestRequest): Promise<Outcome | null> {
  await new Promise((resolve) => setImmediate(resolve))
  return runtime.invoker.invokeNow(fn, { ...of, admitted_ms: openLibc().monotonicMs() })
}

/** As ingress calls: at once where that is possible, else through the pool. */
async function call(fn: WorkerFunction, of: GuestRequest): Promise<Outcome> {
  return (await now(fn, of)) ?? (await runtime.invoker.invoke(fn, of))
}

/** Calls until a call runs inline; false when it does not for long. */
async function prove(fn: WorkerFunction, target = '/echo'): Promise<boolean> {
  const endsAt = performance.now() + 8_000
  while (performance.now() < endsAt) {
    for (let calls = 0; calls < LIMITS.inlineProofCallsMin; calls += 1) {
      await runtime.invoker.invoke(fn, request(target))
    }
    const outcome = await now(fn, request(target))
    if (outcome !== null) return true
  }
  return false
}

async function compiled(name: string, changes: Partial<WorkerFunction> = {}) {
  return await runtime.compiled(await runtime.guest(name, changes), 'O2')
}

test.each(['echo-c', 'echo-as', 'echo-rust', 'wagi-echo-c', 'extism-count-as'])(
  '%s answers the same on the HTTP thread as on any other',
  async (name) => {
    const fn = await compiled(name)
    expect(await prove(fn, '/a')).toBe(true)
    const of = () =>
      request('/a%20b?x=1', {
        method: 'POST',
        headers: [
          ['host', 'example.com'],
          ['x-umlaut', 'ö: €'],
        ],
        body: new TextEncoder().encode('höllo "w"\n'),
      })
    const inline = await now(fn, of())
    const onThread = await runtime.invoker.invoke(fn, of())
    if (inline === null) throw new Error('It did not run inline.')
    const { status, text, headers } = answer(inline)
    // The plug-in counts its calls.
    const countless = (of: string) => of.replace(/"(count|calls)":\d+/g, '')
    expect(status).toBe(200)
    expect(countless(text)).toBe(countless(answer(onThread).text))
    expect([...headers]).toEqual([...answer(onThread).headers])
  },
)

test('a function that is interpreted, waits for others, or keeps what it does, never runs on the HTTP thread', async () => {
  const interpreted = await runtime.guest('hello-c')
  const fetching = await compiled('fetch-c')
  const keeping = await compiled('sdk-c')
  const spin = await compiled('spin-echo-rust')
  const wws = await compiled('wws-echo-rust', { abi: 'wws' })
  for (const fn of [interpreted, fetching, keeping, spin, wws]) {
    for (let calls = 0; calls < 3 * LIMITS.inlineProofCallsMin; calls += 1) {
      await runtime.invoker.invoke(fn, request('/'))
    }
    expect([fn.name, await now(fn, request('/'))]).toEqual([fn.name, null])
  }
})

describe('misbehaviour on the HTTP thread', () => {
  test('each is contained and named as anywhere else, and the next call is served', async () => {
    const fn = await compiled('misbehave-c')
    expect(await prove(fn)).toBe(true)
    const cases = [
      ['/trap', 'function_trap'],
      ['/oob', 'function_trap'],
      ['/div0', 'function_trap'],
      ['/recurse', 'stack_overflow'],
      ['/negative', 'function_error'],
    ] as const
    for (const [target, code] of cases) {
      const outcome = await now(fn, request(target))
      if (outcome === null) throw new Error(`${target} did not run inline.`)
      expect([target, failure(outcome)]).toEqual([target, code])
      const next = await now(fn, request('/echo'))
      if (next === null) throw new Error(`What came after ${target} did not run inline.`)
      expect(answer(next).status).toBe(200)
    }
  })

  test('a call that takes too long there is given up soon and has its whole time on another thread', async () => {
    const fn = await compiled('misbehave-c', { max_execution_ms: 300 })
    expect(await prove(fn)).toBe(true)
    const before = runtime.stats.getWorker('inline_overruns')
    const started = performance.now()
    expect(await now(fn, request('/loop'))).toBeNull()
    // It is stopped for its processor time, which a busy machine may give it late; hence the two seconds.
    expect(performance.now() - started).toBeLessThan(LIMITS.inlineWallMsMax + 2_000)
    expect(runtime.stats.getWorker('inline_overruns')).toBe(before + 1)
    const outcome = await runtime.invoker.invoke(fn, request('/loop'))
    expect(failure(outcome)).toBe('execution_timeout')
    expect(outcome.execution_ms).toBeGreaterThanOrEqual(300)
    // It may not come again at once, however quick it is.
    for (let calls = 0; calls < 2 * LIMITS.inlineProofCallsMin; calls += 1) {
      await runtime.invoker.invoke(fn, request('/echo'))
    }
    const paused = performance.now() - started < LIMITS.inlinePauseMsMin
    if (paused) expect(await now(fn, request('/echo'))).toBeNull()
  })

  test('a limit that is shorter than what the thread gives is the function’s own, and a timeout', async () => {
    const fn = await compiled('misbehave-c', { max_execution_ms: 5 })
    expect(await prove(fn)).toBe(true)
    const outcome = await now(fn, request('/loop'))
    if (outcome === null) throw new Error('It did not run inline.')
    expect(failure(outcome)).toBe('execution_timeout')
    expect(answer(await call(fn, request('/echo'))).status).toBe(200)
  })

  test('a guest that sleeps there is run again on another thread at once, and one that waits for less is not', async () => {
    // The limit is its own even there: still it is no timeout.
    for (const max_execution_ms of [300, 8]) {
      const module = runtime.module(assemble(SLEEPS), { max_execution_ms })
      const fn = await runtime.compiled(module, 'O2')
      expect(await prove(fn, '/')).toBe(true)
      const before = runtime.stats.getWorker('inline_overruns')
      expect(await now(fn, request('/sleep'))).toBeNull()
      expect(runtime.stats.getWorker('inline_overruns')).toBe(before + 1)
      expect(answer(await runtime.invoker.invoke(fn, request('/sleep'))).status).toBe(200)
    }
  })

  test('no call goes unseen: one that is slow in nearly all calls does not stay, whichever are measured', async () => {
    const fn = await runtime.compiled(runtime.module(assemble(MOSTLY_SLOW)), 'O2')
    expect(await prove(fn, '/')).toBe(true)
    let calls = 0
    while (calls < 200 && (await now(fn, request('/slow'))) !== null) calls += 1
    // One in sixteen is quick. How long the others take is the processor's business; all are over the mean.
    expect(calls).toBeLessThan(100)
  })

  test('what a call logs before it is given up is not told: it is told when it runs again', async () => {
    const fn = await runtime.compiled(runtime.module(assemble(LOGS_AND_LOOPS)), 'O2')
    expect(await prove(fn, '/')).toBe(true)
    const loop = () => request('/loop')
    expect((await now(fn, request('/')))?.logs).toHaveLength(1)
    expect(await now(fn, loop())).toBeNull()
    const outcome = await runtime.invoker.invoke(fn, loop())
    expect(failure(outcome)).toBe('execution_timeout')
    expect(outcome.logs.map(({ message }) => message)).toEqual(['seen'])
  })
})

test('a new version, or another form, proves itself anew', async () => {
  const fn = await compiled('hello-c')
  expect(await prove(fn)).toBe(true)
  const next = { ...fn, version: 2 as typeof fn.version }
  expect(await now(next, request('/'))).toBeNull()
  expect(await prove(next)).toBe(true)
  runtime.invoker.assign([next])
  expect(await now(fn, request('/'))).toBeNull()
  expect((await now(next, request('/')))?.ok).toBe(true)
})

test('a suspect, or one in quarantine, is not run on the HTTP thread', async () => {
  const fn = await compiled('hello-c')
  expect(await prove(fn)).toBe(true)
  runtime.verdicts.keepApart(fn.slot, fn.version, 50)
  expect(await now(fn, request('/'))).toBeNull()
  runtime.verdicts.keepApart(fn.slot, 0, 0)
  expect((await now(fn, request('/')))?.ok).toBe(true)
  const until = Date.now() + 60_000
  runtime.verdicts.quarantine(fn.slot, { version: fn.version, deaths: 3, until })
  expect(await now(fn, request('/'))).toBeNull()
})

/** So many functions that run the module of one. */
function kin(fn: WorkerFunction, count: number): WorkerFunction[] {
  return Array.from({ length: count }, (_, index) => {
    const function_id = Bun.randomUUIDv7() as typeof fn.function_id
    return { ...fn, function_id, slot: fn.slot + 100 + index }
  })
}

test('what one function has proved of a module lets others in that run it, each with its own instance', async () => {
  const fn = await compiled('misbehave-c')
  const [other, unserved] = kin(fn, 2) as [WorkerFunction, WorkerFunction]
  runtime.invoker.assign([fn, other])
  expect(await now(other, request('/counter'))).toBeNull()
  expect(await prove(fn)).toBe(true)
  const counts = [await now(other, request('/counter')), await now(other, request('/counter'))]
  expect(counts.map((outcome) => outcome && answer(outcome).text)).toEqual(['1', '2'])
  expect(counts.map((outcome) => outcome?.cold)).toEqual([true, false])
  expect(runtime.stats.get(other.slot, 'instances')).toBe(1)
  expect(await now(unserved, request('/counter'))).toBeNull()
})

test('what was proved of a module goes with the last function that runs it', async () => {
  const fn = await compiled('hello-c')
  const [later] = kin(fn, 1) as [WorkerFunction]
  runtime.invoker.assign([fn])
  expect(await prove(fn, '/')).toBe(true)
  runtime.invoker.assign([])
  runtime.invoker.assign([later])
  expect(await now(later, request('/'))).toBeNull()
})

test('one that must be stopped takes the trust in its module with it, not from those that have proved themselves', async () => {
  const fn = await runtime.compiled(runtime.module(assemble(LOGS_AND_LOOPS)), 'O2')
  const [slow, next] = kin(fn, 2) as [WorkerFunction, WorkerFunction]
  runtime.invoker.assign([fn, slow, next])
  expect(await prove(fn, '/')).toBe(true)
  expect(await now(slow, request('/loop'))).toBeNull()
  expect(await now(next, request('/'))).toBeNull()
  expect((await now(fn, request('/')))?.ok).toBe(true)
})
