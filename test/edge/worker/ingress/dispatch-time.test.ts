/** What `edgefn_dispatch_seconds` counts of a request. */

import { expect, test } from 'bun:test'

import { answered, openIngress, raw } from './harness.ts'

test('what dispatching takes is counted from the end of the body on, however long the client takes to send it', async () => {
  const sendingMs = 400
  const ingress = openIngress({
    invoke: () => {
      const at = performance.now()
      return answered('hello', {}, { entered_ms: at, left_ms: at })
    },
  })
  const { port, stats } = ingress
  const head = 'POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n\r\n'
  const rest = Bun.sleep(sendingMs).then(() => 'c')
  expect(await raw(port, [head, 'b'], undefined, rest)).toContain('hello')
  const enter = stats.dispatch('enter')
  expect(enter.count).toBe(1)
  expect(enter.seconds_sum).toBeLessThan(sendingMs / 2 / 1000)
  ingress.close()
})
