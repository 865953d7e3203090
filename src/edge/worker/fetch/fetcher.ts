/** One fetch from allow-list to last byte, redirects included. Where the response goes is the caller's business. */

import type { Socket } from 'node:net'

import { errorMessage } from '../../../errors.ts'
import { isAllowed } from '../../../protocol/http-allow.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import { VERSION } from '../../../version.ts'
import { openConnection } from './connect.ts'
import type { ConnectDeps } from './connect.ts'
import type { OwnConnections } from './idle-connections.ts'
import { FetchError } from './outcome.ts'
import { locationOf, redirected } from './redirect.ts'
import type { FetchRequest } from './request.ts'
import { ResponseParser } from './response-parser.ts'
import type { ResponseHead } from './response-parser.ts'
import { authorityOf, originOf } from './target.ts'

export interface FetchDeps extends ConnectDeps {
  /** Those of the function that fetches. */
  readonly connections: OwnConnections
}

/** Methods that may be sent again when nobody knows what became of them (RFC 9110 9.2.2). */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])

/** Takes a response as it comes. */
export interface ResponseSink {
  onHead(head: ResponseHead): void
  /** False asks for a pause, until `onRoom` is called. `bytes` are only good during the call. */
  onBody(bytes: Uint8Array): boolean
  /** Calls `resume` whenever there is room again. */
  onRoom(resume: () => void): void
}

/**
 * Fetches. Resolves when the last byte has been given to the sink; rejects with a FetchError, or with the signal's reason.
 * No socket is left open but one that waits in `deps.connections`. `leftMs` is the time there is, which the signal enforces.
 */
export async function runFetch(
  first: FetchRequest,
  allow: readonly string[],
  sink: ResponseSink,
  deps: FetchDeps,
  leftMs: () => number,
  signal: AbortSignal,
): Promise<void> {
  let request = first
  for (let redirects = 0; ; redirects += 1) {
    if (!isAllowed(allow, request.target)) {
      const message = `The allow-list does not have ${originOf(request.target)}.`
      throw new FetchError('not_allowed', message)
    }
    const head = await ask(request, sink, deps, leftMs, signal)
    const location = head === null ? null : locationOf(head)
    if (head === null || location === null) return
    if (redirects === LIMITS.fetchRedirectsMax) {
      const message = `There are more than ${LIMITS.fetchRedirectsMax} redirects.`
      throw new FetchError('too_many_redirects', message)
    }
    request = redirected(request, head, location)
  }
}

/** The connection ended without a byte of an answer. Where it had waited, the server may have closed it before it got the request. */
class Unanswered extends FetchError {
  constructor(cause: unknown) {
    const reason = cause === null ? '' : `: ${errorMessage(cause)}`
    super('network', `The connection ended before the response${reason}.`, { cause })
  }
}

/** One request and its response, on a connection that waits for it if there is one. As `exchange`. */
async function ask(
  request: FetchRequest,
  sink: ResponseSink,
  deps: FetchDeps,
  leftMs: () => number,
  signal: AbortSignal,
): Promise<ResponseHead | null> {
  const { connections } = deps
  const mayRepeat = IDEMPOTENT.has(request.method)
  const idleMsMax = mayRepeat ? LIMITS.fetchIdleMsMax : LIMITS.fetchIdleOnceMsMax
  const origin = originOf(request.target)
  // Many servers close without a word right behind their answer, and what must not be sent twice would be lost.
  const waiting = connections.take(origin, idleMsMax, !mayRepeat)
  if (waiting !== null) {
    try {
      return await exchange(waiting, request, sink, connections, signal)
    } catch (thrown) {
      if (!(thrown instanceof Unanswered)) throw thrown
      connections.distrust(origin)
      if (!mayRepeat) throw thrown
    }
  }
  const socket = await openConnection(request.target, deps, leftMs, signal)
  return exchange(socket, request, sink, connections, signal)
}

/**
 * Resolves with the head of a redirect, whose body is not read, or with null when the sink has got all of the response. The
 * connection is kept then, where it can be used again.
 */
function exchange(
  socket: Socket,
  request: FetchRequest,
  sink: ResponseSink,
  connections: OwnConnections,
  signal: AbortSignal,
): Promise<ResponseHead | null> {
  return new Promise((resolve, reject) => {
    let bodyBytes = 0
    let isAnswered = false
    let isOver = false
    const parser = new ResponseParser(request.method, {
      onHead(head) {
        if (locationOf(head) !== null) return finish(head)
        if (request.method !== 'HEAD' && saysTooLarge(head)) throw bodyTooLarge()
        sink.onHead(head)
      },
      onBody(bytes) {
        if (isOver) return
        bodyBytes += bytes.length
        if (bodyBytes > LIMITS.fetchResponseBodyBytesMax) throw bodyTooLarge()
        if (!sink.onBody(bytes)) socket.pause()
      },
    })
    const abort = () => fail(signal.reason)
    const data = (bytes: Buffer) => {
      isAnswered = true
      guarded(() => parser.push(bytes))
    }
    const ended = () => {
      if (isAnswered) guarded(() => parser.finish())
      else fail(new Unanswered(null))
    }
    const failed = (reason: unknown) => fail(isAnswered ? reason : new Unanswered(reason))
    sink.onRoom(() => {
      if (!isOver) socket.resume()
    })
    signal.addEventListener('abort', abort, { once: true })
    socket.on('data', data)
    socket.once('end', ended)
    socket.once('error', failed)
    socket.once('close', ended)
    if (signal.aborted) return abort()
    socket.write(headBytes(request))
    if (request.body.length > 0) socket.write(request.body)

    function guarded(step: () => void): void {
      if (isOver) return
      try {
        step()
      } catch (thrown) {
        fail(thrown)
      }
      if (parser.ended) finish(null)
    }

    function finish(head: ResponseHead | null): void {
      if (isOver) return
      leave()
      // A server may answer before it has read all of the request.
      const canWait = head === null && !socket.destroyed && socket.writableLength === 0
      const idleMs = canWait ? parser.idleMs : 0
      if (idleMs > 0) connections.keep(originOf(request.target), socket, idleMs)
      else socket.destroy()
      resolve(head)
    }

    function fail(reason: unknown): void {
      if (isOver) return
      leave()
      socket.destroy()
      reject(reason)
    }

    function leave(): void {
      isOver = true
      signal.removeEventListener('abort', abort)
      socket.off('data', data)
      socket.off('end', ended)
      socket.off('error', failed)
      socket.off('close', ended)
    }
  })
}

/** A body that is too large by its own account is refused before the guest sees the head. */
function saysTooLarge({ headers }: ResponseHead): boolean {
  const length = headers.find(([name]) => name === 'content-length')?.[1]
  return Number(length ?? 0) > LIMITS.fetchResponseBodyBytesMax
}

function bodyTooLarge(): FetchError {
  const message = `The response body is over ${LIMITS.fetchResponseBodyBytesMax} bytes.`
  return new FetchError('too_large', message)
}

/** No accept-encoding: nothing here decodes, so nothing can be blown up by decoding. */
function headBytes({ method, target, headers, body }: FetchRequest): Buffer {
  const given = new Set(headers.map(([name]) => name))
  const takesBody = body.length > 0 || method === 'POST' || method === 'PUT' || method === 'PATCH'
  const fields: (readonly [string, string])[] = [
    ['host', authorityOf(target)],
    ...headers,
    ...(given.has('accept') ? [] : [['accept', '*/*'] as const]),
    ...(given.has('user-agent') ? [] : [['user-agent', `edgefn/${VERSION}`] as const]),
    ...(takesBody ? [['content-length', String(body.length)] as const] : []),
  ]
  const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  return Buffer.from(`${method} ${target.path} HTTP/1.1\r\n${lines}\r\n`, 'latin1')
}
