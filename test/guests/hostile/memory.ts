/** Guests that go after memory: growing, touching, reading and writing where they may not. */

import { ALLOC, answers, edgefn, EMPTY_RESPONSE, fails, guest, handler, unfit } from './guest.ts'
import type { HostileGuest } from './guest.ts'

const GROW_ALL = '(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))'
const TOUCH_ALL = `(loop $touch
  (i32.store (local.get $i) (i32.const -1))
  (local.set $i (i32.add (local.get $i) (i32.const 4096)))
  (br_if $touch (i32.lt_u (local.get $i) (i32.shl (memory.size) (i32.const 16)))))`

const TRAPS: readonly (readonly [string, string])[] = [
  ['a load behind the end', '(drop (i32.load (i32.shl (memory.size) (i32.const 16))))'],
  [
    'a load across the end',
    '(drop (i64.load (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 7))))',
  ],
  ['a load whose offset wraps around', '(drop (i32.load offset=4294967295 (i32.const 16)))'],
  ['a load at the highest address there is', '(drop (i64.load offset=4294967295 (i32.const -1)))'],
  [
    'a load where the host keeps its stop page',
    '(drop (i32.load offset=0xFFFFFFF0 (i32.const -131008)))',
  ],
  [
    'a store at the highest address there is',
    '(i64.store offset=4294967295 (i32.const -1) (i64.const 1))',
  ],
  ['a vector store across the end', '(v128.store (i32.const 262143) (local.get $v))'],
  ['a memory.fill that wraps around', '(memory.fill (i32.const 16) (i32.const 1) (i32.const -1))'],
  ['a memory.copy that wraps around', '(memory.copy (i32.const -1) (i32.const 0) (i32.const 2))'],
  [
    'a memory.init behind its segment',
    '(memory.init $d (i32.const 0) (i32.const 2) (i32.const 2))',
  ],
  [
    'a memory.init of a segment that was dropped',
    '(data.drop $d) (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))',
  ],
]

/** Its address is that of the request buffer, then of the response buffer. */
function allocating(title: string, body: string, expects: HostileGuest['expects'], changes = {}) {
  const source = `(module (memory (export "memory") 4)
    (global $calls (mut i32) (i32.const 0))
    (func $alloc (export "alloc") (param $size i32) (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1))) ${body})
    ${handler(EMPTY_RESPONSE)})`
  return guest(title, source, expects, changes)
}

const ALLOCATORS: readonly HostileGuest[] = [
  allocating('an alloc that always answers 0', '(i32.const 0)', unfit('memory_limit')),
  allocating('an alloc that answers -1', '(i32.const -1)', unfit('memory_limit')),
  allocating(
    'an alloc that answers the end of memory',
    '(i32.const 262144)',
    unfit('memory_limit'),
  ),
  allocating(
    'an alloc whose buffer lies across the end',
    '(i32.const 262143)',
    unfit('memory_limit'),
  ),
  allocating('an alloc that traps', '(unreachable)', unfit('function_trap')),
  allocating('an alloc that answers the same address always', '(i32.const 7)', answers(200)),
  allocating(
    'an alloc that fails from the third call on',
    `(if (i32.gt_u (global.get $calls) (i32.const 2)) (then (unreachable)))
     (i32.mul (global.get $calls) (i32.const 65536))`,
    fails('function_trap'),
    { bodyBytesStep: 8192 },
  ),
  allocating(
    'an alloc that takes a page for each byte',
    '(drop (memory.grow (local.get $size))) (i32.const 4096)',
    answers(200),
  ),
  guest(
    'a request that grows until alloc has no more to give',
    edgefn(EMPTY_RESPONSE),
    fails('memory_limit'),
    { bodyBytesStep: 1_500_000, memory_pages: 8 },
  ),
  guest(
    'an alloc that is a host function',
    `(module (import "wasi_snapshot_preview1" "fd_close" (func $f (param i32) (result i32)))
       (memory (export "memory") 4) (export "alloc" (func $f)) ${handler(EMPTY_RESPONSE)})`,
    answers(200),
  ),
]

export const MEMORIES: readonly HostileGuest[] = [
  ...TRAPS.map(([what, body]) =>
    guest(
      what,
      edgefn(`${body} (unreachable)`, { fields: '(data $d "abc")' }),
      fails('function_trap'),
    ),
  ),
  ...ALLOCATORS,
  guest(
    'memory grown to its limit, every page touched, then a trap',
    edgefn(`${GROW_ALL} ${TOUCH_ALL} (unreachable)`),
    fails('memory_limit'),
    { memory_pages: 256 },
  ),
  guest(
    'memory grown to its limit and every page touched, again and again',
    edgefn(`${GROW_ALL} ${TOUCH_ALL} ${EMPTY_RESPONSE}`),
    answers(200),
    { memory_pages: 256 },
  ),
  guest(
    'a storm of memory.grow that asks for far too much',
    edgefn('(loop $again (drop (memory.grow (i32.const 65535))) (br $again)) (unreachable)'),
    fails('execution_timeout'),
  ),
  guest(
    'a storm of memory.grow by no page',
    edgefn('(loop $again (drop (memory.grow (i32.const 0))) (br $again)) (unreachable)'),
    fails('execution_timeout'),
  ),
  guest(
    'memory grown while the start function runs',
    edgefn(EMPTY_RESPONSE, {
      fields: `(func $begin (local $i i32) ${GROW_ALL} ${TOUCH_ALL}) (start $begin)`,
    }),
    answers(200),
    { memory_pages: 256 },
  ),
  guest(
    'memory that is exported under two names',
    edgefn(EMPTY_RESPONSE, { fields: '(export "memory2" (memory 0))' }),
    answers(200),
  ),
  guest(
    'a memory of no page that never grows',
    `(module (memory (export "memory") 0) ${ALLOC.replaceAll('memory.grow', 'i32.clz')} ${handler(EMPTY_RESPONSE)})`,
    unfit('memory_limit'),
  ),
  guest(
    'a memory that may grow to four gigabytes, and tries',
    edgefn(
      `(if (i32.ne (memory.grow (i32.const 60000)) (i32.const -1)) (then (unreachable)))
      ${EMPTY_RESPONSE}`,
      { memory: '(memory (export "memory") 4 65536)' },
    ),
    answers(200),
  ),
  guest(
    'ten tables grown as far as they go',
    edgefn(
      `${Array.from({ length: 10 }, (_, i) => `(loop $more (br_if $more (i32.ne (table.grow ${i} (ref.null func) (i32.const 1000)) (i32.const -1))))`).join('')}
       ${EMPTY_RESPONSE}`,
      { fields: '(table 1 funcref)'.repeat(10) },
    ),
    answers(200),
  ),
]
