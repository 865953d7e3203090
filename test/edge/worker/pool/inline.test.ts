import { afterAll, beforeAll, describe, expect, test } from 'bun:test'

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

let runtime: RuntimeHarness

beforeAll(async () => {
  runtime = await startRuntime(4)
})
afterAll(async () => {
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

const now = (fn: WorkerFunction, of: GuestRequest) => runtime.invoker.invokeNow(fn, of)

/** As ingress calls: at once where that is possible, else through the pool. */
async function call(fn: WorkerFunction, of: GuestRequest): Promise<Outcome> {
  return now(fn, of) ?? (await runtime.invoker.invoke(fn, of))
}

/** Calls until a call runs inline; false when it does not for long. */
async function prove(fn: WorkerFunction, target = '/echo'): Promise<boolean> {
  const endsAt = performance.now() + 8_000
  while (performance.now() < endsAt) {
    for (let calls = 0; calls < LIMITS.inlineProofCallsMin; calls += 1) {
      await runtime.invoker.invoke(fn, request(target))
    }
    await new Promise((resolve) => setImmediate(resolve))
    const outcome = now(fn, request(target))
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
    const inline = now(fn, of())
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
    await new Promise((resolve) => setImmediate(resolve))
    expect([fn.name, now(fn, request('/'))]).toEqual([fn.name, null])
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
      const outcome = now(fn, request(target))
      if (outcome === null) throw new Error(`${target} did not run inline.`)
      expect([target, failure(outcome)]).toEqual([target, code])
      const next = now(fn, request('/echo'))
      if (next === null) throw new Error(`What came after ${target} did not run inline.`)
      expect(answer(next).status).toBe(200)
    }
  })

  test('a call that takes too long there is given up soon and has its whole time on another thread', async () => {
    const fn = await compiled('misbehave-c', { max_execution_ms: 300 })
    expect(await prove(fn)).toBe(true)
    const before = runtime.stats.getWorker('inline_overruns')
    const started = performance.now()
    expect(now(fn, request('/loop'))).toBeNull()
    // It is stopped for its processor time, which a busy machine may give it late; but long before its own limit on an idle one.
    expect(performance.now() - started).toBeLessThan(LIMITS.inlineWallMsMax + 200)
    expect(runtime.stats.getWorker('inline_overruns')).toBe(before + 1)
    const outcome = await runtime.invoker.invoke(fn, request('/loop'))
    expect(failure(outcome)).toBe('execution_timeout')
    expect(outcome.execution_ms).toBeGreaterThanOrEqual(300)
    // It may not come again at once, however quick it is.
    for (let calls = 0; calls < 2 * LIMITS.inlineProofCallsMin; calls += 1) {
      await runtime.invoker.invoke(fn, request('/echo'))
    }
    await new Promise((resolve) => setImmediate(resolve))
    const paused = performance.now() - started < LIMITS.inlinePauseMsMin
    if (paused) expect(now(fn, request('/echo'))).toBeNull()
  })

  test('a limit that is shorter than what the thread gives is the function’s own, and a timeout', async () => {
    const fn = await compiled('misbehave-c', { max_execution_ms: 5 })
    expect(await prove(fn)).toBe(true)
    const outcome = now(fn, request('/loop'))
    if (outcome === null) throw new Error('It did not run inline.')
    expect(failure(outcome)).toBe('execution_timeout')
    expect(answer(await call(fn, request('/echo'))).status).toBe(200)
  })

  test('what a call logs before it is given up is not told: it is told when it runs again', async () => {
    const fn = await runtime.compiled(runtime.module(assemble(LOGS_AND_LOOPS)), 'O2')
    expect(await prove(fn, '/')).toBe(true)
    const loop = () => request('/loop')
    expect(now(fn, request('/'))?.logs).toHaveLength(1)
    expect(now(fn, loop())).toBeNull()
    const outcome = await runtime.invoker.invoke(fn, loop())
    expect(failure(outcome)).toBe('execution_timeout')
    expect(outcome.logs.map(({ message }) => message)).toEqual(['seen'])
  })
})

test('a new version, or another form, proves itself anew', async () => {
  const fn = await compiled('hello-c')
  expect(await prove(fn)).toBe(true)
  const next = { ...fn, version: 2 as typeof fn.version }
  expect(now(next, request('/'))).toBeNull()
  expect(await prove(next)).toBe(true)
  runtime.invoker.assign([next])
  expect(now(fn, request('/'))).toBeNull()
  expect(now(next, request('/'))?.ok).toBe(true)
})

test('a suspect, or one in quarantine, is not run on the HTTP thread', async () => {
  const fn = await compiled('hello-c')
  expect(await prove(fn)).toBe(true)
  runtime.verdicts.keepApart(fn.slot, fn.version, 50)
  expect(now(fn, request('/'))).toBeNull()
  runtime.verdicts.keepApart(fn.slot, 0, 0)
  expect(now(fn, request('/'))?.ok).toBe(true)
  const until = Date.now() + 60_000
  runtime.verdicts.quarantine(fn.slot, { version: fn.version, deaths: 3, until })
  expect(now(fn, request('/'))).toBeNull()
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
  expect(now(other, request('/counter'))).toBeNull()
  expect(await prove(fn)).toBe(true)
  const counts = ['1', '2'].map(() => now(other, request('/counter')))
  expect(counts.map((outcome) => outcome && answer(outcome).text)).toEqual(['1', '2'])
  expect(counts.map((outcome) => outcome?.cold)).toEqual([true, false])
  expect(runtime.stats.get(other.slot, 'instances')).toBe(1)
  expect(now(unserved, request('/counter'))).toBeNull()
})

test('one that must be stopped takes the trust in its module with it, not from those that have proved themselves', async () => {
  const fn = await runtime.compiled(runtime.module(assemble(LOGS_AND_LOOPS)), 'O2')
  const [slow, next] = kin(fn, 2) as [WorkerFunction, WorkerFunction]
  runtime.invoker.assign([fn, slow, next])
  expect(await prove(fn, '/')).toBe(true)
  expect(now(slow, request('/loop'))).toBeNull()
  expect(now(next, request('/'))).toBeNull()
  expect(now(fn, request('/'))?.ok).toBe(true)
})
