/** Programs of every language that run out of memory, in their own ways, and programs that only seem to [R6.5]. */

import { afterAll, beforeAll, expect, test } from 'bun:test'

import { answer, failure, request, startRuntime } from './harness.ts'
import type { RuntimeHarness } from './harness.ts'
import { numberGuest } from './wat.ts'

let runtime: RuntimeHarness
beforeAll(async () => {
  runtime = await startRuntime(2)
})
afterAll(() => runtime.close())

async function call(guest: string, target: string, memory_pages: number) {
  const fn = await runtime.guest(guest, { memory_pages, max_execution_ms: 10_000 })
  return runtime.invoker.invoke(fn, request(target))
}

const IN_VAIN: readonly (readonly [string, string, string, number])[] = [
  ['C that gives up when malloc has nothing', 'wagi-posix-c', '/greedy', 40],
  // The vector doubles, so that its last request leaves pages that are free.
  ['Rust whose vector cannot double once more', 'wagi-std-rust', '/?fill', 40],
  ['Rust with almost no room at all', 'wagi-std-rust', '/?fill', 17],
  ['Go, which exits with a code of its own', 'wagi-std-go', '/?fill', 256],
  ['Go that cannot even start', 'example-wagi-go', '/', 100],
  ['a Go reactor that cannot be initialised', 'example-go', '/', 100],
  ['a Go reactor that needs more while it runs', 'echo-go', '/garbage', 128],
  ['an edgefn guest in C', 'misbehave-c', '/alloc', 64],
]

for (const [name, guest, target, pages] of IN_VAIN) {
  test(`${name} is reported as over its memory limit`, async () => {
    const outcome = await call(guest, target, pages)
    expect(failure(outcome)).toBe('memory_limit')
    expect(outcome.ok || outcome.details).toEqual({ memory_pages: pages })
  })
}

test('a compiled guest is told by the same', async () => {
  const fn = await runtime.compiled(await runtime.guest('wagi-posix-c', { memory_pages: 40 }), 'O0')
  expect(failure(await runtime.invoker.invoke(fn, request('/greedy')))).toBe('memory_limit')
  expect(failure(await runtime.invoker.invoke(fn, request('/abort')))).toBe('function_trap')
})

test('a guest that copes with the refusal answers', async () => {
  expect(answer(await call('wagi-posix-c', '/careful', 40)).text).toMatch(/^\d+ blocks\n$/)
})

test('a trap with the memory full, none of it asked for in vain, is a trap', async () => {
  const full = '(memory.grow (i32.sub (i32.const 64) (memory.size)))'
  const fn = runtime.module(numberGuest(`(block (result i32) (drop ${full}) (unreachable))`))
  expect(failure(await runtime.invoker.invoke(fn, request('/')))).toBe('function_trap')
  expect(failure(await call('echo-go', '/panic', 256))).toBe('function_trap')
})

test('what comes after a refusal tells: a trap is the limit, one of another kind is not', async () => {
  const vain = '(drop (memory.grow (i32.const 10000)))'
  const outcomes: [string, string][] = [
    ['(unreachable)', 'memory_limit'],
    ['(i32.load (i32.const -1))', 'memory_limit'],
    ['(i32.div_u (i32.const 1) (i32.const 0))', 'function_trap'],
    ['(block (result i32) (drop (memory.grow (i32.const 1))) (unreachable))', 'function_trap'],
  ]
  for (const [next, code] of outcomes) {
    const fn = runtime.module(numberGuest(`(block (result i32) ${vain} ${next})`))
    expect([next, failure(await runtime.invoker.invoke(fn, request('/')))]).toEqual([next, code])
  }
})
