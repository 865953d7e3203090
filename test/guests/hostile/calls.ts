/** Guests that abuse what the host gives them: logs, WASI, pointers that wrap, lists that never end. */

import { HOST_IMPORTS } from '../../../src/wasm/host-imports.ts'
import type { HostImport } from '../../../src/wasm/host-imports.ts'
import {
  answers,
  edgefn,
  EMPTY_RESPONSE,
  fails,
  guest,
  LOG,
  quoted,
  survives,
  wagi,
  wasi,
} from './guest.ts'
import type { Expectation, HostileGuest } from './guest.ts'

/** Host functions that return to the guest whatever they are given. */
const RETURNING = HOST_IMPORTS.filter(({ name }) => name !== 'proc_exit' && name !== 'abort')

function imports(functions: readonly HostImport[]): string {
  return functions
    .map(
      ({ module, name, params, results }) =>
        `(import "${module}" "${name}" (func $${module}.${name}
          (param ${params.join(' ')}) (result ${results.join(' ')})))`,
    )
    .join(' ')
}

/** Calls of all `functions` with the same value for every parameter. */
function callsWith(functions: readonly HostImport[], value: string): string {
  return functions
    .map(({ module, name, params, results }) => {
      const given = params.map((type) => `(${type}.const ${type.startsWith('f') ? '1' : value})`)
      return `(call $${module}.${name} ${given.join(' ')}) ${'drop '.repeat(results.length)}`
    })
    .join('\n')
}

const WASI_FUNCTIONS = RETURNING.filter(({ module }) => module === 'wasi_snapshot_preview1')
/** edgefn's own and AssemblyScript's; those of other ABIs need modules of their shapes. */
const OTHERS = RETURNING.filter(
  ({ module, name }) => module === 'edgefn' || (module === 'env' && !name.startsWith('extism_')),
)

/** WASI answers a bad pointer with an errno, so the guest survives; the other functions may trap. */
const WILD: readonly HostileGuest[] = [
  ...['0', '-1', '1', '-8', '262143', '262144', '2147483647', '-2147483648'].map((value) =>
    guest(
      `every WASI function with ${value} for each argument`,
      edgefn(`${callsWith(WASI_FUNCTIONS, value)} ${EMPTY_RESPONSE}`, {
        imports: imports(WASI_FUNCTIONS),
      }),
      answers(200),
    ),
  ),
  ...OTHERS.map((each) =>
    guest(
      `${each.module}.${each.name} with -1 for each argument`,
      edgefn(`${callsWith([each], '-1')} ${EMPTY_RESPONSE}`, { imports: imports([each]) }),
      survives,
    ),
  ),
]

const VECTORS = `(loop $next
  (i32.store (local.get $i) (i32.const 0))
  (i32.store offset=4 (local.get $i) (i32.const -1))
  (local.set $i (i32.add (local.get $i) (i32.const 8)))
  (br_if $next (i32.lt_u (local.get $i) (i32.const 8192))))`

const POLL = '(call $poll_oneoff (i32.const 0) (i32.const 65536) (i32.const 1) (i32.const 60000))'

/** `count` subscriptions from address 0 on that all wait `ns` of the monotonic clock. */
function subscriptions(count: number, ns: string, flags = 0): string {
  return `(loop $next
    (i32.store offset=16 (local.get $i) (i32.const 1))
    (i64.store offset=24 (local.get $i) (i64.const ${ns}))
    (i32.store16 offset=40 (local.get $i) (i32.const ${flags}))
    (local.set $i (i32.add (local.get $i) (i32.const 48)))
    (br_if $next (i32.lt_u (local.get $i) (i32.const ${count * 48}))))
    (drop (call $poll_oneoff (i32.const 0) (i32.const 65536) (i32.const ${count}) (i32.const 60000)))`
}

const TIMEOUT = fails('execution_timeout')
const ANSI = '\x1b[2J\x07 "}\n{"level":"error","message":"forged"}\r\n\0\u2028'

const WITH_WASI: readonly (readonly [string, string, Parameters<typeof wasi>, Expectation])[] = [
  ['a wait until the end of time', subscriptions(1, '-1'), ['poll_oneoff'], TIMEOUT],
  [
    'a wait until an hour that comes after all',
    subscriptions(1, '9223372036854775807', 1),
    ['poll_oneoff'],
    TIMEOUT,
  ],
  ['1024 waits until the end of time', subscriptions(1024, '-1'), ['poll_oneoff'], TIMEOUT],
  [
    '1025 subscriptions, one too many',
    `${subscriptions(1025, '0')} ${EMPTY_RESPONSE}`,
    ['poll_oneoff'],
    answers(200),
  ],
  [
    'four billion subscriptions',
    `(drop (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 0))) ${EMPTY_RESPONSE}`,
    ['poll_oneoff'],
    answers(200),
  ],
  [
    'a poll of a clock that does not exist',
    `(i32.store offset=16 (i32.const 0) (i32.const 99)) (drop ${POLL}) ${EMPTY_RESPONSE}`,
    ['poll_oneoff'],
    answers(200),
  ],
  [
    'a poll of an event that does not exist',
    `(i32.store8 offset=8 (i32.const 0) (i32.const 255)) (drop ${POLL}) ${EMPTY_RESPONSE}`,
    ['poll_oneoff'],
    answers(200),
  ],
  [
    'a poll that reports into nowhere',
    `(drop (call $poll_oneoff (i32.const 0) (i32.const -1) (i32.const 1) (i32.const -1))) ${EMPTY_RESPONSE}`,
    ['poll_oneoff'],
    answers(200),
  ],
  [
    '1024 pieces of four gigabytes to write',
    `${VECTORS} (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1024) (i32.const 9000))) ${EMPTY_RESPONSE}`,
    ['fd_write'],
    answers(200),
  ],
  [
    'four billion pieces to write',
    `(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 9000))) ${EMPTY_RESPONSE}`,
    ['fd_write'],
    answers(200),
  ],
  [
    '1024 pieces of four gigabytes to read into',
    `${VECTORS} (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 9000))) ${EMPTY_RESPONSE}`,
    ['fd_read'],
    answers(200),
  ],
  [
    'random bytes for more than its memory',
    `(if (i32.ne (call $random_get (i32.const 1) (i32.const 262144)) (i32.const 21)) (then (unreachable))) (if (i32.ne (call $random_get (i32.const -1) (i32.const -1)) (i32.const 21)) (then (unreachable))) ${EMPTY_RESPONSE}`,
    ['random_get'],
    answers(200),
  ],
  [
    'arguments and environment at the end of memory',
    `(drop (call $args_get (i32.const 262143) (i32.const 262140))) (drop (call $environ_get (i32.const 262143) (i32.const -1))) ${EMPTY_RESPONSE}`,
    ['args_get', 'environ_get'],
    answers(200),
  ],
  [
    'the same stream closed a thousand times',
    `(loop $again (drop (call $fd_close (local.get $i))) (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $again (i32.lt_u (local.get $i) (i32.const 1000)))) ${EMPTY_RESPONSE}`,
    ['fd_close'],
    answers(200),
  ],
]

/** Logs `length` bytes from 0 on, for ever. */
function logging(length: number, level = '1'): string {
  return `(loop $again (call $log (i32.const ${level}) (i32.const 0) (i32.const ${length})) (br $again))
    (unreachable)`
}

const LOGS: readonly HostileGuest[] = [
  guest('a flood of log messages', edgefn(logging(10), { imports: LOG }), TIMEOUT),
  guest(
    'a flood of log messages as long as there are',
    edgefn(logging(2048), { imports: LOG }),
    TIMEOUT,
  ),
  guest('a flood of empty log messages', edgefn(logging(0), { imports: LOG }), TIMEOUT),
  guest('log messages of four gigabytes', edgefn(logging(-1), { imports: LOG }), TIMEOUT),
  guest(
    'log messages of levels that do not exist',
    edgefn(logging(1, '-77'), { imports: LOG }),
    TIMEOUT,
  ),
  guest(
    'log messages that forge others, ring the bell and are no UTF-8',
    edgefn(
      `(call $log (i32.const 3) (i32.const 131072) (i32.const 60))
       (call $log (i32.const 3) (i32.const 131200) (i32.const 6)) ${EMPTY_RESPONSE}`,
      {
        imports: LOG,
        fields: `(data (i32.const 131072) ${quoted(ANSI)}) (data (i32.const 131200) "\\ff\\fe\\c0\\80\\ed\\a0")`,
      },
    ),
    answers(200),
  ),
  guest(
    'a flood of lines on stderr',
    edgefn(
      `(memory.fill (i32.const 65536) (i32.const 10) (i32.const 65536))
       (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 65536))
       (loop $again (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
         (br $again)) (unreachable)`,
      { imports: wasi('fd_write') },
    ),
    TIMEOUT,
  ),
  guest(
    'a line on stderr that never ends, byte by byte',
    wagi(
      `(i32.store (i32.const 4) (i32.const 1))
       (loop $again (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
         (br $again)) (unreachable)`,
      { imports: wasi('fd_write') },
    ),
    TIMEOUT,
  ),
]

export const CALLS: readonly HostileGuest[] = [
  ...WITH_WASI.map(([what, body, names, expects]) =>
    guest(
      what,
      edgefn(`${body} ${expects === TIMEOUT ? '(unreachable)' : ''}`, { imports: wasi(...names) }),
      expects,
    ),
  ),
  ...LOGS,
  ...WILD,
]
