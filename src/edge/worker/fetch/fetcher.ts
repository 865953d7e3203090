/** One fetch from allow-list to last byte, redirects included. Where the response goes is the caller's business. */

import type { Socket } from 'node:net'

import { isAllowed } from '../../../protocol/http-allow.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import { VERSION } from '../../../version.ts'
import { openConnection } from './connect.ts'
import type { ConnectDeps } from './connect.ts'
import { FetchError } from './outcome.ts'
import { locationOf, redirected } from './redirect.ts'
import type { FetchRequest } from './request.ts'
import { ResponseParser } from './response-parser.ts'
import type { ResponseHead } from './response-parser.ts'
import { authorityOf, originOf } from './target.ts'

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
 * Either way no socket is left open. `leftMs` is the time there is, which the signal enforces.
 */
export async function runFetch(
  first: FetchRequest,
  allow: readonly string[],
  sink: ResponseSink,
  deps: ConnectDeps,
  leftMs: () => number,
  signal: AbortSignal,
): Promise<void> {
  let request = first
  for (let redirects = 0; ; redirects += 1) {
    if (!isAllowed(allow, request.target)) {
      const message = `The allow-list does not have ${originOf(request.target)}.`
      throw new FetchError('not_allowed', message)
    }
    const socket = await openConnection(request.target, deps, leftMs, signal)
    const head = await exchange(socket, request, sink, signal)
    const location = head === null ? null : locationOf(head)
    if (head === null || location === null) return
    if (redirects === LIMITS.fetchRedirectsMax) {
      const message = `There are more than ${LIMITS.fetchRedirectsMax} redirects.`
      throw new FetchError('too_many_redirects', message)
    }
    request = redirected(request, head, location)
  }
}

/** Resolves with the head of a redirect, whose body is not read, or with null when the sink has got all of the response. */
function exchange(
  socket: Socket,
  request: FetchRequest,
  sink: ResponseSink,
  signal: AbortSignal,
): Promise<ResponseHead | null> {
  return new Promise((resolve, reject) => {
    let bodyBytes = 0
    const abort = () => fail(signal.reason)
    const parser = new ResponseParser(request.method, {
      onHead(head) {
        if (locationOf(head) !== null) return finish(head)
        if (request.method !== 'HEAD' && saysTooLarge(head)) throw bodyTooLarge()
        sink.onHead(head)
      },
      onBody(bytes) {
        if (socket.destroyed) return
        bodyBytes += bytes.length
        if (bodyBytes > LIMITS.fetchResponseBodyBytesMax) throw bodyTooLarge()
        if (!sink.onBody(bytes)) socket.pause()
      },
      onEnd: () => finish(null),
    })
    sink.onRoom(() => socket.resume())
    signal.addEventListener('abort', abort, { once: true })
    socket.on('data', (bytes: Buffer) => guarded(() => parser.push(bytes)))
    socket.once('end', () => guarded(() => parser.finish()))
    socket.once('error', fail)
    socket.once('close', () => guarded(() => parser.finish()))
    if (signal.aborted) return abort()
    socket.write(headBytes(request))
    if (request.body.length > 0) socket.write(request.body)

    function guarded(step: () => void): void {
      if (socket.destroyed && parser.ended) return
      try {
        step()
      } catch (thrown) {
        fail(thrown)
      }
    }

    function finish(head: ResponseHead | null): void {
      signal.removeEventListener('abort', abort)
      socket.destroy()
      resolve(head)
    }

    function fail(reason: unknown): void {
      signal.removeEventListener('abort', abort)
      socket.destroy()
      reject(reason)
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
    ['connection', 'close'],
  ]
  const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  return Buffer.from(`${method} ${target.path} HTTP/1.1\r\n${lines}\r\n`, 'latin1')
}
