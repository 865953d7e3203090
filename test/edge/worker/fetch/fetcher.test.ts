import { afterEach, describe, expect, test } from 'bun:test'

import { LIMITS } from '../../../../src/protocol/limits.ts'
import { CERTIFICATE, EXPIRED_CERTIFICATE, KEY } from './certificates.ts'
import { fetched, fetching, guestRequest } from './fetching.ts'
import { startOrigin, text } from './origin.ts'
import type { Origin, OriginOptions } from './origin.ts'

const origins: Origin[] = []
afterEach(async () => {
  await Promise.all(origins.splice(0).map((origin) => origin.close()))
})

async function origin(options: OriginOptions = {}): Promise<Origin> {
  const started = await startOrigin(options)
  origins.push(started)
  return started
}

const NAMES = { 'api.example.com': ['127.0.0.1'] }
const allow = (...of: readonly Origin[]) =>
  of.flatMap(({ port }) => [`127.0.0.1:${port}`, `api.example.com:${port}`])

describe('a request', () => {
  test('goes to the address that was looked up, with the name in Host', async () => {
    const server = await origin()
    const url = `http://API.example.com:${server.port}/a?b=c#part`
    const options = { allow: allow(server), names: NAMES }
    const response = await fetched(guestRequest(`GET ${url}`), options)
    expect(response).toMatchObject({ status: 200, body: 'hello' })
    const [request] = server.requests
    expect(request?.head.split('\r\n')).toEqual([
      'GET /a?b=c HTTP/1.1',
      `host: api.example.com:${server.port}`,
      'accept: */*',
      expect.stringMatching(/^user-agent: edgefn\//),
    ])
    await server.idle()
  })

  test('carries the guest’s fields and body, bytes as they are', async () => {
    const server = await origin()
    const fields = 'X-One:  1 \r\nUser-Agent: mine\r\nAccept: a/b\r\nx-utf: ü\r\n'
    const request = guestRequest(`POST ${server.url}/`, fields, 'body ü\0\r\n\r\n')
    expect((await fetched(request, { allow: allow(server) })).status).toBe(200)
    const [got] = server.requests
    expect(got?.body).toBe(Buffer.from('body ü\0\r\n\r\n').toString('latin1'))
    expect(got?.head.split('\r\n').slice(1).sort()).toEqual([
      'accept: a/b',
      'content-length: 12',
      `host: 127.0.0.1:${server.port}`,
      'user-agent: mine',
      'x-one: 1',
      `x-utf: ${Buffer.from('ü').toString('latin1')}`,
    ])
  })

  const malformed: readonly (readonly [string, string])[] = [
    ['no URL', 'GET\r\n\r\n'],
    ['no end of its head', 'GET URL/\r\nx: y\r\n'],
    ['another method', 'CONNECT URL/\r\n\r\n'],
    ['a method in lower case', 'get URL/\r\n\r\n'],
    ['a version', 'GET URL/ HTTP/1.1\r\n\r\n'],
    ['a second URL', 'GET URL/ URL/\r\n\r\n'],
    ['Host', 'GET URL/\r\nHost: inside\r\n\r\n'],
    ['Content-Length', 'POST URL/\r\ncontent-length: 1\r\n\r\nxy'],
    ['Transfer-Encoding', 'POST URL/\r\nTransfer-Encoding: chunked\r\n\r\n0'],
    ['Connection', 'GET URL/\r\nConnection: keep-alive\r\n\r\n'],
    ['Proxy-Authorization', 'GET URL/\r\nProxy-Authorization: x\r\n\r\n'],
    ['Upgrade', 'GET URL/\r\nUpgrade: h2c\r\n\r\n'],
    ['TE', 'GET URL/\r\nTE: trailers\r\n\r\n'],
    ['CDN-Loop', 'GET URL/\r\nCDN-Loop: mine\r\n\r\n'],
    ['Expect', 'POST URL/\r\nExpect: 100-continue\r\n\r\n'],
    ['a bare line feed', 'GET URL/\r\nx: a\nhost: b\r\n\r\n'],
    ['a bare carriage return', 'GET URL/\r\nx: a\rhost: b\r\n\r\n'],
    ['a zero byte', 'GET URL/\r\nx: a\0b\r\n\r\n'],
    ['a folded line', 'GET URL/\r\nx: a\r\n b\r\n\r\n'],
    ['a blank before the colon', 'GET URL/\r\nx : a\r\n\r\n'],
    ['a line without a name', 'GET URL/\r\n: a\r\n\r\n'],
    ['a line without a colon', 'GET URL/\r\nx\r\n\r\n'],
  ]
  test.each(malformed)('with %s is refused, and nobody is connected to', async (_what, request) => {
    const server = await origin()
    const bytes = new Uint8Array(Buffer.from(request.replaceAll('URL', server.url)))
    expect(await fetching(bytes, { allow: allow(server) })).toBe('invalid')
    expect(server.connections()).toBe(0)
  })

  test('over a limit is too large', async () => {
    const line = 'POST http://api.example.com/'
    const many = 'x: y\r\n'.repeat(LIMITS.fetchHeadersMax + 1)
    const long = `x: ${'y'.repeat(LIMITS.fetchRequestHeadBytesMax)}\r\n`
    const url = `GET http://api.example.com/${'a'.repeat(LIMITS.fetchUrlBytesMax)}`
    const body = 'b'.repeat(LIMITS.fetchRequestBodyBytesMax + 1)
    for (const request of [
      guestRequest(line, many),
      guestRequest(line, long),
      guestRequest(url),
      guestRequest(line, '', body),
    ]) {
      expect(await fetching(request, { allow: ['api.example.com'] })).toBe('too_large')
    }
  })

  test('to a host that is not on the list is not allowed, and the name is not looked up', async () => {
    const asked: string[] = []
    const resolve = async (host: string) => {
      asked.push(host)
      return ['127.0.0.1']
    }
    for (const list of [[], ['api.example.com'], ['https://other.example.com']]) {
      const request = guestRequest('GET http://other.example.com/')
      expect(await fetching(request, { allow: list, resolve })).toBe('not_allowed')
    }
    expect(asked).toEqual([])
  })

  test('to a name that is not found, or to a closed port, is a network failure', async () => {
    const server = await origin()
    await server.close()
    const options = { allow: [...allow(server), 'gone.example.com'], names: NAMES }
    expect(await fetching(guestRequest('GET http://gone.example.com/'), options)).toBe('network')
    expect(await fetching(guestRequest(`GET ${server.url}/`), options)).toBe('network')
  })

  test('to an IPv6 address has its brackets in Host', async () => {
    const server = await origin({ host: '::1' })
    const request = guestRequest(`GET http://[0:0::1]:${server.port}/`)
    const options = { allow: [`[::1]:${server.port}`], open: ['::1/128'] }
    expect((await fetched(request, options)).body).toBe('hello')
    expect(server.requests[0]?.head).toContain(`host: [::1]:${server.port}\r\n`)
  })

  test('tries the next address when one does not answer', async () => {
    const server = await origin()
    const options = {
      allow: allow(server),
      names: { 'api.example.com': ['127.0.0.9', '127.0.0.1'] },
      open: ['127.0.0.0/8'],
    }
    const request = guestRequest(`GET http://api.example.com:${server.port}/`)
    expect((await fetched(request, options)).body).toBe('hello')
  })
})

describe('a response', () => {
  const gzip = Buffer.from(Bun.gzipSync(Buffer.alloc(1_000_000))).toString('latin1')
  const answers: readonly (readonly [string, string, string])[] = [
    ['a length', text('five5'), 'five5'],
    ['the end of the connection', 'HTTP/1.1 200 OK\r\n\r\nuntil close', 'until close'],
    ['HTTP/1.0', 'HTTP/1.0 200 OK\r\n\r\nold', 'old'],
    ['bare line feeds', 'HTTP/1.1 200 OK\ncontent-length: 2\n\nlf', 'lf'],
    ['no reason phrase', 'HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok', 'ok'],
    [
      'chunks, extensions and trailers',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n,\r\n0\r\nx: y\r\n\r\n',
      'hello,',
    ],
    [
      'interim answers',
      `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\na: b\r\n\r\n${text('x')}`,
      'x',
    ],
    ['more than its length', `${text('short')}and more`, 'short'],
    ['no body', 'HTTP/1.1 204 No Content\r\n\r\nnot a body', ''],
    ['a coding, which nobody undoes', text(gzip, 'content-encoding: gzip\r\n'), gzip],
  ]
  test.each(answers)('with %s comes whole', async (_what, answer, body) => {
    const server = await origin({ answer: () => Buffer.from(answer, 'latin1') })
    const response = await fetched(guestRequest(`GET ${server.url}/`), { allow: allow(server) })
    expect(response.body).toBe(body)
    await server.idle()
  })

  test('to HEAD has no body, whatever it says', async () => {
    const server = await origin({
      answer: () => 'HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n',
    })
    const small = await origin({ answer: () => 'HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n' })
    const options = { allow: allow(server, small) }
    expect(await fetched(guestRequest(`HEAD ${small.url}/`), options)).toMatchObject({ body: '' })
    expect(await fetched(guestRequest(`HEAD ${server.url}/`), options)).toMatchObject({ body: '' })
  })

  const broken: readonly (readonly [string, string])[] = [
    ['nothing', ''],
    ['no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['a status line of HTTP/2', 'HTTP/2 200 OK\r\n\r\n'],
    ['a status out of range', 'HTTP/1.1 999 OK\r\n\r\n'],
    ['a switch of protocols', 'HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n'],
    ['a head that breaks off', 'HTTP/1.1 200 OK\r\nx: y\r\n'],
    ['a body that breaks off', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf'],
    ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx'],
    ['a negative length', 'HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nx'],
    ['a length in words', 'HTTP/1.1 200 OK\r\ncontent-length: 0x10\r\n\r\nx'],
    [
      'length and chunks',
      'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['another coding', 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
    ['a chunk of no size', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n'],
    ['a negative chunk', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-5\r\n\r\n'],
    ['a huge chunk', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffff\r\n\r\n'],
    [
      'a chunk that overflows',
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n',
    ],
    [
      'chunks that break off',
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n',
    ],
    ['a bare carriage return', 'HTTP/1.1 200 OK\r\nx: a\rb: c\r\n\r\n'],
    ['a zero byte', 'HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n'],
    ['a folded line', 'HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n'],
  ]
  test.each(broken)('that is %s is a network failure', async (_what, answer) => {
    const server = await origin({ answer: () => Buffer.from(answer, 'latin1') })
    const request = guestRequest(`GET ${server.url}/`)
    expect(await fetching(request, { allow: allow(server) })).toBe('network')
    await server.idle()
  })

  const endless: readonly (readonly [string, string, string])[] = [
    ['body', 'HTTP/1.1 200 OK\r\n\r\n', 'x'.repeat(65_536)],
    [
      'body of chunks',
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n',
      `8000\r\n${'x'.repeat(32_768)}\r\n`,
    ],
    ['head', 'HTTP/1.1 200 OK\r\n', `x: ${'y'.repeat(1000)}\r\n`],
    ['header line', 'HTTP/1.1 200 OK\r\nx: ', 'y'.repeat(1000)],
    ['row of interim answers', '', 'HTTP/1.1 100 Continue\r\n\r\n'],
    ['chunk size', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;', 'y'.repeat(1000)],
    [
      'row of trailers',
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n',
      'x: y\r\n'.repeat(100),
    ],
  ]
  test.each(endless)('with an endless %s ends at its limit', async (_what, begin, more) => {
    const server = await origin({
      answer(_request, socket) {
        const pour = () => {
          while (!socket.destroyed && socket.write(more)) continue
        }
        socket.on('drain', pour)
        socket.write(begin)
        pour()
        return null
      },
    })
    const request = guestRequest(`GET ${server.url}/`)
    expect(await fetching(request, { allow: allow(server) })).toBe('too_large')
    await server.idle()
  })

  test('that says it is too large is refused before any of it', async () => {
    const length = LIMITS.fetchResponseBodyBytesMax + 1
    const server = await origin({
      answer: (_request, socket) => {
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${length}\r\n\r\n`)
        return null
      },
    })
    const request = guestRequest(`GET ${server.url}/`)
    expect(await fetching(request, { allow: allow(server) })).toBe('too_large')
    await server.idle()
  })
})

describe('the time', () => {
  test('ends a fetch whose look-up hangs', async () => {
    const options = { allow: ['api.example.com'], resolve: () => new Promise<never>(() => {}) }
    const from = performance.now()
    const request = guestRequest('GET http://api.example.com/')
    expect(await fetching(request, { ...options, limitMs: 100 })).toBe('timeout')
    expect(performance.now() - from).toBeLessThan(5000)
  })

  const slow: readonly (readonly [string, string])[] = [
    ['nothing', ''],
    ['half a head', 'HTTP/1.1 200 OK\r\nx: y'],
    ['half a body', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf'],
  ]
  test.each(slow)('ends a fetch whose server sends %s, and its connection', async (_what, sent) => {
    const server = await origin({
      answer: (_request, socket) => {
        socket.write(sent)
        return null
      },
    })
    const request = guestRequest(`GET ${server.url}/`)
    expect(await fetching(request, { allow: allow(server), limitMs: 150 })).toBe('timeout')
    await server.idle()
  })

  test('ends a fetch whose server never shakes hands', async () => {
    const server = await origin({ answer: () => null })
    const request = guestRequest(`GET https://127.0.0.1:${server.port}/`)
    expect(await fetching(request, { allow: allow(server), limitMs: 150 })).not.toBeObject()
    await server.idle()
  })
})

describe('TLS', () => {
  const tls = { key: KEY, cert: CERTIFICATE }
  const names = { 'api.example.com': ['127.0.0.1'], 'other.example.com': ['127.0.0.1'] }

  test('is checked for the name, and asks for it', async () => {
    const server = await origin({ tls })
    const options = { allow: allow(server), names, authorities: CERTIFICATE }
    const url = `https://api.example.com:${server.port}/`
    expect((await fetched(guestRequest(`GET ${url}`), options)).body).toBe('hello')
    expect((await fetched(guestRequest(`GET ${server.url}/`), options)).body).toBe('hello')
  })

  test('of another name, an unknown authority or another time is refused, and nothing is sent', async () => {
    const server = await origin({ tls })
    const expired = await origin({ tls: { key: KEY, cert: EXPIRED_CERTIFICATE } })
    const list = [...allow(server, expired), `other.example.com:${server.port}`]
    const secret = 'authorization: Bearer secret\r\n'
    const cases: readonly (readonly [string, string | undefined])[] = [
      [`https://other.example.com:${server.port}/`, CERTIFICATE],
      [`https://api.example.com:${server.port}/`, undefined],
      [`https://api.example.com:${expired.port}/`, EXPIRED_CERTIFICATE],
    ]
    for (const [url, authorities] of cases) {
      const options = { allow: list, names, ...(authorities === undefined ? {} : { authorities }) }
      expect(await fetching(guestRequest(`GET ${url}`, secret), options)).toBe('network')
    }
    expect([...server.requests, ...expired.requests]).toEqual([])
    expect(server.connections() + expired.connections()).toBe(3)
  })

  test('is not spoken by a server of plain HTTP', async () => {
    const server = await origin()
    const options = { allow: allow(server), authorities: CERTIFICATE, limitMs: 1000 }
    const result = await fetching(guestRequest(`GET https://127.0.0.1:${server.port}/`), options)
    expect(result).not.toBeObject()
    expect(server.requests).toEqual([])
  })
})
