/** Guests that go after the stack: recursion of every kind, and depth without any recursion. */

import {
  answers,
  edgefn,
  EMPTY_RESPONSE,
  fails,
  guest,
  handler,
  LOG,
  MEMORY,
  survives,
  unfit,
  wagi,
  wasi,
} from './guest.ts'
import type { HostileGuest } from './guest.ts'

const OVERFLOW = fails('stack_overflow')

function names(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `$f${i}`)
}

/** Functions in a row, each calling the next one; `locals` is a list of types. */
function chain(count: number, locals: string, last: string): string {
  const links = names(count).map((name, i) => {
    const next = i + 1 < count ? `(call $f${i + 1})` : last
    return `(func ${name} (local ${locals}) ${next})`
  })
  return links.join('')
}

const RECURSIONS: readonly (readonly [string, string, string])[] = [
  ['of a function that calls itself', '(call $f)', '(func $f (call $f))'],
  [
    'with parameters and a result',
    '(drop (call $f (i32.const 1) (i64.const 2)))',
    `(func $f (param i32 i64) (result i64)
       (i64.add (call $f (local.get 0) (local.get 1)) (i64.const 1)))`,
  ],
  [
    'around a ring of three',
    '(call $a)',
    '(func $a (call $b)) (func $b (call $c)) (func $c (call $a))',
  ],
  ['around a ring of 2000', '(call $f0)', chain(2000, 'i32', '(call $f0)')],
  [
    'through a table',
    '(call $f)',
    '(table 1 funcref) (elem (i32.const 0) $f) (func $f (call_indirect (i32.const 0)))',
  ],
  [
    'through a table that is filled while it runs',
    '(table.set 0 (i32.const 0) (ref.func $f)) (call $f)',
    '(table 1 funcref) (elem declare func $f) (func $f (call_indirect (i32.const 0)))',
  ],
  [
    'through a table that is grown while it runs',
    '(drop (table.grow 0 (ref.func $f) (i32.const 1))) (call $f)',
    '(table 0 funcref) (elem declare func $f) (func $f (call_indirect (i32.const 0)))',
  ],
  [
    'through a reference in a global',
    '(table.set 0 (i32.const 0) (global.get $g)) (call $f)',
    `(table 1 funcref) (global $g funcref (ref.func $f))
     (func $f (call_indirect (i32.const 0)))`,
  ],
  [
    'of the entrypoint itself',
    `(call $handle (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
       (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (drop)`,
    '',
  ],
  ['with 40 000 locals', '(call $f)', `(func $f (local ${'i64 '.repeat(40_000)}) (call $f))`],
  ['with 5000 vectors', '(call $f)', `(func $f (local ${'v128 '.repeat(5000)}) (call $f))`],
  [
    'with 1000 parameters and results',
    `${'(i32.const 0)'.repeat(1000)} (call $f) ${'drop '.repeat(1000)}`,
    `(type $t (func (param ${'i32 '.repeat(1000)}) (result ${'i32 '.repeat(1000)})))
     (func $f (type $t)
       ${Array.from({ length: 1000 }, (_, i) => `(local.get ${i})`).join('')} (call $f))`,
  ],
  [
    'with 20 000 operands below the call',
    '(call $f)',
    `(func $f ${'(i32.const 1)'.repeat(20_000)} (call $f) ${'drop '.repeat(20_000)})`,
  ],
  [
    'out of nested blocks with parameters',
    '(drop (call $f (i32.const 1)))',
    `(type $t (func (param i32) (result i32)))
     (func $f (type $t) (local.get 0)
       (block (type $t) (loop (type $t) (if (type $t) (i32.const 1) (then (call $f)) (else)))))`,
  ],
  [
    'by a branch to the label of the function',
    '(call $f)',
    '(func $f (block (br_if 0 (i32.const 0)) (call $f) (br 1)))',
  ],
]

const HOST_CALLS: readonly (readonly [string, string, string])[] = [
  [
    'a look at the clock',
    wasi('clock_time_get'),
    '(drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 0)))',
  ],
  ['a log message', LOG, '(call $log (i32.const 1) (i32.const 0) (i32.const 2048))'],
  ['random bytes', wasi('random_get'), '(drop (call $random_get (i32.const 0) (i32.const 1000)))'],
  [
    'the environment',
    wasi('environ_get'),
    '(drop (call $environ_get (i32.const 0) (i32.const 4096)))',
  ],
]

export const STACK: readonly HostileGuest[] = [
  ...RECURSIONS.map(([what, body, fields]) =>
    guest(`recursion ${what}`, edgefn(`${body} (unreachable)`, { fields }), OVERFLOW),
  ),
  ...HOST_CALLS.map(([what, imports, call]) =>
    guest(
      `recursion with ${what} at every depth`,
      edgefn('(call $f) (unreachable)', { imports, fields: `(func $f ${call} (call $f))` }),
      // What the host has no stack left for is a trap.
      fails('stack_overflow', 'function_trap'),
    ),
  ),
  guest(
    'recursion in the start function',
    edgefn('(i32.const 0)', { fields: '(func $f (call $f)) (start $f)' }),
    unfit('function_trap', 'stack_overflow'),
  ),
  guest(
    'recursion in _initialize',
    edgefn('(i32.const 0)', { fields: '(func $f (export "_initialize") (call $f))' }),
    unfit('stack_overflow'),
  ),
  guest(
    'recursion in alloc',
    `(module ${MEMORY} (func $alloc (export "alloc") (param i32) (result i32)
       (call $alloc (local.get 0))) ${handler('(i32.const 0)')})`,
    unfit('stack_overflow'),
  ),
  guest('recursion of a WAGI command', wagi('(call $start)'), OVERFLOW),
  guest(
    'a chain of 5000 calls without recursion, each with 200 locals',
    edgefn(`(call $f0) ${EMPTY_RESPONSE}`, { fields: chain(5000, 'i64 '.repeat(200), '') }),
    survives,
  ),
  guest(
    'a chain of 20 calls without recursion, each with 49 000 locals',
    edgefn(`(call $f0) ${EMPTY_RESPONSE}`, { fields: chain(20, 'v128 '.repeat(49_000), '') }),
    survives,
  ),
  guest(
    'a recursion of 10 000 that ends, as programs have it',
    edgefn(`(drop (call $f (i32.const 10000))) ${EMPTY_RESPONSE}`, {
      fields: `(func $f (param i32) (result i32)
        (if (result i32) (local.get 0)
          (then (i32.add (call $f (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
          (else (i32.const 0))))`,
    }),
    answers(200),
  ),
  guest(
    'a million recursions one after the other',
    edgefn(`(loop $again (call $f (i32.const 3)) (br $again)) (unreachable)`, {
      fields: `(func $f (param i32)
        (if (local.get 0) (then (call $f (i32.sub (local.get 0) (i32.const 1)))))
        (return))`,
    }),
    fails('execution_timeout'),
  ),
]
