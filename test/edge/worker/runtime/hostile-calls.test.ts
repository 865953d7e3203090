import { afterAll, beforeAll, expect, test } from 'bun:test'
import { heapStats } from 'bun:jsc'

import fc from 'fast-check'

import { CallContext } from '../../../../src/edge/worker/host/context.ts'
import { LIMITS, PAGE_BYTES } from '../../../../src/protocol/limits.ts'
import { answer, failure, request, startRuntime } from './harness.ts'
import type { RuntimeHarness } from './harness.ts'
import { assemble, numberGuest } from './wat.ts'

let runtime: RuntimeHarness

beforeAll(async () => {
  runtime = await startRuntime(2)
})
afterAll(async () => {
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

/** An edgefn guest that answers an empty 200, with more fields of its module and its memory's first size. */
function emptyGuest(fields: string, pages: number): Uint8Array<ArrayBuffer> {
  return assemble(`(module ${fields}
    (memory (export "memory") ${pages})
    (global $heap (mut i32) (i32.const 4096))
    (func (export "alloc") (param $size i32) (result i32)
      (if (i32.eqz (memory.size)) (then (drop (memory.grow (i32.const 4)))))
      (global.get $heap) (global.set $heap (i32.add (global.get $heap) (local.get $size))))
    (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
      (i32.store8 (local.get 8) (i32.const 10)) (i32.const 1)))`)
}

const PROC_EXIT = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'

test('a memory may start with no page at all', async () => {
  const fn = runtime.module(emptyGuest('', 0))
  await runtime.invoker.prepare(fn)
  expect(answer(await runtime.invoker.invoke(fn, request('/'))).status).toBe(200)
})

test('an instance whose _start exits with 0 is kept like any other', async () => {
  const start = `${PROC_EXIT} (func (export "_start") (call $exit (i32.const 0)))`
  const fn = runtime.module(emptyGuest(start, 4))
  await runtime.invoker.prepare(fn)
  for (const _ of [1, 2]) {
    const outcome = await runtime.invoker.invoke(fn, request('/'))
    expect([answer(outcome).status, outcome.cold]).toEqual([200, false])
  }
})

test('an instance whose _start exits with another code is never used', async () => {
  const start = `${PROC_EXIT} (func (export "_start") (call $exit (i32.const 3)))`
  const fn = runtime.module(emptyGuest(start, 4))
  expect(failure(await runtime.invoker.invoke(fn, request('/')))).toBe('function_load_failed')
})

test('one write that names gigabytes of lines to log does not hold up the thread', async () => {
  const bytes = numberGuest(
    `(block (result i32)
       (memory.fill (i32.const 0) (i32.const 10) (i32.const 16777216))
       (loop $next
         (i32.store (local.get $i) (i32.const 0))
         (i32.store offset=4 (local.get $i) (i32.const 16777216))
         (local.set $i (i32.add (local.get $i) (i32.const 8)))
         (br_if $next (i32.lt_u (local.get $i) (i32.const 8192))))
       (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1024) (i32.const 8192)))
       (i32.load (i32.const 8192)))`,
    '(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))',
    256,
  )
  const fn = runtime.module(bytes, { memory_pages: 256 })
  const written = Number(answer(await runtime.invoker.invoke(fn, request('/'))).text)
  expect(written).toBeWithin(1, PAGE_BYTES + 1)
})

const FILL = '(memory.fill (i32.const 0) (i32.const 1) (i32.const 16777216))'
const COUNT = '(global.set $g (i32.add (global.get $g) (i32.const 1)))'
const WITHOUT_BRANCHES: [string, string, string][] = [
  ['a row of long operations', FILL.repeat(2000), ''],
  [
    'the way back from a deep recursion',
    '(call $f (i32.const 3000))',
    `(global $g (mut i32) (i32.const 0)) (func $f (param i32)
      (if (local.get 0) (then (call $f (i32.sub (local.get 0) (i32.const 1)))))
      ${COUNT.repeat(20_000)})`,
  ],
]

test.each(WITHOUT_BRANCHES)('%s is stopped at the deadline', async (_, body, fields) => {
  const bytes = numberGuest(`(block (result i32) ${body} (i32.const 1))`, fields, 256)
  const fn = runtime.module(bytes, { memory_pages: 256, max_execution_ms: 200 })
  const outcome = await runtime.invoker.invoke(fn, request('/'))
  expect(failure(outcome)).toBe('execution_timeout')
  expect(outcome.execution_ms).toBeLessThan(2000)
})

test('an alloc that does not grow its memory is told so', async () => {
  const fn = runtime.module(emptyGuest('', 1))
  const outcome = await runtime.invoker.invoke(fn, request('/'))
  expect(failure(outcome)).toBe('memory_limit')
  expect(outcome.ok ? '' : outcome.message).toContain(
    'alloc(65536) returned 8192, but the memory ends at 65536',
  )
})

test('the largest body fits into the largest memory', async () => {
  const fn = runtime.module(numberGuest('(local.get 7)'), { memory_pages: 256 })
  const body = new Uint8Array(LIMITS.requestBodyBytesMax)
  const outcome = await runtime.invoker.invoke(fn, request('/', { method: 'POST', body }))
  expect(Number(answer(outcome).text)).toBe(body.length)
})

async function contextOfCall(): Promise<CallContext> {
  return new CallContext(await runtime.guest('hello-c'), request('/'), 0, 0)
}

test('what a guest writes arrives in one piece, however it was cut', async () => {
  const context = await contextOfCall()
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 40 }), (pieces) => {
      const { fn, request: of } = context
      const fresh = new CallContext(fn, of, 0, 0)
      for (const piece of pieces) expect(fresh.write(Uint8Array.from(piece))).toBe(true)
      expect([...fresh.takeOutput()]).toEqual(pieces.flatMap((piece) => [...piece]))
    }),
    { numRuns: 100 },
  )
})

test('a guest that writes byte by byte, or nothing at all, does not fill the host', async () => {
  const context = await contextOfCall()
  const views = () => {
    Bun.gc(true)
    return heapStats().objectTypeCounts['Uint8Array'] ?? 0
  }
  const before = views()
  for (let count = 0; count < 50_000; count += 1) {
    context.write(new Uint8Array(0))
    context.write(Uint8Array.of(1))
  }
  expect(views() - before).toBeLessThan(1000)
  expect(context.takeOutput().length).toBe(50_000)
})
