import { expect, test } from 'bun:test'

import { decodeModule } from '../../../src/wasm/decode.ts'
import { normaliseModule } from '../../../src/wasm/normalise.ts'
import { GROWTH_EXPORT } from '../../../src/wasm/rewrite/growth.ts'
import { safeguardModule } from '../../../src/wasm/rewrite/safeguard.ts'
import { assemble } from '../../edge/worker/runtime/wat.ts'

function run(wat: string): Record<string, (...args: number[]) => number> {
  const module = decodeModule(normaliseModule(decodeModule(assemble(wat))))
  // Another engine as referee. A copy, because the rewriter may give back a view.
  const bytes = Uint8Array.from(safeguardModule(module, 10_000) ?? module.bytes)
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes))
  return exports as Record<string, (...args: number[]) => number>
}

test('the last answer of memory.grow is told, and the guest has it all the same', () => {
  const exports = run(`(module (memory 1 3) (global $own (mut i32) (i32.const 5))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "own") (result i32) (global.get $own)))`)
  const told = () => exports[GROWTH_EXPORT]?.()
  expect(told()).toBe(0)
  expect([exports['grow']?.(1), told()]).toEqual([1, 1])
  expect([exports['grow']?.(2), told()]).toEqual([-1, -1])
  expect([exports['grow']?.(1), told()]).toEqual([2, 2])
  expect(exports['own']?.()).toBe(5)
})

test('it is told beside the depth of a module that recurses', () => {
  const exports = run(`(module (memory 1 2)
    (func $f (export "f") (param i32) (result i32)
      (if (i32.eqz (local.get 0)) (then (return (memory.grow (i32.const 2)))))
      (call $f (i32.sub (local.get 0) (i32.const 1)))))`)
  expect([exports['f']?.(3), exports[GROWTH_EXPORT]?.(), exports['edgefn:depth']?.()]).toEqual([
    -1, -1, 10_000,
  ])
})

test('a module whose memory never grows is not changed for it', () => {
  expect(run('(module (memory 1) (func (export "f")))')[GROWTH_EXPORT]).toBeUndefined()
})
