/** What a guest may put on the wire: its limits, and that whatever it writes is one response and only one (SPEC 4, Output). */

import { afterAll, beforeAll, expect, test } from 'bun:test'

import fc from 'fast-check'

import { openLibc } from '../../../../ffi/libc.ts'
import { errorBodySchema } from '../../../../src/protocol/api.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'
import { startRuntime, type RuntimeHarness } from '../runtime/harness.ts'
import { assemble } from '../runtime/wat.ts'
import { openIngress, raw } from './harness.ts'

/** A guest whose whole response, header and body, is the body of the request. */
const PARROT = `(module
  (import "edgefn" "response_write" (func $write (param i32 i32) (result i32)))
  (memory (export "memory") 4)
  (global $heap (mut i32) (i32.const 4096))
  (func (export "alloc") (param $size i32) (result i32)
    (if (i32.gt_u (i32.add (global.get $heap) (local.get $size)) (i32.shl (memory.size) (i32.const 16)))
      (then (drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))))
    (global.get $heap) (global.set $heap (i32.add (global.get $heap) (local.get $size))))
  (func (export "handle") (param i32 i32 i32 i32 i32 i32) (param $body i32) (param $length i32) (param i32 i32) (result i32)
    (drop (call $write (local.get $body) (local.get $length))) (i32.const 0)))`

const { monotonicMs } = openLibc()

let runtime: RuntimeHarness
let ingress: ReturnType<typeof openIngress>

beforeAll(async () => {
  runtime = await startRuntime(2)
  const fn = runtime.module(assemble(PARROT), { memory_pages: 256, max_execution_ms: 20_000 })
  // Time flies, so that the breaker never sees two failures together: most of these answers are some.
  let clock = Date.now()
  ingress = openIngress({
    fn,
    now: () => (clock += LIMITS.breakerWindowMs),
    bodyBytesMax: 10 * 2 ** 20,
    invoke: (called, request, client) =>
      runtime.invoker.invoke(called, { ...request, admitted_ms: monotonicMs() }, client),
  })
})
afterAll(async () => {
  ingress.close()
  await runtime.close()
  expect(runtime.defects).toEqual([])
})

interface WireResponse {
  readonly status: number
  readonly headers: readonly (readonly [string, string])[]
  readonly body: string
}

/** Reads one response as a strict client does; throws for what is none. */
function readResponse(wire: string, at: number): { response: WireResponse; next: number } {
  const end = wire.indexOf('\r\n\r\n', at)
  if (end < 0) throw new Error(`A header without an end: ${JSON.stringify(wire.slice(at))}`)
  const [first = '', ...lines] = wire.slice(at, end).split('\r\n')
  const status = Number(/^HTTP\/1\.1 ([2-5]\d\d) [\x20-\x7e]*$/.exec(first)?.[1])
  if (!Number.isInteger(status)) throw new Error(`No status line: ${JSON.stringify(first)}`)
  const headers = lines.map((line) => {
    const field = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\t\x20-\x7e\x80-\xff]*)$/.exec(line)
    if (field === null) throw new Error(`No field: ${JSON.stringify(line)}`)
    return [(field[1] ?? '').toLowerCase(), field[2] ?? ''] as const
  })
  const lengths = headers.filter(([name]) => name === 'content-length')
  if (headers.some(([name]) => name === 'transfer-encoding')) throw new Error('Chunked.')
  if (lengths.length > 1) throw new Error('Two lengths.')
  const length = Number(lengths[0]?.[1] ?? 0)
  const bodyAt = end + 4
  const body = wire.slice(bodyAt, bodyAt + length)
  if (body.length !== length) throw new Error(`A body of ${body.length} for ${length} bytes.`)
  return { response: { status, headers, body }, next: bodyAt + length }
}

function isWhole(received: string): boolean {
  const end = received.indexOf('\r\n\r\n')
  if (end < 0) return false
  const length = /^content-length: (\d+)/im.exec(received.slice(0, end))?.[1] ?? 0
  return received.length >= end + 4 + Number(length)
}

/** Has the guest answer with `output`, and answer again on the same connection; the two responses, and nothing besides. */
async function answers(output: string): Promise<[WireResponse, WireResponse]> {
  const second = 'X-Second: yes\n\nsecond'
  const post = (body: string) =>
    `POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  const last = post(second).replace('Host: h', 'Host: h\r\nConnection: close')
  const first = Promise.withResolvers<string>()
  const sendLast = (received: string) => {
    if (isWhole(received)) first.resolve(last)
    return false
  }
  const wire = await raw(ingress.port, post(output), sendLast, first.promise)
  const one = readResponse(wire, 0)
  const two = readResponse(wire, one.next)
  expect(two.next).toBe(wire.length)
  expect(two.response.body).toBe('second')
  return [one.response, two.response]
}

const headersOf = (response: WireResponse) => new Map(response.headers)

test('whatever bytes a guest writes, the connection carries one response for each request', async () => {
  const piece = fc.oneof(
    fc.constantFrom(
      ...['\r\n', '\n', '\r', '\r\n\r\n', '\n\n', ' ', ':', '\0', '\t', 'x', '\xe4\xff'],
      ...['HTTP/1.1 200 OK\r\n', 'HTTP/1.1 100 Continue\r\n\r\n', 'Status: 204\n', 'Status: 101\n'],
      ...['Content-Length: 0\r\n', 'Content-Length: 999\r\n', 'content-length : 5\r\n'],
      ...[
        'Transfer-Encoding: chunked\r\n',
        '0\r\n\r\n',
        'Connection: keep-alive, content-length\n',
      ],
      ...['Connection: close\r\n', 'Upgrade: h2c\r\n', 'Keep-Alive: timeout=1\r\n', 'Trailer: x\n'],
      ...['Set-Cookie: a=b\r\n', ' folded: 1\r\n', 'Location: /x\r\n', 'Status: 304\n'],
      ...['Content-Type: text/html\n', 'X-A: b\r\rX-C: d\r\n', 'Date: never\n', 'TE: trailers\n'],
    ),
    fc.string({ maxLength: 20 }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 12 }), async (pieces) => {
      const output = Buffer.from(pieces.join(''), 'utf8').toString('latin1')
      const [first] = await answers(output)
      const headers = headersOf(first)
      for (const name of ['upgrade', 'keep-alive', 'trailer', 'te', 'transfer-encoding']) {
        expect(headers.has(name)).toBe(false)
      }
      expect(headers.get('date')).not.toBe('never')
      expect(first.headers.filter(([name]) => name === 'x-request-id')).toHaveLength(1)
      // What is no response is told as one of ours, never passed on in part.
      if (first.status === 502) {
        expect(errorBodySchema.parse(JSON.parse(first.body)).error.code).toBe('invalid_response')
      } else {
        expect(output).toContain(first.body)
      }
    }),
    { numRuns: 300 },
  )
}, 120_000)

test('a response that pretends to be two is one', async () => {
  const [first] = await answers(
    'Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nhi\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil',
  )
  expect(first.body).toEndWith('evil')
  expect(headersOf(first).get('content-length')).toBe(String(first.body.length))
})

const refusedOutputs: readonly (readonly [string, string])[] = [
  ['a carriage return inside a value', 'X-A: b\rSet-Cookie: c\n\n'],
  ['a null byte in a value', 'X-A: b\0\n\n'],
  ['a control byte in a value', 'X-A: \x1b[2J\n\n'],
  ['a space in a name', 'X A: b\n\n'],
  ['a space before the colon', 'X-A : b\n\n'],
  ['a folded line', 'X-A: b\n c\n\n'],
  ['a byte beyond ASCII in a name', 'X-\xe4: b\n\n'],
  ['a line without a colon', 'HTTP/1.1 200 OK\n\n'],
  ['a status that is none', 'Status: 200OK\n\n'],
  ['an informational status', 'Status: 103 Early Hints\n\n'],
  ['no empty line', 'X-A: b\n'],
  ['nothing', ''],
]
test.each(refusedOutputs)('%s is 502', async (_what, output) => {
  expect((await answers(output))[0].status).toBe(502)
})

test('the limits of a response hold to the byte: body, fields, bytes of fields', async () => {
  const status = async (output: string) => (await answers(output))[0].status
  const fields = (count: number) => `${'X-A: b\n'.repeat(count)}\n`
  const body = (bytes: number) => `\n${'x'.repeat(bytes)}`
  // Name, colon, value and line feed.
  const header = (bytes: number) => `X:${'v'.repeat(bytes - 3)}\n\n`
  expect(await status(fields(LIMITS.responseHeadersMax))).toBe(200)
  expect(await status(fields(LIMITS.responseHeadersMax + 1))).toBe(502)
  expect(await status(header(LIMITS.responseHeaderBytesMax))).toBe(200)
  expect(await status(header(LIMITS.responseHeaderBytesMax + 1))).toBe(502)
  expect(await status(body(LIMITS.responseBodyBytesMax))).toBe(200)
  expect(await status(body(LIMITS.responseBodyBytesMax + 1))).toBe(502)
}, 120_000)
