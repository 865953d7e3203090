import { expect, test } from 'bun:test'

import { decodeModule } from '../../../src/wasm/decode.ts'
import { normaliseModule } from '../../../src/wasm/normalise.ts'
import { KEEP_EXPORT, RESTORE_EXPORT } from '../../../src/wasm/rewrite/clean-state.ts'
import { safeguardForCompiler } from '../../../src/wasm/rewrite/safeguard.ts'
import { assemble } from '../../edge/worker/runtime/wat.ts'

type Exports = Record<string, (...args: unknown[]) => unknown>

/** The exports of the compiler's form, in another engine; without polls, which need a page that only edgefn maps. */
function run(wat: string, flags: readonly string[] = []): Exports {
  const module = decodeModule(normaliseModule(decodeModule(assemble(wat, flags))))
  const settings = { stackBytes: 10_000, measured: null, polls: false }
  const { bytes } = safeguardForCompiler(module, settings)
  const copy = Uint8Array.from(bytes)
  return new WebAssembly.Instance(new WebAssembly.Module(copy)).exports as Exports
}

test('mutable globals of every type are set back to what they were when they were kept', () => {
  const exports = run(`(module
    (global $fixed i32 (i32.const 7))
    (global $a (mut i32) (i32.const 9)) (global $b (mut i64) (i64.const -2))
    (global $c (mut f32) (f32.const 1.5)) (global $d (mut f64) (f64.const -0.25))
    (global $e (mut funcref) (ref.func $f)) (global $g (mut externref) (ref.null extern))
    (global $h (mut v128) (v128.const i32x4 1 2 3 4))
    (func $f (export "f"))
    (func (export "change") (param externref)
      (global.set $a (i32.const 1)) (global.set $b (i64.const 1)) (global.set $c (f32.const 1))
      (global.set $d (f64.const 1)) (global.set $e (ref.null func)) (global.set $g (local.get 0))
      (global.set $h (v128.const i32x4 5 6 7 8)))
    (func (export "tell") (result i32 i64 f32 f64 funcref externref i32)
      (global.get $a) (global.get $b) (global.get $c) (global.get $d) (global.get $e) (global.get $g)
      (i32x4.extract_lane 3 (global.get $h))))`)
  const first = [9, -2n, 1.5, -0.25, exports['f'], null, 4]
  const second = [1, 1n, 1, 1, null, 'something', 8]
  expect(exports['tell']?.()).toEqual(first)
  exports[KEEP_EXPORT]?.()
  exports['change']?.('something')
  expect(exports['tell']?.()).toEqual(second)
  exports[RESTORE_EXPORT]?.()
  expect(exports['tell']?.()).toEqual(first)
  // Not to what it began with: to what it was when it was kept last.
  exports['change']?.('something')
  exports[KEEP_EXPORT]?.()
  exports[RESTORE_EXPORT]?.()
  expect(exports['tell']?.()).toEqual(second)
})

test('so is what the rewriting itself keeps in globals', () => {
  const exports = run(`(module (memory 1 1)
    (func $deep (export "deep") (param i32) (result i32)
      (if (result i32) (local.get 0)
        (then (i32.add (call $deep (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
        (else (memory.grow (i32.const 1))))))`)
  const told = () => [exports['edgefn:growth']?.(), exports['edgefn:depth']?.()]
  exports[KEEP_EXPORT]?.()
  expect(told()).toEqual([0, 10_000])
  expect(exports['deep']?.(1)).toBe(0)
  expect(() => exports['deep']?.(1_000_000)).toThrow()
  expect(told()).toEqual([-1, -1])
  exports[RESTORE_EXPORT]?.()
  expect(told()).toEqual([0, 10_000])
})

test.each([
  ['table.set', '(table.set 0 (i32.const 0) (ref.null func))'],
  ['table.grow', '(drop (table.grow 0 (ref.null func) (i32.const 1)))'],
  ['table.fill', '(table.fill 0 (i32.const 0) (ref.null func) (i32.const 1))'],
  ['table.copy', '(table.copy (i32.const 0) (i32.const 1) (i32.const 1))'],
  ['table.init', '(table.init 0 (i32.const 0) (i32.const 0) (i32.const 1))'],
  ['elem.drop', '(elem.drop 0)'],
  ['data.drop', '(data.drop 0)'],
])('a module with %s is never set back', (_name, instruction) => {
  const module = (body: string) => `(module (memory 1) (table 2 2 funcref)
    (elem func $f) (data "abc") (func $f (export "f") ${body}))`
  const offers = (exports: Exports) => [KEEP_EXPORT in exports, RESTORE_EXPORT in exports]
  expect(offers(run(module(instruction)))).toEqual([false, false])
  const harmless = `(memory.init 0 (i32.const 0) (i32.const 0) (i32.const 1))
    (memory.copy (i32.const 0) (i32.const 1) (i32.const 1)) (drop (table.get 0 (i32.const 0)))
    (memory.fill (i32.const 0) (i32.const 0) (i32.const 1)) (drop (table.size 0))`
  expect(offers(run(module(harmless)))).toEqual([true, true])
})

test('a module with a great many globals is not burdened with as many again', () => {
  const globals = (count: number) => '(global (mut i32) (i32.const 0))'.repeat(count)
  expect(KEEP_EXPORT in run(`(module ${globals(256)})`)).toBe(true)
  expect(KEEP_EXPORT in run(`(module ${globals(257)})`)).toBe(false)
})
