/** Guests that end badly: traps of every kind, exits everywhere, results that make no sense, starts that fail. */

import {
  answers,
  edgefn,
  EMPTY_RESPONSE,
  fails,
  guest,
  handler,
  MEMORY,
  unfit,
  wagi,
  wasi,
} from './guest.ts'
import type { HostileGuest } from './guest.ts'

const TABLE = '(table 2 funcref) (elem (i32.const 0) $nothing) (func $nothing)'

const TRAPS: readonly (readonly [string, string, string?])[] = [
  ['unreachable', '(unreachable)'],
  ['a division by zero', '(i32.div_s (i32.const 1) (local.get $i))'],
  [
    'a division that overflows',
    '(drop (i64.div_s (i64.const -9223372036854775808) (i64.const -1))) (i32.const 0)',
  ],
  ['a remainder by zero', '(drop (i64.rem_u (i64.const 1) (local.get $n))) (i32.const 0)'],
  ['a conversion of infinity', '(i32.trunc_f64_s (f64.const inf))'],
  [
    'a conversion of not-a-number',
    '(drop (i64.trunc_f32_u (f32.const nan:0x200000))) (i32.const 0)',
  ],
  ['a call of a null in a table', '(call_indirect (i32.const 1)) (i32.const 0)', TABLE],
  ['a call behind a table', '(call_indirect (i32.const -1)) (i32.const 0)', TABLE],
  ['a call of the wrong type', '(call_indirect (result i32) (i32.const 0))', TABLE],
  ['a table.get behind the end', '(drop (table.get 0 (i32.const 2))) (i32.const 0)', TABLE],
  [
    'a table.fill behind the end',
    '(table.fill 0 (i32.const 1) (ref.null func) (i32.const -1)) (i32.const 0)',
    TABLE,
  ],
  [
    'a table.copy that wraps around',
    '(table.copy 0 0 (i32.const -1) (i32.const 0) (i32.const 2)) (i32.const 0)',
    TABLE,
  ],
  [
    'a table.init of a segment that was dropped',
    '(elem.drop $e) (table.init 0 $e (i32.const 0) (i32.const 0) (i32.const 1)) (i32.const 0)',
    `${TABLE} (elem $e func $nothing)`,
  ],
]

const RESULTS: readonly (readonly [string, string, HostileGuest['expects']])[] = [
  ['the most negative length', '(i32.const -2147483648)', fails('function_error')],
  ['the largest length', '(i32.const 2147483647)', fails('invalid_response')],
  [
    'one byte more than fits',
    '(i32.add (local.get $capacity) (i32.const 1))',
    fails('invalid_response'),
  ],
  ['all that fits, of zeros', '(local.get $capacity)', fails('invalid_response')],
  ['nothing at all', '(i32.const 0)', fails('invalid_response')],
]

/** Exits with a code, where `body` runs. */
function exit(code: number): string {
  return `(call $proc_exit (i32.const ${code}))`
}

const IMPORT_EXIT = wasi('proc_exit')

const STARTS: readonly (readonly [string, string, HostileGuest['expects']])[] = [
  ['traps', '(unreachable)', unfit('function_trap')],
  ['exits with 0', exit(0), unfit('function_error', 'function_load_failed')],
  ['exits with 255', exit(255), unfit('function_error', 'function_load_failed')],
  ['exits with -1', exit(-1), unfit('function_error', 'function_load_failed')],
  ['reads behind its memory', '(drop (i32.load (i32.const -1)))', unfit('function_trap')],
]

export const ENDINGS: readonly HostileGuest[] = [
  ...TRAPS.map(([what, body, fields = '']) =>
    guest(`a trap by ${what}`, edgefn(body, { fields }), fails('function_trap')),
  ),
  ...RESULTS.map(([what, body, expects]) => guest(`a result of ${what}`, edgefn(body), expects)),
  ...STARTS.map(([what, body, expects]) =>
    guest(
      `a start function that ${what}`,
      edgefn(EMPTY_RESPONSE, {
        imports: IMPORT_EXIT,
        fields: `(func $begin ${body}) (start $begin)`,
      }),
      expects,
    ),
  ),
  guest(
    'an _initialize that traps',
    edgefn(EMPTY_RESPONSE, { fields: '(func (export "_initialize") unreachable)' }),
    unfit('function_trap'),
  ),
  guest(
    'an _initialize that exits with 1',
    edgefn(EMPTY_RESPONSE, {
      imports: IMPORT_EXIT,
      fields: `(func (export "_initialize") ${exit(1)})`,
    }),
    unfit('function_load_failed'),
  ),
  guest(
    'an alloc that exits',
    `(module ${IMPORT_EXIT} ${MEMORY} (func (export "alloc") (param i32) (result i32)
       ${exit(0)} (i32.const 65536)) ${handler(EMPTY_RESPONSE)})`,
    unfit('function_error'),
  ),
  ...[0, 1, 3, 126, 256, -1, -2147483648].map((code) =>
    guest(
      `an exit with ${code} out of the handler`,
      edgefn(`${exit(code)} ${EMPTY_RESPONSE}`, { imports: IMPORT_EXIT }),
      fails('function_error'),
    ),
  ),
  guest(
    'a WAGI command that exits with 256, whose low byte is 0',
    wagi(exit(256), { imports: IMPORT_EXIT }),
    fails('function_error'),
  ),
  guest('a WAGI command that says nothing', wagi(''), fails('invalid_response')),
  guest(
    'a WAGI command whose start function exits before _start',
    wagi('(unreachable)', {
      imports: IMPORT_EXIT,
      fields: `(func $begin ${exit(0)}) (start $begin)`,
    }),
    unfit('function_error', 'invalid_response'),
  ),
  guest(
    'a data segment that lies behind the memory',
    edgefn(EMPTY_RESPONSE, { fields: '(data (i32.const 262143) "abc")' }),
    unfit('function_trap', 'function_load_failed'),
  ),
  guest(
    'a data segment at an address that wraps around',
    edgefn(EMPTY_RESPONSE, { fields: '(data (i32.const -1) "abc")' }),
    unfit('function_trap', 'function_load_failed'),
  ),
  guest(
    'an element segment that lies behind its table',
    edgefn(EMPTY_RESPONSE, { fields: '(table 1 funcref) (elem (i32.const 1) $alloc)' }),
    unfit('function_trap', 'function_load_failed'),
  ),
  guest(
    'an abort of AssemblyScript with strings that are nowhere',
    edgefn(
      `(call $abort (i32.const -1) (i32.const 3) (i32.const -1) (i32.const -1)) ${EMPTY_RESPONSE}`,
      {
        imports: '(import "env" "abort" (func $abort (param i32 i32 i32 i32)))',
      },
    ),
    fails('function_trap', 'function_error'),
  ),
  guest(
    'an abort of AssemblyScript with a string of four gigabytes',
    edgefn(
      `(i32.store (i32.const 96) (i32.const -1))
       (call $abort (i32.const 100) (i32.const 100) (i32.const -1) (i32.const -1)) ${EMPTY_RESPONSE}`,
      { imports: '(import "env" "abort" (func $abort (param i32 i32 i32 i32)))' },
    ),
    fails('function_error'),
  ),
  guest(
    'a function that traps on every second call',
    edgefn(
      `(global.set $calls (i32.add (i32.load (i32.const 0)) (i32.const 1)))
       (i32.store (i32.const 0) (global.get $calls))
       (if (i32.eqz (i32.and (global.get $calls) (i32.const 1))) (then (unreachable)))
       (unreachable)`,
      { fields: '(global $calls (mut i32) (i32.const 0))' },
    ),
    fails('function_trap'),
  ),
  guest(
    'not-a-numbers of every pattern, added and stored',
    edgefn(
      `(loop $again
         (f64.store (i32.const 0) (f64.add (f64.reinterpret_i64 (i64.or (local.get $n) (i64.const 0x7ff0000000000000)))
           (f64.reinterpret_i64 (i64.or (local.get $n) (i64.const 0xfff0000000000001)))))
         (v128.store (i32.const 16) (f32x4.max (v128.load (i32.const 0)) (f32x4.splat (f32.const nan))))
         (local.set $n (i64.add (local.get $n) (i64.const 0x3ffffffffff)))
         (br_if $again (i64.lt_u (local.get $n) (i64.const 0x000fffffffffffff))))
       ${EMPTY_RESPONSE}`,
    ),
    answers(200),
  ),
]
