/** Connections that are used again, against servers that say what the test tells them to. */

import { afterEach, expect, test } from 'bun:test'
import type { Socket } from 'node:net'
import fc from 'fast-check'

import { IdleConnections } from '../../../../src/edge/worker/fetch/idle-connections.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'
import { until } from '../../../e2e/harness.ts'
import { CERTIFICATE, KEY } from './certificates.ts'
import { fetched, fetching, guestRequest } from './fetching.ts'
import type { FetchingOptions } from './fetching.ts'
import { redirect, startOrigin, text } from './origin.ts'
import type { Origin, OriginOptions, OriginRequest } from './origin.ts'

const opened: Origin[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((origin) => origin.close()))
})

type Answer = (request: OriginRequest, socket: Socket) => string

/** A server that leaves connections open behind its answers. */
async function open(answer: Answer, options: OriginOptions = {}): Promise<Origin> {
  const origin = await startOrigin({
    ...options,
    answer(request, socket) {
      socket.write(Buffer.from(answer(request, socket), 'latin1'))
      return null
    },
  })
  opened.push(origin)
  return origin
}

const echo: Answer = ({ path }) => text(path)
const NAMES = { 'api.example.com': ['127.0.0.1'], 'other.example.com': ['127.0.0.1'] }

function client({ port }: Origin, more: FetchingOptions = {}) {
  const idle = new IdleConnections()
  const of = (owner: string) => {
    const options = {
      allow: [`127.0.0.1:${port}`, `api.example.com:${port}`, `other.example.com:${port}`],
      names: NAMES,
      connections: idle.of(owner),
      ...more,
    }
    return (line: string, body = '') => fetching(guestRequest(line, '', body), options)
  }
  return { idle, of, ask: of('a') }
}

test('a connection that has brought a response whole is used for the next request to that origin', async () => {
  const origin = await open(echo)
  const { idle, ask } = client(origin)
  for (const path of ['/1', '/2', '/3']) {
    expect(await ask(`GET ${origin.url}${path}`)).toMatchObject({ status: 200, body: path })
  }
  expect([origin.connections(), idle.count]).toEqual([1, 1])
  expect(await ask(`POST ${origin.url}/4`, 'x')).toMatchObject({ body: '/4' })
  expect(origin.connections()).toBe(1)
  expect(origin.requests.map(({ path }) => path)).toEqual(['/1', '/2', '/3', '/4'])
})

test('with TLS it is, too, for the same name only', async () => {
  const tls = { key: KEY, cert: CERTIFICATE }
  const origin = await open(echo, { tls })
  const { ask } = client(origin, { authorities: CERTIFICATE })
  for (const path of ['/1', '/2']) {
    const url = `https://api.example.com:${origin.port}${path}`
    expect(await ask(`GET ${url}`)).toMatchObject({ body: path })
  }
  expect(origin.connections()).toBe(1)
  // Not valid for this name, which nobody would notice on the other's connection.
  expect(await ask(`GET https://other.example.com:${origin.port}/3`)).toBe('network')
})

test('never for another function, host or port', async () => {
  const [origin, second] = [await open(echo), await open(echo)]
  const { of, ask } = client(origin, {
    allow: [
      `127.0.0.1:${origin.port}`,
      `127.0.0.1:${second.port}`,
      `api.example.com:${origin.port}`,
    ],
  })
  await ask(`GET ${origin.url}/`)
  await ask(`GET http://api.example.com:${origin.port}/`)
  await ask(`GET ${second.url}/`)
  await of('b')(`GET ${origin.url}/`)
  expect([origin.connections(), second.connections()]).toEqual([3, 1])
})

const NOT_AGAIN: readonly (readonly [string, string])[] = [
  ['Connection: close', text('a', 'Connection: Close\r\n')],
  ['close among other options', text('a', 'connection: foo, close\r\n')],
  ['HTTP/1.0', text('a').replace('HTTP/1.1', 'HTTP/1.0')],
  ['a shorter patience than there is to be sure of', text('a', 'keep-alive: timeout=1\r\n')],
  ['more than its response', `${text('a')}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison`],
  ['a redirect', redirect('/elsewhere')],
]
test.each(NOT_AGAIN)('is given up after %s', async (_what, sent) => {
  const origin = await open(({ path }) => (path === '/elsewhere' ? text('a') : sent))
  const { ask } = client(origin)
  expect(await ask(`GET ${origin.url}/1`)).toMatchObject({ body: 'a' })
  expect(await ask(`GET ${origin.url}/2`)).toMatchObject({ body: 'a' })
  // A redirect's target answers in a way that keeps its own.
  expect(origin.connections()).toBe(sent === redirect('/elsewhere') ? 3 : 2)
})

test('a 204 that announces a body may be followed by it, and its connection is given up', async () => {
  for (const [fields, connections] of [
    ['', 1],
    ['content-length: 0\r\n', 1],
    ['content-length: 40\r\n', 2],
    ['transfer-encoding: chunked\r\n', 2],
  ] as const) {
    const origin = await open(({ path }) =>
      path === '/1' ? `HTTP/1.1 204 No Content\r\n${fields}\r\n` : text(path),
    )
    const { ask } = client(origin)
    expect(await ask(`GET ${origin.url}/1`)).toMatchObject({ status: 204, body: '' })
    expect(await ask(`GET ${origin.url}/2`)).toMatchObject({ body: '/2' })
    expect(origin.connections()).toBe(connections)
  }
})

/** A server that leaves connections open, and its side of them. */
async function openWithSockets() {
  const sockets: Socket[] = []
  const origin = await open(({ path }, socket) => {
    sockets.push(socket)
    return text(path)
  })
  return { origin, sockets, ...client(origin) }
}

test('what a server sends unasked ends the connection, and is nobody’s answer', async () => {
  const { origin, sockets, idle, ask } = await openWithSockets()
  await ask(`GET ${origin.url}/1`)
  sockets[0]?.write(text('poison'))
  await until('the connection is given up', () => idle.count === 0)
  expect(await ask(`GET ${origin.url}/2`)).toMatchObject({ body: '/2' })
})

test('one that the server has closed is not used, and of a server that is so hasty none is kept for a while', async () => {
  const { origin, sockets, idle, ask } = await openWithSockets()
  await ask(`GET ${origin.url}/1`)
  sockets[0]?.end()
  await until('the connection is given up', () => idle.count === 0)
  expect(await ask(`POST ${origin.url}/2`, 'x')).toMatchObject({ body: '/2' })
  expect(idle.count).toBe(0)
})

/** Answers the first request of each connection, and closes it at the second. */
function onceEach(): Answer {
  const answered = new Set<Socket>()
  return ({ path }, socket) => {
    if (answered.has(socket)) {
      socket.destroy()
      return ''
    }
    answered.add(socket)
    return text(path)
  }
}

test('one that is closed instead of an answer: what may be sent twice is, on a new one', async () => {
  for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS']) {
    const origin = await open(onceEach())
    const { ask } = client(origin)
    const body = method === 'PUT' ? 'x' : ''
    await ask(`GET ${origin.url}/1`)
    expect(await ask(`${method} ${origin.url}/2`, body)).toMatchObject({ status: 200 })
    expect(origin.requests.map(({ path }) => path)).toEqual(['/1', '/2', '/2'])
    // And not every time: it is not trusted with another.
    expect(await ask(`GET ${origin.url}/3`)).toMatchObject({ status: 200 })
    expect(await ask(`GET ${origin.url}/4`)).toMatchObject({ status: 200 })
    expect([origin.connections(), origin.requests.length]).toEqual([4, 5])
  }
})

test.each(['POST', 'PATCH'])('… and a %s is not: it may have been done', async (method) => {
  const origin = await open(onceEach())
  const { ask } = client(origin)
  await ask(`GET ${origin.url}/1`)
  // Long enough for the server to have shown that it leaves the connection open.
  await Bun.sleep(600)
  expect(await ask(`${method} ${origin.url}/2`, 'x')).toBe('network')
  expect(origin.requests.map(({ path }) => path)).toEqual(['/1', '/2'])
})

test('a POST uses no connection of a server that has not shown yet that it leaves it open', async () => {
  const closing = await open(onceEach())
  const hasty = client(closing)
  for (const path of ['/1', '/2', '/3']) {
    expect(await hasty.ask(`POST ${closing.url}${path}`, 'x')).toMatchObject({ body: path })
  }
  const origin = await open(echo)
  const { ask } = client(origin)
  await ask(`POST ${origin.url}/1`, 'x')
  expect(await ask(`POST ${origin.url}/2`, 'x')).toMatchObject({ body: '/2' })
  expect(origin.connections()).toBe(2)
  await ask(`GET ${origin.url}/3`)
  expect(await ask(`POST ${origin.url}/4`, 'x')).toMatchObject({ body: '/4' })
  expect(origin.connections()).toBe(2)
})

test('a POST uses none that has waited for long, and a GET does', async () => {
  const origin = await open(echo)
  const { ask } = client(origin)
  // Used twice, so that the server has shown that it leaves it open.
  for (const path of ['/1', '/2']) await ask(`GET ${origin.url}${path}`)
  await Bun.sleep(LIMITS.fetchIdleOnceMsMax + 100)
  await ask(`POST ${origin.url}/3`, 'x')
  expect(origin.connections()).toBe(2)
  await ask(`GET ${origin.url}/4`)
  expect(origin.connections()).toBe(2)
}, 120_000)

test('an answer that has begun is not asked for again', async () => {
  let count = 0
  const origin = await open((_request, socket) => {
    count += 1
    if (count === 1) return text('first')
    setTimeout(() => socket.destroy(), 50)
    return 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf'
  })
  const { ask } = client(origin)
  await ask(`GET ${origin.url}/`)
  expect(await ask(`GET ${origin.url}/`)).toBe('network')
  expect(count).toBe(2)
})

test('a fetch that is given up takes its connection with it', async () => {
  const origin = await open(({ path }) => (path === '/slow' ? '' : text(path)))
  const { idle, ask } = client(origin, { limitMs: 200 })
  await ask(`GET ${origin.url}/`)
  expect(await ask(`GET ${origin.url}/slow`)).toBe('timeout')
  expect(idle.count).toBe(0)
  await origin.idle()
})

test('they wait no longer than they are told, and whoever asks for one gets none that has waited for longer than asked', async () => {
  const origin = await open(echo)
  const idle = new IdleConnections()
  const own = idle.of('a')
  const options = { allow: [`127.0.0.1:${origin.port}`], connections: own }
  await fetched(guestRequest(`GET ${origin.url}/`), options)
  await Bun.sleep(30)
  expect(own.take(origin.url, 10, false)).toBe(null)
  const socket = own.take(origin.url, 1000, false)
  if (socket === null) throw new Error('There is none.')
  own.keep(origin.url, socket, 20)
  expect(idle.count).toBe(1)
  await origin.idle()
  expect(idle.count).toBe(0)
})

test('one whose time is over is not used, although the thread was held up and nobody has closed it yet', async () => {
  const origin = await open(echo)
  const own = new IdleConnections().of('a')
  const options = { allow: [`127.0.0.1:${origin.port}`], connections: own }
  await fetched(guestRequest(`GET ${origin.url}/`), options)
  const socket = own.take(origin.url, 1000, false)
  if (socket === null) throw new Error('There is none.')
  own.keep(origin.url, socket, 10)
  Bun.sleepSync(20)
  expect(own.take(origin.url, 1000, false)).toBe(null)
  await origin.idle()
})

test('of one function and of all there are only so many; those that have waited longest go', async () => {
  const { fetchIdlePerFunctionMax: ownMax, fetchIdlePerWorkerMax: max } = LIMITS
  // Answered together, so that each has a connection of its own.
  let waiting: (() => void)[] = []
  let wanted = 0
  const origin = await startOrigin({
    answer(_request, socket) {
      waiting.push(() => socket.write(text('x')))
      if (waiting.length === wanted) {
        for (const answer of waiting) answer()
        waiting = []
      }
      return null
    },
  })
  opened.push(origin)
  const { idle, of } = client(origin)
  const together = async (owner: string, count: number) => {
    wanted = count
    const ask = of(owner)
    await Promise.all(Array.from({ length: count }, () => ask(`GET ${origin.url}/`)))
  }
  await together('a', ownMax + 10)
  expect(idle.count).toBe(ownMax)
  for (const owner of ['b', 'c', 'd', 'e']) await together(owner, ownMax)
  expect(idle.count).toBe(max)
  expect(idle.of('a').take(origin.url, Infinity, false)).toBe(null)
  await until('the server has seen it', () => origin.open() === max)
}, 120_000)

/** Ways to frame a response; those after which more is on its way must not reach the next request. */
const FRAMINGS: readonly ((body: string) => string)[] = [
  (body) => text(body),
  (body) => text(body, 'connection: keep-alive\r\nkeep-alive: timeout=20\r\n'),
  (body) => text(body, 'connection: close\r\n'),
  (body) =>
    `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
  (body) => `HTTP/1.1 103 Early\r\nlink: x\r\n\r\n${text(body)}`,
  (body) => `${text(body)}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison`,
  (body) => `${text(body)}\r\n`,
]

test('whatever a server sends with a response, each request gets its own', async () => {
  let framing = 0
  const origin = await open(({ path }) => FRAMINGS[framing]?.(path) ?? '')
  const { ask } = client(origin)
  let asked = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(FRAMINGS.length - 1), { minLength: 1, maxLength: 12 }),
      async (framings) => {
        for (const each of framings) {
          framing = each
          asked += 1
          const answered = await ask(`GET ${origin.url}/${asked}`)
          expect(answered).toMatchObject({ status: 200, body: `/${asked}` })
        }
      },
    ),
    { numRuns: 100 },
  )
  expect(origin.connections()).toBeLessThan(asked)
}, 120_000)
