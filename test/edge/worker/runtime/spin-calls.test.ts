import { afterAll, beforeAll, expect, test } from 'bun:test'

import fc from 'fast-check'

import { SPIN_IMPORTS } from '../../../../src/wasm/spin-imports.ts'
import { answer, request, startRuntime } from './harness.ts'
import type { RuntimeHarness } from './harness.ts'
import { assemble } from './wat.ts'

let runtime: RuntimeHarness

beforeAll(async () => {
  runtime = await startRuntime(2)
})
afterAll(async () => {
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

const PARAMETERS_MAX = 12
const STEP_BYTES = 1 + 4 * PARAMETERS_MAX

const CALLS = Object.entries(SPIN_IMPORTS).flatMap(([module, rows]) =>
  rows.map(([name, params, results]) => ({ module, name, params: params.split(' '), results })),
)

/** A module that takes its request's body for calls of host functions: the number of one, then twelve parameters. */
function interpreter(): Uint8Array<ArrayBuffer> {
  const imports = CALLS.map(
    ({ module, name, params, results }, index) =>
      `(import "${module}" "${name}" (func $f${index} (param ${params.join(' ')}) (result ${results})))`,
  )
  const cases = CALLS.map(({ params, results }, index) => {
    const values = params.map((type, at) => {
      const word = `(i32.load (i32.add (local.get $at) (i32.const ${1 + 4 * at})))`
      return type === 'f32' ? `(f32.reinterpret_i32 ${word})` : word
    })
    const call = `(call $f${index} ${values.join(' ')})`
    const run = results === '' ? call : `(drop ${call})`
    return `(if (i32.eq (i32.load8_u (local.get $at)) (i32.const ${index})) (then ${run}))`
  })
  return assemble(`(module ${imports.join('\n')}
    (memory (export "memory") 4) (global $heap (mut i32) (i32.const 65536))
    (data (i32.const 0) "default") (data (i32.const 16) "PLACE")
    (func (export "canonical_abi_realloc") (param i32 i32) (param $align i32) (param $size i32) (result i32)
      (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
      (global.get $heap) (global.set $heap (i32.add (global.get $heap) (local.get $size))))
    (func (export "handle-http-request") (param i32 i32 i32 i32 i32 i32 i32 i32) (param $at i32) (param $length i32) (result i32)
      (local $end i32)
      (local.set $end (i32.add (local.get $at) (local.get $length)))
      (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        ${cases.join('\n')}
        (local.set $at (i32.add (local.get $at) (i32.const ${STEP_BYTES}))) (br $next)))
      (i32.store (i32.const 256) (i32.const 200)) (i64.store (i32.const 260) (i64.const 0)) (i64.store (i32.const 268) (i64.const 0))
      (i64.store (i32.const 276) (i64.const 0))
      (i32.const 256)))`)
}

test('whatever a module calls of its host functions, it answers or fails, and its neighbours never notice', async () => {
  const fn = runtime.module(interpreter(), {
    env: { PLACE: 'tokyo' },
    http_allow: ['127.0.0.1:1'],
    max_execution_ms: 5000,
  })
  const neighbour = await runtime.guest('spin-echo-rust')
  const word = fc.oneof(
    fc.constantFrom(0, 5, 7, 16, 128, 256),
    fc.nat({ max: 300 }),
    fc.integer({ min: 65_500, max: 65_600 }),
    fc.integer({ min: 4 * 65_536 - 20, max: 4 * 65_536 + 4 }),
    fc.constantFrom(-1, -4, 0x7fff_ffff, 1 << 30),
  )
  const step = fc.tuple(
    fc.nat({ max: CALLS.length - 1 }),
    fc.array(word, { minLength: PARAMETERS_MAX, maxLength: PARAMETERS_MAX }),
  )
  const codes = new Set<string>()
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async (steps) => {
      const body = new Uint8Array(STEP_BYTES * steps.length)
      const view = new DataView(body.buffer)
      for (const [index, [which, words]] of steps.entries()) {
        view.setUint8(STEP_BYTES * index, which)
        words.forEach((each, at) => view.setInt32(STEP_BYTES * index + 1 + 4 * at, each, true))
      }
      const outcome = await runtime.invoker.invoke(fn, request('/', { method: 'POST', body }))
      codes.add(outcome.ok ? 'ok' : outcome.code)
    }),
    { numRuns: 300 },
  )
  for (const code of codes) expect(['ok', 'function_trap', 'memory_limit']).toContain(code)
  expect(codes.has('ok') && codes.has('function_trap')).toBe(true)
  expect(answer(await runtime.invoker.invoke(neighbour, request('/'))).status).toBe(201)
}, 120_000)
