import { describe, expect, test } from 'bun:test'

import { decodeDeclarations, decodeModule } from '../../../src/wasm/decode.ts'
import { MODULE_LIMITS } from '../../../src/wasm/limits.ts'
import { normaliseModule } from '../../../src/wasm/normalise.ts'
import { DEPTH_EXPORT, OVERFLOWN } from '../../../src/wasm/rewrite/depth.ts'
import { POLL } from '../../../src/wasm/rewrite/polls.ts'
import { safeguardForCompiler, safeguardModule } from '../../../src/wasm/rewrite/safeguard.ts'
import { assemble } from '../../edge/worker/runtime/wat.ts'
import { POLL_FUNCTION, randomCalls } from './random-calls.ts'

type Exports = Record<string, (...args: number[]) => number>

function normalised(wat: string) {
  return decodeModule(normaliseModule(decodeModule(assemble(wat))))
}

/** The two forms of a module that run here: as the interpreter gets it, and as the compiler does where it stops loops itself. */
function formsOf(wat: string, stackBytes: number): Record<string, Uint8Array<ArrayBuffer>> {
  const module = normalised(wat)
  const settings = { stackBytes, measured: null, polls: false }
  return {
    interpreted: safeguardModule(module, stackBytes) ?? Uint8Array.from(module.bytes),
    compiled: safeguardForCompiler(module, settings).bytes,
  }
}

/** Instantiates in this runtime, which validates every type that the rewriting had to get right. */
function instantiate(bytes: Uint8Array<ArrayBuffer>, host: Record<string, unknown> = {}): Exports {
  const module = new WebAssembly.Module(bytes)
  return new WebAssembly.Instance(module, { host } as never).exports as Exports
}

/** How deep `run` gets, told by the global `depth` that it counts up; and that it ends for want of stack. */
function depthOf(bytes: Uint8Array<ArrayBuffer>): number {
  const exports = instantiate(bytes, { ask: (value: number) => value })
  expect(() => exports['run']?.(...Array<number>(8).fill(1))).toThrow('unreachable')
  expect(exports[DEPTH_EXPORT]?.()).toBe(OVERFLOWN)
  return (exports['depth'] as unknown as { value: number }).value
}

const COUNT = '(global.set $depth (i32.add (global.get $depth) (i32.const 1)))'

describe('both forms go equally deep', () => {
  const table = (elements: string) => `(table 4 funcref) (elem (i32.const 0) ${elements})`
  const loop = (call: string) => `(loop ${call} (br 0))`
  const cases: [string, string][] = [
    ['in a function that calls itself', `(func $f (export "run") ${COUNT} (call $f))`],
    [
      'in functions that call one another, with frames of their own',
      `(func $f (export "run") ${COUNT} (call $g (i32.const 1)))
       (func $g (param i32) (local ${'i64 '.repeat(70)}) ${COUNT} (call $f))`,
    ],
    ['from within a loop', `(func $f (export "run") ${COUNT} ${loop('(call $f)')})`],
    [
      'with more calls than take the frame themselves',
      `(func $f (export "run") ${COUNT} ${'(call $f)'.repeat(20)})`,
    ],
    [
      'in a branch that is looked at after another',
      `(func $f (export "run") (param i32) ${COUNT}
         (if (local.get 0) (then (call $g (i32.const 0)))) (call $f (i32.const 0)))
       (func $g (param i32) (local ${'i64 '.repeat(90)}) (if (local.get 0) (then (call $f (i32.const 1)))))`,
    ],
    [
      'in the other branch of one that is looked at',
      `(func $f (export "run") (param i32) ${COUNT}
         (if (i32.and (global.get $depth) (i32.const 3)) (then (call $g (i32.const 0))) (else (call $g (i32.const 1)))))
       (func $g (param i32) (local ${'i64 '.repeat(90)}) ${COUNT} (call $f (i32.const 1)))`,
    ],
    [
      'with a call of a large frame behind one of a small',
      `(func $f (export "run") (param i32) ${COUNT} (if (local.get 0) (then
         (call $f (i32.const 0)) (call $g (i32.const 1)))))
       (func $g (param i32) (local ${'i64 '.repeat(400)}) ${COUNT} (call $f (i32.const 1)))`,
    ],
    [
      'through a table',
      `${table('$f $g')} (type $t (func (param i32)))
       (func $f (export "run") (param i32) ${COUNT} (call_indirect (type $t) (i32.const 1) (i32.const 1)))
       (func $g (param i32) (local ${'i64 '.repeat(30)}) (call_indirect (type $t) (i32.const 2) (i32.const 0)))`,
    ],
    [
      'beyond a function that is not counted',
      `(func (export "run") (param i32) (local ${'i64 '.repeat(99)}) (call $to (local.get 0)))
       (func $to (param i32) (call $f (local.get 0)))
       (func $f (param i32) ${COUNT} (call $f (local.get 0)))`,
    ],
    [
      'with a host function called through the table on the way',
      `(import "host" "ask" (func $ask (param i32) (result i32))) ${table('$ask $f')}
       (type $t (func (param i32) (result i32)))
       (func $f (export "run") (param i32) (result i32) ${COUNT}
         (drop (call_indirect (type $t) (i32.const 7) (i32.const 0)))
         (call_indirect (type $t) (i32.const 7) (i32.const 1)))`,
    ],
    [
      'in a chain that is counted for its length alone',
      `(func (export "run") (local ${'i64 '.repeat(20_000)}) ${COUNT} (call $g))
       (func $g (local ${'i64 '.repeat(30_000)}) ${COUNT} (call $h))
       (func $h (local ${'i64 '.repeat(40_000)}) ${COUNT})`,
    ],
  ]
  test.each(cases)('%s', (_name, fields) => {
    const wat = `(module ${fields}
      (global $depth (export "depth") (mut i32) (i32.const 0)))`
    for (const stackBytes of [1_000, 20_000, 200_000]) {
      const { interpreted, compiled } = formsOf(wat, stackBytes)
      const depth = depthOf(compiled as Uint8Array<ArrayBuffer>)
      expect(depth).toBe(depthOf(interpreted as Uint8Array<ArrayBuffer>))
    }
  })
})

test('what is at the limits of ingest when it is rewritten can be loaded all the same', () => {
  const { typesMax, functionsMax, exportsMax, typeParamsMax } = MODULE_LIMITS
  const exported = Array.from({ length: exportsMax }, (_, at) => `(export "e${at}" (func ${at}))`)
  const wat = `(module
    (type (func)) (type (func (param ${'i32 '.repeat(typeParamsMax)})))
    ${Array.from({ length: typesMax - 2 }, (_, at) => `(type (func (param ${'i64 '.repeat(at % 8)})))`).join('')}
    (table 1 funcref) (elem (i32.const 0) 0 1)
    (func (type 0) (call_indirect (type 0) (i32.const 0)))
    (func (type 1) (call 0))
    ${'(func (type 0) (call 0))'.repeat(functionsMax - 2)} ${exported.join('')})`
  const module = normalised(wat)
  const forms = [
    safeguardModule(module, 100_000) ?? module.bytes,
    safeguardForCompiler(module, { stackBytes: 100_000, measured: null, polls: true }).bytes,
  ]
  for (const bytes of forms) {
    expect(decodeDeclarations(bytes).functions.length).toBeGreaterThan(functionsMax)
  }
})

/** What the host hears of a program, and how each call of an export ends. */
function observe(bytes: Uint8Array<ArrayBuffer>): { ends: string[]; overflown: number } {
  const module = new WebAssembly.Module(bytes)
  const names = WebAssembly.Module.exports(module).map(({ name }) => name)
  let overflown = 0
  const ends = names
    .filter((name) => /^f\d$/.test(name))
    .map((name) => {
      let heard = 0
      const step = (id: number) => {
        heard = (Math.imul(heard, 31) + id + 1) | 0
      }
      const exports = instantiate(bytes, {
        poll: () => {},
        step,
        ask: (value: number) => value ^ 5,
      })
      const end = endOf(() => exports[name]?.())
      if (exports[DEPTH_EXPORT]?.() === OVERFLOWN) overflown += 1
      return `${name}: ${end}, heard ${heard}, ${exports[DEPTH_EXPORT]?.() === OVERFLOWN}`
    })
  return { ends, overflown }
}

function endOf(call: () => unknown): string {
  try {
    return String(call())
  } catch (thrown) {
    // Behind the parenthesis the engine says where, which differs when functions are added.
    return String(thrown).replace(/ \(evaluating.*$/s, '')
  }
}

const seeds = Array.from({ length: 150 }, (_, at) => at + 1)

test('random programs of calls do the same in both forms, to the very call that has no stack left', () => {
  let calls = 0
  let overflown = 0
  for (const seed of seeds) {
    const wat = randomCalls(seed)
    for (const stackBytes of [700, 3_000, 30_000]) {
      const { interpreted, compiled } = formsOf(wat, stackBytes)
      const one = observe(interpreted as Uint8Array<ArrayBuffer>)
      const other = observe(compiled as Uint8Array<ArrayBuffer>)
      expect([seed, stackBytes, other.ends]).toEqual([seed, stackBytes, one.ends])
      calls += one.ends.length
      overflown += one.overflown
    }
  }
  // That they agree must not come of their ending at once, or of their always having enough.
  expect(overflown).toBeGreaterThan(calls / 10)
  expect(overflown).toBeLessThan((9 * calls) / 10)
}, 120_000)

/** The module with each poll replaced by a call of the host, which is as long with what fills it up. */
function withPollsHeard(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const heard = Uint8Array.of(0x10, POLL_FUNCTION, ...Array<number>(POLL.length - 2).fill(0x01))
  const out = bytes.slice()
  for (let at = Buffer.from(out.buffer).indexOf(POLL); at >= 0;) {
    out.set(heard, at)
    at = Buffer.from(out.buffer).indexOf(POLL, at + POLL.length)
  }
  return out
}

/** Entries and exits of functions that such small programs may go through between polls, and those they must try. */
const unpolledStepsMax = 200

test('random programs of calls poll often, however they recurse', () => {
  let longest = 0
  let steps = 0
  for (const seed of seeds) {
    const settings = { stackBytes: 20_000, measured: null, polls: true }
    const { bytes } = safeguardForCompiler(normalised(randomCalls(seed)), settings)
    let since = 0
    const host = {
      poll: () => {
        since = 0
      },
      step: () => {
        steps += 1
        since += 1
        longest = Math.max(longest, since)
      },
      ask: (value: number) => value ^ 5,
    }
    endOf(() => instantiate(withPollsHeard(bytes), host)['f0']?.())
    expect([seed, longest < unpolledStepsMax]).toEqual([seed, true])
  }
  expect(steps).toBeGreaterThan(1_000 * unpolledStepsMax)
}, 120_000)
