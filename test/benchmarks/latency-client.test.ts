import { expect, test } from 'bun:test'

import { LatencyClient, parseAnswer } from '../../scripts/benchmarks/latency-client.ts'

test('an answer is whole when its body has its length', () => {
  const head = 'HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 5\r\n\r\n'
  expect(parseAnswer(head.slice(0, -1))).toBeNull()
  expect(parseAnswer(`${head}four`)).toBeNull()
  expect(parseAnswer(`${head}fives`)).toEqual({ status: 504, body: 'fives' })
  expect(() => parseAnswer('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')).toThrow(
    'length',
  )
})

test('answers are timed, one after the other on one connection', async () => {
  const addresses = new Set<number | undefined>()
  using listener = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    async fetch(request, server) {
      addresses.add(server.requestIP(request)?.port)
      const { pathname } = new URL(request.url)
      if (pathname === '/slow') await Bun.sleep(20)
      return new Response(pathname)
    },
  })
  const client = await LatencyClient.connect(`http://127.0.0.1:${listener.port}`)
  const fast = await client.get('/fast')
  const slow = await client.get('/slow')
  client.close()
  expect([fast.status, fast.body, slow.body]).toEqual([200, '/fast', '/slow'])
  expect(slow.micros).toBeGreaterThan(19_000)
  expect(fast.micros).toBeGreaterThan(0)
  expect(addresses.size).toBe(1)
})

test('a lost connection fails the request that waits', async () => {
  using server = Bun.listen({
    hostname: '127.0.0.1',
    port: 0,
    socket: { data: (socket) => void socket.end() },
  })
  const client = await LatencyClient.connect(`http://127.0.0.1:${server.port}`)
  const failure = await client.get('/').then(
    () => null,
    (thrown: unknown) => thrown,
  )
  expect(failure).toBeInstanceOf(Error)
})
