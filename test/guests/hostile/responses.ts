/** Guests whose answers are an attack: on the HTTP that carries them, on the client, on the host's memory. */

import { LIMITS } from '../../../src/protocol/limits.ts'
import {
  answers,
  edgefn,
  EMPTY_RESPONSE,
  fails,
  guest,
  quoted,
  RESPONSE,
  wagi,
  wasi,
} from './guest.ts'
import type { Expectation, HostileGuest } from './guest.ts'

const INVALID = fails('invalid_response')

/** Answers `text` as it is, by a pointer to where it stands. */
function saying(title: string, text: string, expects: Expectation): HostileGuest {
  const length = new TextEncoder().encode(text).length
  const body = `(memory.copy (local.get $out) (i32.const 131072) (i32.const ${length})) (i32.const ${length})`
  const fields = `(data (i32.const 131072) ${quoted(text)})`
  // Behind the text there is room for the buffers.
  const alloc = `(global $heap (mut i32) (i32.const 262144))
    (func $alloc (export "alloc") (param $size i32) (result i32) (global.get $heap)
      (global.set $heap (i32.add (global.get $heap) (local.get $size))))`
  return guest(
    title,
    edgefn(body, { fields, alloc, memory: '(memory (export "memory") 8)' }),
    expects,
  )
}

const TEXTS: readonly (readonly [string, string, Expectation])[] = [
  ['a carriage return in a header', 'X-A: b\rSet-Cookie: c=d\r\n\r\n', INVALID],
  ['a zero byte in a header', 'X-A: b\0c\r\n\r\n', INVALID],
  ['a control character in a header', 'X-A: \x1b[31m\r\n\r\n', INVALID],
  ['a space in the name of a header', 'X A: b\r\n\r\n', INVALID],
  ['a folded header', 'X-A: b\r\n c\r\n\r\n', INVALID],
  ['a header without a name', ': b\r\n\r\n', INVALID],
  ['a header without a colon', 'HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n', INVALID],
  ['a header name outside of ASCII', 'X-\u00e4: b\r\n\r\n', INVALID],
  ['101 headers', `${'X-A: b\r\n'.repeat(LIMITS.responseHeadersMax + 1)}\r\n`, INVALID],
  ['5000 headers', `${'a:\n'.repeat(5000)}\r\n`, INVALID],
  ['a header of 65 kB', `X-A: ${'b'.repeat(65_500)}`, INVALID],
  ['no end of its header', 'X-A: b\r\n', INVALID],
  ['a status of 0', 'Status: 0\r\n\r\n', INVALID],
  ['a status of 99', 'Status: 99\r\n\r\n', INVALID],
  ['a status of 101', 'Status: 101 Switching Protocols\r\nUpgrade: x\r\n\r\n', INVALID],
  ['a status of 600', 'Status: 600\r\n\r\n', INVALID],
  ['a status of 1000', 'Status: 1000\r\n\r\n', INVALID],
  ['a status of 2e2', 'Status: 2e2\r\n\r\n', INVALID],
  ['a status in words', 'Status: OK\r\n\r\n', INVALID],
  [
    'two responses, one behind the other',
    '\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n',
    answers(200),
  ],
  [
    'a content length that is too long',
    'Content-Length: 999999\r\n\r\nshort',
    answers(200, 'short'),
  ],
  ['a content length that is too short', 'Content-Length: 1\r\n\r\nlonger', answers(200, 'longer')],
  [
    'two content lengths',
    'Content-Length: 1\r\ncontent-length: 2\r\n\r\nthree',
    answers(200, 'three'),
  ],
  [
    'a transfer encoding',
    'Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n',
    answers(200, '5\r\nabcde\r\n0\r\n\r\n'),
  ],
  [
    'hop-by-hop headers',
    'Connection: upgrade, x-a\r\nUpgrade: websocket\r\nKeep-Alive: timeout=9\r\nTE: x\r\nTrailer: y\r\nX-A: b\r\n\r\nstays',
    answers(200, 'stays'),
  ],
  [
    'names of properties of objects',
    '__proto__: a\r\nconstructor: b\r\ntoString: c\r\n\r\nfine',
    answers(200, 'fine'),
  ],
  [
    'a body for a 204',
    'Status: 204 No Content\r\nContent-Length: 5\r\n\r\nabcde',
    answers(204, ''),
  ],
  ['a body for a 304', 'Status: 304\r\nContent-Type: a\r\n\r\nabcde', answers(304, '')],
  ["someone else's request id", 'X-Request-Id: stolen\r\n\r\nfine', answers(200, 'fine')],
]

/** Writes its body in pieces of 64 KiB, `pieces` of them, through the host call. */
function writing(pieces: number): string {
  return `(loop $again (drop (call $response_write (i32.const 65536) (i32.const 65536)))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $i) (i32.const ${pieces}))))`
}

/** Every status that `response_head` has to refuse; a trap when it takes one. */
const REFUSED_STATUSES = [0, 1, 99, 100, 101, 199, 600, 999, 1000, -1, 2147483647]
  .map(
    (status) => `(if (i32.ne (call $response_head (i32.const ${status}) (i32.const 0) (i32.const 0))
      (i32.const -2)) (then (unreachable)))`,
  )
  .join('')

const HEAD = '(drop (call $response_head (i32.const 200) (i32.const 0) (i32.const 0)))'

const CALLS: readonly (readonly [string, string, Expectation])[] = [
  [
    'statuses that response_head must refuse',
    `${REFUSED_STATUSES} ${EMPTY_RESPONSE}`,
    answers(200),
  ],
  [
    'two heads',
    `${HEAD} (if (i32.ne (call $response_head (i32.const 500) (i32.const 0) (i32.const 0)) (i32.const -2)) (then (unreachable))) (i32.const 0)`,
    answers(200),
  ],
  [
    'a head behind its body',
    `(drop (call $response_write (i32.const 0) (i32.const 1))) (if (i32.ne (call $response_head (i32.const 500) (i32.const 0) (i32.const 0)) (i32.const -2)) (then (unreachable))) (unreachable)`,
    fails('function_trap'),
  ],
  [
    'a response by host call and one in the buffer',
    `${HEAD} (drop (call $response_write (i32.const 16) (i32.const 3))) ${EMPTY_RESPONSE}`,
    answers(200),
  ],
  [
    'a response and then a trap',
    `${HEAD} (drop (call $response_write (i32.const 16) (i32.const 3))) (unreachable)`,
    fails('function_trap'),
  ],
  [
    'a response and then an error',
    `${HEAD} (drop (call $response_write (i32.const 16) (i32.const 3))) (i32.const -7)`,
    fails('function_error'),
  ],
  ['6 MiB of response, all there may be', `${HEAD} ${writing(96)} (i32.const 0)`, answers(200)],
  ['6 MiB of response and a piece more', `${HEAD} ${writing(97)} (i32.const 0)`, INVALID],
  ['100 MiB of response', `${HEAD} ${writing(1600)} (i32.const 0)`, INVALID],
  [
    'response bytes from outside of its memory',
    `${HEAD} (drop (call $response_write (i32.const -1) (i32.const 2))) (i32.const 0)`,
    fails('function_trap'),
  ],
  [
    'response bytes of minus one',
    `${HEAD} (drop (call $response_write (i32.const 0) (i32.const -1))) (i32.const 0)`,
    fails('function_trap'),
  ],
  [
    'a head from outside of its memory',
    '(drop (call $response_head (i32.const 200) (i32.const -1) (i32.const 60000))) (i32.const 0)',
    fails('function_trap'),
  ],
  [
    'a million empty writes',
    `${HEAD} (loop $again (drop (call $response_write (i32.const 0) (i32.const 0))) (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $again (i32.lt_u (local.get $i) (i32.const 1000000)))) (i32.const 0)`,
    fails('execution_timeout'),
  ],
]

export const RESPONSES: readonly HostileGuest[] = [
  ...TEXTS.map(([what, text, expects]) => saying(`a response with ${what}`, text, expects)),
  ...CALLS.map(([what, body, expects]) =>
    guest(`host calls that give ${what}`, edgefn(body, { imports: RESPONSE }), expects),
  ),
  guest(
    'a WAGI command that writes 100 MiB to stdout',
    wagi(
      `(i32.store (i32.const 0) (i32.const 0)) (i32.store (i32.const 4) (i32.const 262144))
       (loop $again (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
         (local.set $i (i32.add (local.get $i) (i32.const 1)))
         (br_if $again (i32.lt_u (local.get $i) (i32.const 400))))`,
      { imports: wasi('fd_write') },
    ),
    INVALID,
  ),
  guest(
    'a WAGI command that closes stdout and writes on',
    wagi(
      `(drop (call $fd_close (i32.const 1)))
       (i32.store (i32.const 0) (i32.const 0)) (i32.store (i32.const 4) (i32.const 4))
       (if (i32.ne (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (i32.const 8))
         (then (unreachable)))`,
      { imports: wasi('fd_write', 'fd_close') },
    ),
    INVALID,
  ),
]
