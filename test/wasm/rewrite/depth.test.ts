import { describe, expect, test } from 'bun:test'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

import fc from 'fast-check'

import { decodeModule } from '../../../src/wasm/decode.ts'
import { normaliseModule } from '../../../src/wasm/normalise.ts'
import { buildCallGraph } from '../../../src/wasm/rewrite/call-graph.ts'
import { DEPTH_EXPORT } from '../../../src/wasm/rewrite/depth.ts'
import { profileBodies } from '../../../src/wasm/rewrite/profile.ts'
import { safeguardModule } from '../../../src/wasm/rewrite/safeguard.ts'
import { assemble } from '../../edge/worker/runtime/wat.ts'

const GUESTS = resolve(import.meta.dir, '../../guests/build')

function rewrite(wat: string, stackBytes = 10_000) {
  const module = decodeModule(normaliseModule(decodeModule(assemble(wat))))
  const counted = safeguardModule(module, stackBytes)
  return { module, bytes: counted ?? module.bytes, changed: counted !== null }
}

/** A copy, because the rewriter may give back a view. */
function compile(bytes: Uint8Array): WebAssembly.Module {
  return new WebAssembly.Module(Uint8Array.from(bytes))
}

/** Instantiates with another engine as referee: it validates every type that the rewriting had to get right. */
function run(bytes: Uint8Array): Record<string, (...args: number[]) => number> {
  const instance = new WebAssembly.Instance(compile(bytes))
  return instance.exports as Record<string, (...args: number[]) => number>
}

function recursiveNames(wat: string): number[] {
  const module = decodeModule(assemble(wat))
  const referenced = new Set(module.referenced)
  const flags = buildCallGraph(module, profileBodies(module, referenced), referenced).recursive
  return [...flags.subarray(0, module.functions.length).entries()].flatMap(([index, flag]) =>
    flag === 1 ? [index] : [],
  )
}

const FIB = `(module (func $fib (export "fib") (param i32) (result i32)
  (if (i32.lt_u (local.get 0) (i32.const 2)) (then (return (local.get 0))))
  (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2))))))`

test('a module that cannot recurse is left as it is', () => {
  const { changed } = rewrite(
    `(module (func $a (call $b)) (func $b (loop (br 0))) (func (export "x") (call $a)))`,
  )
  expect(changed).toBe(false)
})

test('a recursive function computes what it did and gives back every byte', () => {
  const { bytes, changed } = rewrite(FIB)
  expect(changed).toBe(true)
  const exports = run(bytes)
  expect(exports['fib']?.(15)).toBe(610)
  expect(exports[DEPTH_EXPORT]?.()).toBe(10_000)
})

test('recursion past the stack traps, and the counter says so', () => {
  const exports = run(
    rewrite(`(module (func $r (export "r") (result i32) (i32.add (call $r) (i32.const 1))))`).bytes,
  )
  expect(() => exports['r']?.()).toThrow('unreachable')
  expect(exports[DEPTH_EXPORT]?.()).toBe(-1)
})

test('the limit is on bytes: big frames go less deep than small ones', () => {
  const depthOf = (locals: number) => {
    const wat = `(module (global $n (export "n") (mut i32) (i32.const 0)) (func $r (export "r") (local ${'i64 '.repeat(locals)})
      (global.set $n (i32.add (global.get $n) (i32.const 1))) (call $r)))`
    const instance = new WebAssembly.Instance(compile(rewrite(wat, 100_000).bytes))
    const { r, n } = instance.exports as unknown as { r: () => void; n: { value: number } }
    expect(r).toThrow()
    return n.value
  }
  const [small, big] = [depthOf(0), depthOf(500)]
  expect(small).toBeGreaterThan(20 * big)
  expect(big).toBe(Math.floor(100_000 / (48 + 8 * (500 + 2))))
})

describe('finds cycles', () => {
  const table = '(table 2 funcref)'
  const cases: [string, string, number[]][] = [
    ['self', '(module (func (call 0)) (func (call 0)))', [0]],
    [
      'mutual',
      '(module (func (call 1)) (func (call 2)) (func (call 0)) (func (call 0)))',
      [0, 1, 2],
    ],
    ['none', '(module (func (call 1)) (func (call 2)) (func))', []],
    [
      'through a table',
      `(module ${table} (elem (i32.const 0) 1) (func (call_indirect (i32.const 0))) (func (call 0)) (func))`,
      [0, 1],
    ],
    [
      'a table that leads nowhere back',
      `(module ${table} (elem (i32.const 0) 1) (func (call_indirect (i32.const 0))) (func))`,
      [],
    ],
    [
      'a function in the table that calls it',
      `(module ${table} (elem (i32.const 0) 0) (func (call_indirect (i32.const 0))))`,
      [0],
    ],
    [
      'ref.func',
      `(module ${table} (elem declare func 0) (func (table.set 0 (i32.const 0) (ref.func 0)) (call_indirect (i32.const 0))))`,
      [0],
    ],
    [
      'a global with a function',
      `(module ${table} (global funcref (ref.func 0)) (func (call_indirect (i32.const 0))))`,
      [0],
    ],
  ]
  test.each(cases)('%s', (_name, wat, expected) => {
    expect(recursiveNames(wat)).toEqual(expected)
  })

  test('in a chain of 100 000 calls without using the stack itself', () => {
    const functions = Array.from({ length: 50_000 }, (_, i) => `(func (call ${(i + 1) % 50_000}))`)
    expect(recursiveNames(`(module ${functions.join('')})`).length).toBe(50_000)
  })
})

describe('keeps the meaning of control flow', () => {
  const cases: [string, string, number[], number][] = [
    [
      'return inside blocks',
      '(block (block (if (local.get 0) (then (return (i32.const 7)))))) (i32.const 8)',
      [1, 0],
      7,
    ],
    [
      'a branch to the function label',
      '(block (br_if 1 (i32.const 5) (local.get 0)) drop) (i32.const 6)',
      [1, 0],
      5,
    ],
    [
      'br_table to the function label',
      '(i32.add (i32.const 1) (block (result i32) (br_table 0 1 (i32.const 3) (local.get 0))))',
      [1, 0],
      3,
    ],
    [
      'return with operands left behind',
      '(i32.const 1) (i32.const 2) (return (i32.const 9))',
      [0],
      9,
    ],
  ]
  test.each(cases)('%s', (_name, body, inputs, first) => {
    const wat = `(module (func $f (export "f") (param i32) (result i32) (if (i32.eq (local.get 0) (i32.const 99)) (then (drop (call $f (i32.const 0))))) ${body}))`
    let bytes: Uint8Array
    try {
      bytes = rewrite(wat).bytes
    } catch (thrown) {
      throw new Error(`${body}: ${String(thrown)}`)
    }
    const before = run(assemble(wat))
    const after = run(bytes)
    for (const input of inputs) expect(after['f']?.(input)).toBe(before['f']?.(input) as number)
    expect(after['f']?.(inputs[0] ?? 0)).toBe(first)
    expect(after[DEPTH_EXPORT]?.()).toBe(10_000)
  })

  test('several results', () => {
    const wat = `(module (func $f (param i32) (result i32 i64 f32)
        (if (local.get 0) (then (return (i32.const 1) (i64.const 2) (f32.const 3))))
        (call $f (i32.const 1)))
      (func (export "f") (result i32) (call $f (i32.const 0)) drop drop))`
    expect(run(rewrite(wat).bytes)['f']?.()).toBe(1)
  })
})

test('every guest is valid after rewriting and has the exports it had', () => {
  for (const file of readdirSync(GUESTS).filter((name) => name.endsWith('.wasm'))) {
    const module = decodeModule(
      normaliseModule(decodeModule(new Uint8Array(readFileSync(join(GUESTS, file))))),
    )
    const bytes = safeguardModule(module, 1_000_000) ?? module.bytes
    const names = (of: Uint8Array) =>
      WebAssembly.Module.exports(compile(of)).map(({ name }) => name)
    expect(names(bytes).filter((name) => !name.startsWith('edgefn:'))).toEqual(names(module.bytes))
    decodeModule(bytes)
  }
})

/** wasm-opt's generator of valid modules from random bytes, as source of shapes nobody thought of. */
function randomModule(seed: Uint8Array): Uint8Array<ArrayBuffer> | null {
  const dir = mkdtempSync(join(tmpdir(), 'edgefn-ttf-'))
  try {
    writeFileSync(join(dir, 'seed'), seed)
    const features = [
      '--mvp-features',
      '--enable-multivalue',
      '--enable-sign-ext',
      '--enable-bulk-memory',
    ]
    const built = Bun.spawnSync([
      'wasm-opt',
      join(dir, 'seed'),
      '-ttf',
      ...features,
      '-o',
      join(dir, 'm.wasm'),
    ])
    return built.exitCode === 0 ? new Uint8Array(readFileSync(join(dir, 'm.wasm'))) : null
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

test('random valid modules stay valid, and their functions give the same results', () => {
  let compared = 0
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 200, maxLength: 1500 }), (seed) => {
      const original = randomModule(seed)
      if (original === null) return
      const module = decodeModule(normaliseModule(decodeModule(original)))
      const bytes = safeguardModule(module, 1_000_000) ?? module.bytes
      expect(WebAssembly.validate(Uint8Array.from(bytes))).toBe(true)
      expect(traceOf(bytes)).toEqual(traceOf(module.bytes))
      compared += 1
    }),
    { numRuns: 100 },
  )
  expect(compared).toBeGreaterThan(50)
}, 120_000)

/** What each export without parameters returns or traps with, and all that the module logs meanwhile. */
function traceOf(bytes: Uint8Array): string[] {
  const module = compile(bytes)
  const trace: string[] = []
  const imports: Record<string, Record<string, () => number>> = {}
  for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    imports[from] ??= {}
    imports[from][name] = (...args: unknown[]) => trace.push(`${name} ${args.map(String).join()}`)
  }
  const instance = new WebAssembly.Instance(module, imports)
  for (const [name, value] of Object.entries(instance.exports)) {
    if (typeof value !== 'function' || value.length > 0 || name.startsWith('edgefn:')) continue
    try {
      trace.push(`${name} = ${String(value())}`)
    } catch (thrown) {
      trace.push(
        `${name} throws ${thrown instanceof RangeError ? 'overflow' : String(thrown).slice(0, 60)}`,
      )
    }
  }
  return trace
}

test('long operations keep their meaning and get a stop point, in functions that do not recurse too', () => {
  const { bytes, changed } = rewrite(`(module (memory 1) (table 4 8 funcref) (data $d "\\07")
    (func (export "f") (result i32)
      (drop (memory.grow (i32.const 1)))
      (memory.fill (i32.const 65536) (i32.const 3) (i32.const 2))
      (memory.init $d (i32.const 65537) (i32.const 0) (i32.const 1))
      (memory.copy (i32.const 65538) (i32.const 65536) (i32.const 2))
      (drop (table.grow 0 (ref.null func) (i32.const 2)))
      (i32.add (table.size 0) (i32.load (i32.const 65536)))))`)
  expect(changed).toBe(true)
  expect(run(bytes)['f']?.()).toBe(6 + 0x07030703)
})
