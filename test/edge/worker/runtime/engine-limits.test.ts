/** What the engine itself would allow and edgefn does not: proposals, instances without end, memories without pages. */

import { afterEach, expect, test } from 'bun:test'
import { NativeError } from '../../../../ffi/handles.ts'
import { openLibc } from '../../../../ffi/libc.ts'
import { openWasmedge } from '../../../../ffi/library.ts'
import { GuestMemory } from '../../../../ffi/memory.ts'
import { Native } from '../../../../ffi/native.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'
import { inspectModule } from '../../../../src/wasm/check.ts'
import { answer, failure, request, startRuntime } from './harness.ts'
import type { RuntimeHarness } from './harness.ts'
import { assemble, numberGuest } from './wat.ts'

let runtime: RuntimeHarness | null = null
afterEach(async () => {
  await runtime?.close()
  runtime = null
})

/** Proposals by a module that needs each, and the switch with which wabt writes it. */
const REFUSED: readonly (readonly [string, string, string])[] = [
  ['tail calls', '(func $f return_call $f)', '--enable-tail-call'],
  [
    'extended const',
    '(global i32 (i32.add (i32.const 1) (i32.const 2)))',
    '--enable-extended-const',
  ],
  [
    'function references',
    '(type $t (func)) (func (param (ref $t)) (call_ref (local.get 0)))',
    '--enable-function-references',
  ],
  ['multiple memories', '(memory 1) (memory 1)', '--enable-multi-memory'],
  // The engine itself takes a shared memory, and what notifies about it; ingest takes neither.
  [
    'threads',
    '(memory 1 1 shared) (func (drop (i32.atomic.load (i32.const 0))))',
    '--enable-threads',
  ],
  [
    'relaxed SIMD',
    '(func (param v128 v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 1)))',
    '--enable-relaxed-simd',
  ],
  ['memory64', '(memory i64 1)', '--enable-memory64'],
  ['exceptions', '(tag $e) (func (throw $e))', '--enable-exceptions'],
]
const HEADER = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]
/** What wabt cannot write: `struct.new` and `array.new_default` of an own type; a component. */
const REFUSED_BYTES: readonly (readonly [string, readonly number[]])[] = [
  [
    'GC structs',
    [...HEADER, 1, 6, 2, 0x5f, 0, 0x60, 0, 0, 3, 2, 1, 1].concat([
      10, 8, 1, 6, 0, 0xfb, 0, 0, 0x1a, 0x0b,
    ]),
  ],
  [
    'GC arrays',
    [...HEADER, 1, 7, 2, 0x5e, 0x78, 0, 0x60, 0, 0, 3, 2, 1, 1].concat([
      10, 10, 1, 8, 0, 0x41, 0, 0xfb, 7, 0, 0x1a, 0x0b,
    ]),
  ],
  ['components', [0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0]],
]
const ALLOWED: readonly (readonly [string, string])[] = [
  ['mutable globals', '(global (export "g") (mut i32) (i32.const 0))'],
  ['saturating conversions', '(func (param f32) (result i32) (i32.trunc_sat_f32_s (local.get 0)))'],
  ['sign extension', '(func (param i32) (result i32) (i32.extend8_s (local.get 0)))'],
  ['multiple values', '(func (result i32 i32) (i32.const 1) (i32.const 2))'],
  ['bulk memory', '(memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 1)))'],
  ['reference types', '(table 1 externref) (func (result externref) (table.get 0 (i32.const 0)))'],
  ['SIMD', '(func (result v128) (v128.const i64x2 1 2))'],
]

function engineTakes(native: Native, bytes: Uint8Array<ArrayBuffer>): boolean {
  try {
    native.deleteModule(native.loadModule(bytes, false))
    return true
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(NativeError)
    return false
  }
}

test('the engine takes exactly the proposals of the allow-list, whatever its version has on by default', () => {
  const native = new Native(openWasmedge())
  for (const [name, wat] of ALLOWED) {
    expect([name, engineTakes(native, assemble(`(module ${wat})`))]).toEqual([name, true])
  }
  for (const [name, wat, flag] of REFUSED) {
    const bytes = assemble(`(module ${wat})`, [flag])
    expect([name, engineTakes(native, bytes)]).toEqual([name, false])
    expect(inspectModule(bytes).problems[0]?.message).toContain('which edgefn leaves off')
  }
  for (const [name, bytes] of REFUSED_BYTES) {
    expect([name, engineTakes(native, Uint8Array.from(bytes))]).toEqual([name, false])
    expect(inspectModule(Uint8Array.from(bytes)).problems).not.toEqual([])
  }
})

const FORMS = ['interpreted', 'O0'] as const
test.each(FORMS)(
  'a worker full of %s instances gives up the oldest for a new one',
  async (form) => {
    runtime = await startRuntime(1, 2 ** 34)
    const fn = await runtime.compiled(runtime.module(numberGuest('(i32.const 7)')), form)
    const over = 20
    const functions = Array.from({ length: LIMITS.processInstancesMax + over }, (_, slot) => ({
      ...fn,
      slot,
      function_id: Bun.randomUUIDv7() as typeof fn.function_id,
    }))
    for (const each of functions) await runtime.invoker.prepare(each)
    runtime.invoker.assign(functions)
    const { stats } = runtime
    const alive = () => functions.filter(({ slot }) => stats.get(slot, 'instances') > 0).length
    expect(alive()).toBe(LIMITS.processInstancesMax)
    expect(stats.getWorker('pool_evictions')).toBe(over)
    for (const each of [...functions.slice(0, 3), ...functions.slice(-3)]) {
      expect(answer(await runtime.invoker.invoke(each, request('/'))).text).toBe('0000000007')
    }
    expect(alive()).toBe(LIMITS.processInstancesMax)
    expect(runtime.defects).toEqual([])
    // The next worker of this process has to have the address space; what was asked of the thread before an answer is done.
    runtime.invoker.assign([])
    for (const _ of [1, 2]) answer(await runtime.invoker.invoke(fn, request('/')))
  },
  120_000,
)

test('an instance whose memory got no address space is an error, not a wrong answer', async () => {
  runtime = await startRuntime(2)
  const kept = runtime.module(numberGuest('(i32.const 7)'))
  const command = await runtime.guest('wagi-hello-c')
  const compiled = await runtime.compiled(runtime.module(numberGuest('(i32.const 7)')), 'O0')
  const call = (fn: typeof kept) => (runtime as RuntimeHarness).invoker.invoke(fn, request('/'))
  // Threads share the address space, and this thread takes it all: 12 GiB for each memory (RELIABILITY finding 6).
  const native = new Native(openWasmedge())
  const memory = new GuestMemory(native.lib, openLibc())
  const { executor } = native.createExecutor(native.createStore(), 1)
  const module = native.loadModule(assemble('(module (memory (export "memory") 1))'), false)
  const store = native.createStore()
  const instances: ReturnType<typeof native.instantiate>[] = []
  try {
    for (let reserved = true; reserved && instances.length < 12_000;) {
      const instance = native.instantiate(executor, store, module)
      instances.push(instance)
      const found = native.findMemory(instance, 'memory')
      reserved = found !== null && memory.isReserved(found)
    }
    expect(instances.length).toBeWithin(LIMITS.processInstancesMax, 12_000)
    for (const fn of [kept, command, compiled]) {
      const outcome = await call(fn)
      expect(failure(outcome)).toBe('function_load_failed')
      expect(outcome.ok || outcome.message).toContain('no linear memory')
    }
  } finally {
    for (const instance of instances) native.deleteInstance(instance)
  }
  expect(answer(await call(kept)).text).toBe('0000000007')
  expect(answer(await call(compiled)).text).toBe('0000000007')
  expect(answer(await call(command)).status).toBe(200)
}, 120_000)

test('a memory that starts larger than its limit is refused, where the engine would cut it off silently', async () => {
  runtime = await startRuntime(2)
  for (const bytes of [
    numberGuest('(memory.size)', '', 17),
    assemble('(module (memory (export "memory") 17) (func (export "_start")))'),
  ]) {
    const fn = runtime.module(bytes, { memory_pages: 16 })
    const outcome = await runtime.invoker.invoke(fn, request('/'))
    expect(failure(outcome)).toBe('function_load_failed')
    expect(outcome.ok || outcome.message).toContain('17 memory pages, memory_pages is 16')
    const fitting = { ...fn, memory_pages: 17, version: 2 as typeof fn.version }
    const served = await runtime.invoker.invoke(fitting, request('/'))
    // The command answers nothing at all, which is another error.
    expect(served.ok || served.code).toBe(fn.abi === 'edgefn' ? true : 'invalid_response')
  }
})
