import { expect, test } from 'bun:test'

import { decodeModule } from '../../../src/wasm/decode.ts'
import { normaliseModule } from '../../../src/wasm/normalise.ts'
import { needsResultMemory, withResultMemory } from '../../../src/wasm/rewrite/result-memory.ts'
import { assemble } from '../wabt.ts'

const CONFIG = '(import "spin-config" "get-config" (func $config (param i32 i32 i32)))'
const REALLOC =
  '(func $realloc (export "canonical_abi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))'

const wrapped = (text: string) => withResultMemory(decodeModule(normalise(assemble(text))))
const normalise = (bytes: Uint8Array) => normaliseModule(decodeModule(bytes))

test('a module without such imports, or without an allocator, is left alone', () => {
  expect(wrapped('(module (memory 1) (func (export "f")))')).toBeNull()
  expect(wrapped(`(module ${CONFIG} (memory 1))`)).toBeNull()
  const close = '(import "key-value" "close" (func (param i32)))'
  expect(wrapped(`(module ${close} (memory 1) ${REALLOC})`)).toBeNull()
  expect(needsResultMemory('wasi_experimental_http', 'req')).toBe(false)
  expect(needsResultMemory('spin-config', 'other')).toBe(false)
  expect(needsResultMemory('toString', 'get-config')).toBe(false)
})

test('the guest allocates as often as the import asks, and sees one call', async () => {
  const bytes = wrapped(`(module
    (import "env" "before" (func $before))
    ${CONFIG}
    (import "llm" "infer" (func $infer (param i32 i32 i32 i32 i32 i32 f32 i32 f32 i32 f32 i32)))
    (memory (export "memory") 1) (table 1 funcref) (elem (i32.const 0) $config)
    (global $next (mut i32) (i32.const 1024)) (global $calls (export "calls") (mut i32) (i32.const 0))
    (func $realloc (export "canonical_abi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (global.get $next) (global.set $next (i32.add (global.get $next) (local.get $size))))
    (func (export "run") (call $before) (call $config (i32.const 1) (i32.const 2) (i32.const 64))
      (if (i32.load8_u (i32.const 64)) (then (return)))
      (call $config (i32.const 3) (i32.const 4) (i32.const 64))))`)
  if (bytes === null) throw new Error('The module was left alone.')
  const asked: number[][] = []
  let before = 0
  const { instance } = await WebAssembly.instantiate(bytes, {
    env: { before: () => (before += 1) },
    'spin-config': {
      'get-config': (...parameters: number[]) => {
        asked.push(parameters)
        const memory = new DataView((instance.exports['memory'] as WebAssembly.Memory).buffer)
        // Twice at the first call of each, the second time with the first answer in its place; then it is done.
        const turn = asked.filter(([first]) => first === parameters[0]).length
        if (turn > 1) given.push(memory.getUint32(64 + 4, true))
        memory.setUint8(64, turn < 3 ? 0xff : 0)
        memory.setUint32(64 + 4, turn * 10, true)
        memory.setUint32(64 + 8, 4, true)
      },
    },
    llm: { infer: () => {} },
  })
  const given: number[] = []
  ;(instance.exports['run'] as () => void)()
  expect(before).toBe(1)
  expect(asked).toEqual([
    [1, 2, 64],
    [1, 2, 64],
    [1, 2, 64],
    [3, 4, 64],
    [3, 4, 64],
    [3, 4, 64],
  ])
  expect(given).toEqual([1024, 1034, 1054, 1064])
  expect((instance.exports['calls'] as WebAssembly.Global).value).toBe(4)
})
