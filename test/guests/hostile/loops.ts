/** Guests that never end: every kind of loop, in every place that runs, with and without branches and host calls. */

import {
  ALLOC,
  edgefn,
  EMPTY_RESPONSE,
  fails,
  guest,
  handler,
  MEMORY,
  REQUEST_ID,
  RESPONSE,
  unfit,
  wagi,
  wasi,
} from './guest.ts'
import type { HostileGuest } from './guest.ts'

const FOREVER = '(loop $again (br $again)) (unreachable)'
const TIMEOUT = fails('execution_timeout')

/** The body of `handle` runs for ever, one way or another. */
const IN_HANDLE: readonly (readonly [string, string, { imports?: string; fields?: string }?])[] = [
  ['br', FOREVER],
  ['br_if', '(loop $again (br_if $again (i32.const 1))) (unreachable)'],
  ['br_table', '(loop $again (br_table $again $again (i32.const 7))) (unreachable)'],
  [
    'a br_table of 60 000 targets',
    `(loop $again (br_table ${'$again '.repeat(60_000)} (i32.const 59999))) (unreachable)`,
  ],
  [
    'nested loops that count to four billion',
    `(loop $outer (local.set $i (i32.const 0))
       (loop $inner (local.set $i (i32.add (local.get $i) (i32.const 1)))
         (br_if $inner (local.get $i)))
       (br $outer)) (unreachable)`,
  ],
  [
    'a block left from 5000 deep',
    `(loop $again ${'(block '.repeat(5000)} (br 5000) ${')'.repeat(5000)}) (unreachable)`,
  ],
  [
    'straight code of 100 000 additions',
    `(loop $again ${'(local.set $n (i64.add (local.get $n) (i64.const 3)))'.repeat(100_000)}
       (br $again)) (unreachable)`,
  ],
  [
    'calls of a function that does nothing',
    '(loop $again (call $nothing) (br $again)) (unreachable)',
    { fields: '(func $nothing)' },
  ],
  [
    'calls through a table',
    '(loop $again (call_indirect (i32.const 0)) (br $again)) (unreachable)',
    { fields: '(table 1 1 funcref) (elem (i32.const 0) $nothing) (func $nothing)' },
  ],
  [
    'calls of a host function through a table',
    `(loop $again (drop (call_indirect (result i32) (i32.const 0))) (br $again)) (unreachable)`,
    {
      imports: wasi('sched_yield'),
      fields: '(table 1 1 funcref) (elem (i32.const 0) $sched_yield)',
    },
  ],
  [
    'a recursion that is shallow and takes for ever',
    '(drop (call $fib (i32.const 90))) (unreachable)',
    {
      fields: `(func $fib (param i32) (result i32)
        (if (i32.lt_u (local.get 0) (i32.const 2)) (then (return (i32.const 1))))
        (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
          (call $fib (i32.sub (local.get 0) (i32.const 2)))))`,
    },
  ],
  [
    'a chain of calls that doubles sixty times',
    '(call $f0) (unreachable)',
    {
      fields: `${Array.from({ length: 60 }, (_, i) => `(func $f${i} (call $f${i + 1}) (call $f${i + 1}))`).join('')}
        (func $f60)`,
    },
  ],
  [
    'the clock',
    `(loop $again (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 0)))
       (br $again)) (unreachable)`,
    { imports: wasi('clock_time_get') },
  ],
  [
    'sched_yield',
    '(loop $again (drop (call $sched_yield)) (br $again)) (unreachable)',
    { imports: wasi('sched_yield') },
  ],
  [
    'random bytes for its whole memory',
    `(loop $again (drop (call $random_get (i32.const 0) (i32.const 262144)))
       (br $again)) (unreachable)`,
    { imports: wasi('random_get') },
  ],
  [
    'the request id',
    `(loop $again (drop (call $request_id (i32.const 0) (i32.const 64))) (br $again))
     (unreachable)`,
    { imports: REQUEST_ID },
  ],
  [
    'reads of an empty stdin',
    `(i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 64))
     (loop $again (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
       (br $again)) (unreachable)`,
    { imports: wasi('fd_read') },
  ],
  [
    'waits of a millisecond',
    `(i32.store8 offset=8 (i32.const 0) (i32.const 0)) (i32.store offset=16 (i32.const 0) (i32.const 1))
     (i64.store offset=24 (i32.const 0) (i64.const 1000000))
     (loop $again (drop (call $poll_oneoff (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 192)))
       (br $again)) (unreachable)`,
    { imports: wasi('poll_oneoff') },
  ],
  [
    'vectors',
    `(loop $again (local.set $v (i8x16.add (i16x8.mul (local.get $v) (local.get $v))
       (v128.const i64x2 -1 3))) (br $again)) (unreachable)`,
  ],
  [
    'square roots and not-a-numbers',
    `(local.set $x (f64.const -1))
     (loop $again (local.set $x (f64.div (f64.sqrt (local.get $x)) (f64.const 0)))
       (br_if $again (f64.ne (local.get $x) (local.get $x)))
       (br $again)) (unreachable)`,
  ],
  [
    'writes over all its memory',
    `(loop $again (i32.store (i32.and (local.get $i) (i32.const 262140)) (local.get $i))
       (local.set $i (i32.add (local.get $i) (i32.const 4))) (br $again)) (unreachable)`,
  ],
  [
    'a table that it sets and grows by nothing',
    `(loop $again (table.set 0 (i32.const 0) (ref.func $handle))
       (drop (table.grow 0 (ref.null func) (i32.const 0))) (br $again)) (unreachable)`,
    { fields: '(table 1 1 funcref) (elem declare func $handle)' },
  ],
  [
    'an empty 200 that is sent first',
    `(drop (call $response_head (i32.const 200) (i32.const 0) (i32.const 0)))
     (drop (call $response_write (i32.const 0) (i32.const 5))) ${FOREVER}`,
    { imports: RESPONSE },
  ],
]

/** Long operations in a row, each as long as a memory or table is large. */
const PAGES = 256
const LONG: readonly (readonly [string, string, string])[] = [
  ['memory.fill', '(memory.fill (i32.const 0) (i32.const 1) (i32.const 16777216))', ''],
  ['memory.copy', '(memory.copy (i32.const 1) (i32.const 0) (i32.const 16777215))', ''],
  [
    'memory.init',
    '(memory.init $d (i32.const 0) (i32.const 0) (i32.const 1000000))',
    `(data $d "${'x'.repeat(1_000_000)}")`,
  ],
  [
    'table.fill',
    '(table.fill 0 (i32.const 0) (ref.null func) (i32.const 100000))',
    '(table 100000 funcref)',
  ],
  [
    'table.copy',
    '(table.copy 0 0 (i32.const 1) (i32.const 0) (i32.const 99999))',
    '(table 100000 funcref)',
  ],
  [
    'table.init',
    '(table.init 0 $e (i32.const 0) (i32.const 0) (i32.const 100000))',
    `(table 100000 funcref) (elem $e func ${'$alloc '.repeat(100_000)})`,
  ],
]

const IN_OTHER_PLACES: readonly HostileGuest[] = [
  guest(
    'a loop in alloc',
    `(module ${MEMORY} (func (export "alloc") (param i32) (result i32) ${FOREVER})
       ${handler('(i32.const 0)')})`,
    unfit('execution_timeout'),
  ),
  guest(
    'a loop in _initialize',
    edgefn('(i32.const 0)', { fields: `(func (export "_initialize") ${FOREVER})` }),
    unfit('execution_timeout'),
  ),
  guest(
    'a loop in _start of a module of the edgefn ABI',
    edgefn('(i32.const 0)', { fields: `(func (export "_start") ${FOREVER})` }),
    unfit('execution_timeout'),
  ),
  guest(
    'a loop in the start function',
    edgefn('(i32.const 0)', { fields: `(func $begin ${FOREVER}) (start $begin)` }),
    unfit('execution_timeout'),
  ),
  guest(
    'a loop in the start function of a WAGI module',
    wagi('', { fields: `(func $begin ${FOREVER}) (start $begin)` }),
    unfit('execution_timeout'),
  ),
  guest('a loop in a WAGI command', wagi(FOREVER), TIMEOUT),
  guest(
    'a loop in alloc when the request buffer grows',
    `(module ${MEMORY} (global $calls (mut i32) (i32.const 0))
       (func (export "alloc") (param i32) (result i32)
         (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
         (if (i32.gt_u (global.get $calls) (i32.const 2)) (then ${FOREVER}))
         (i32.mul (global.get $calls) (i32.const 65536)))
       ${handler(EMPTY_RESPONSE)})`,
    TIMEOUT,
    { bodyBytesStep: 8192 },
  ),
  guest(
    'a start function as slow as it may be, in every request',
    wagi('(drop (call $alloc (i32.const 1)))', {
      fields: `${ALLOC} (func $begin (local $i i32) (loop $again
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $i) (i32.const 300000))))) (start $begin)`,
    }),
    fails('invalid_response', 'execution_timeout'),
  ),
]

export const LOOPS: readonly HostileGuest[] = [
  ...IN_HANDLE.map(([what, body, parts = {}]) =>
    guest(`a loop of ${what}`, edgefn(body, parts), TIMEOUT),
  ),
  ...LONG.map(([what, operation, fields]) =>
    guest(
      `a row of 20 000 times ${what} over all there is`,
      edgefn(`${operation.repeat(20_000)} ${EMPTY_RESPONSE}`, {
        fields,
        memory: `(memory (export "memory") ${PAGES})`,
      }),
      TIMEOUT,
      { memory_pages: PAGES },
    ),
  ),
  ...IN_OTHER_PLACES,
]
