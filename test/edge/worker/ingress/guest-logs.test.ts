/** Logs of real guests, from their call to the line on stdout: engine, host function, ingress, log. */

import { afterAll, beforeAll, expect, test } from 'bun:test'

import fc from 'fast-check'

import { openLibc } from '../../../../ffi/libc.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'
import { startRuntime } from '../runtime/harness.ts'
import type { RuntimeHarness } from '../runtime/harness.ts'
import { numberGuest } from '../runtime/wat.ts'
import { openIngress } from './harness.ts'

/** Logs the request's body at the level that the first character of the path says. */
const LOGGER = numberGuest(
  `(block (result i32)
     (call $log (i32.sub (i32.load8_u offset=1 (local.get 2)) (i32.const 48)) (local.get 6) (local.get 7))
     (i32.const 0))`,
  '(import "edgefn" "log" (func $log (param i32 i32 i32)))',
)

const libc = openLibc()
let runtime: RuntimeHarness
beforeAll(async () => {
  runtime = await startRuntime(2)
})
afterAll(() => runtime.close())

test('P30: every log call of a guest is one line with level, message, function, request and timestamp', async () => {
  const fn = runtime.module(LOGGER)
  const ingress = openIngress({
    fn,
    // The worker's clock is the system's, as the executor's; this harness has another.
    invoke: (routed, call) =>
      runtime.invoker.invoke(routed, { ...call, admitted_ms: libc.monotonicMs() }),
    bodyBytesMax: 10_000,
  })
  const messages = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc.constantFrom('', '"quoted"\n{"level":"error"}', '\u0000\u001b[31m', 'ü'.repeat(2000)),
  )
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 3 }),
      messages,
      fc.uuid(),
      async (level, message, requestId) => {
        ingress.lines.length = 0
        const bytes = new TextEncoder().encode(message)
        const from = Date.now()
        const response = await fetch(`${ingress.url}/${level}`, {
          method: 'POST',
          body: bytes,
          headers: { 'x-request-id': requestId },
        })
        expect(response.status).toBe(200)
        const [line, ...more] = ingress.lines
        expect(more).toEqual([])
        expect(line).toMatchObject({
          level: ['debug', 'info', 'warn', 'error'][level],
          message: new TextDecoder().decode(bytes.subarray(0, LIMITS.logMessageBytesMax)),
          function_id: fn.function_id,
          request_id: requestId,
        })
        const at = Date.parse(String(line?.['timestamp']))
        expect(at).toBeWithin(from, Date.now() + 1)
      },
    ),
    { numRuns: 100 },
  )
  ingress.close()
}, 120_000)
