/** A server for tests of fetching, of the kind that says exactly what the test tells it to, and counts who comes. */

import { createServer } from 'node:net'
import type { Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'

import { until } from '../../../e2e/harness.ts'

export interface OriginRequest {
  readonly method: string
  readonly path: string
  /** Whole, as it came. */
  readonly head: string
  readonly body: string
}

export interface Origin {
  readonly host: string
  readonly port: number
  /** `http://127.0.0.1:4711`. */
  readonly url: string
  readonly requests: readonly OriginRequest[]
  /** Connections so far, whether anything was asked on them or not. */
  readonly connections: () => number
  readonly open: () => number
  /** Resolves when no connection is open. */
  idle(): Promise<void>
  close(): Promise<void>
}

export interface OriginOptions {
  readonly host?: string
  readonly port?: number
  readonly tls?: { readonly key: string; readonly cert: string }
  /** Answers a request, or does not. What it returns is sent, and the connection then closed. */
  readonly answer?: (request: OriginRequest, socket: Socket) => string | Uint8Array | null
}

export async function startOrigin(options: OriginOptions = {}): Promise<Origin> {
  const { host = '127.0.0.1', port: wanted = 0, answer = () => text('hello'), tls } = options
  const requests: OriginRequest[] = []
  const sockets = new Set<Socket>()
  let connections = 0
  const server = tls === undefined ? createServer() : createTlsServer(tls)
  server.on('connection', (socket: Socket) => {
    connections += 1
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
  })
  server.on(tls === undefined ? 'connection' : 'secureConnection', serve)
  await new Promise<void>((done) => server.listen(wanted, host, done))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('No port was given.')
  const { port } = address

  function serve(socket: Socket): void {
    let received = ''
    socket.on('error', () => {})
    socket.on('data', (bytes: Buffer) => {
      received += bytes.toString('latin1')
      const request = parse(received)
      if (request === null) return
      received = ''
      requests.push(request)
      const sent = answer(request, socket)
      if (sent !== null) socket.end(sent)
    })
  }

  return {
    host,
    port,
    url: `${tls === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`,
    requests,
    connections: () => connections,
    open: () => sockets.size,
    idle: () => until('the origin has no connection', () => sockets.size === 0).then(() => {}),
    close: () =>
      new Promise<void>((done) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => done())
      }),
  }
}

/** The request, when all of it is there. */
function parse(received: string): OriginRequest | null {
  const end = received.indexOf('\r\n\r\n')
  if (end < 0) return null
  const head = received.slice(0, end)
  const body = received.slice(end + 4)
  const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1] ?? 0)
  if (body.length < length) return null
  const [method = '', path = ''] = head.split(' ')
  return { method, path, head, body }
}

/** A response with a length. */
export function text(body: string, fields = '', status = '200 OK'): string {
  return `HTTP/1.1 ${status}\r\n${fields}content-length: ${body.length}\r\n\r\n${body}`
}

export function redirect(location: string, status = 302): string {
  return text('moved', `location: ${location}\r\n`, `${status} Moved`)
}
