/** An HTTP request as Bun hands it over → its checked parts, and from them the request that a guest gets. */

import { EdgefnError } from '../../../errors.ts'
import { HTTP_METHODS, type Method, type Route } from '../../../protocol/manifest.ts'
import type { GuestRequest } from '../call.ts'
import { hostName } from './host.ts'

/** What routing needs. */
export interface RequestHead {
  readonly method: Method
  readonly host: string
  /** Normalised by the URL parser: `.` and `..` resolved, non-ASCII percent-encoded; starts with a slash. */
  readonly path: string
  /** Path with query string. */
  readonly target: string
}

export interface Peer {
  readonly address: string
  readonly port: number
}

/** Fields that concern one connection only (RFC 9110 7.6.1), and `expect`, which has been answered already. */
const HOP_BY_HOP = new Set([
  'connection',
  'expect',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

const METHODS: ReadonlySet<string> = new Set(HTTP_METHODS)

/**
 * Checks method, Host and target. Throws `method_not_allowed` for methods that no route can take and `bad_request` for
 * the rest. Bun drops the authority of an absolute-form target and builds the URL from Host, so that one is what counts.
 */
export function readHead(request: Request): RequestHead {
  const method = request.method
  if (!isMethod(method)) {
    throw new EdgefnError('method_not_allowed', `The method ${method} is not served here.`)
  }
  const host = hostName(request.headers.get('host'))
  const url = request.url
  // With an authority that the URL parser refuses, Bun gives the bare target.
  const pathStart = url.startsWith('http://') ? url.indexOf('/', 7) : -1
  if (pathStart < 0) throw new EdgefnError('bad_request', 'The request target is not valid.')
  const target = url.slice(pathStart)
  if (target.includes('#')) {
    throw new EdgefnError('bad_request', 'The request target must not have a fragment.')
  }
  const length = request.headers.get('content-length')
  if (length !== null && !/^\d{1,15}$/.test(length)) {
    throw new EdgefnError('bad_request', 'The request must have one Content-Length, a number.')
  }
  const query = target.indexOf('?')
  return { method, host, path: query < 0 ? target : target.slice(0, query), target }
}

function isMethod(method: string): method is Method {
  return METHODS.has(method)
}

/**
 * The fields a guest may see: hop-by-hop ones are gone, those named by Connection too; `x-request-id` is the one in use,
 * and a `content-length` that of the body the guest gets, since Bun reads bodies of GET and HEAD and hands over none.
 */
export function guestHeaders(
  headers: Headers,
  requestId: string,
  bodyBytes: number,
): [string, string][] {
  const named = namedByConnection(headers.get('connection'))
  const kept: [string, string][] = []
  for (const [name, value] of headers) {
    if (HOP_BY_HOP.has(name) || named?.has(name) === true || name === 'x-request-id') continue
    kept.push([name, name === 'content-length' ? String(bodyBytes) : textOf(value)])
  }
  kept.push(['x-request-id', requestId])
  return kept
}

const NOT_ASCII = /[\x80-\xff]/
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Bun gives a character for each byte of a field. Guests get the text: UTF-8 where it is that, Latin-1 where not. */
function textOf(value: string): string {
  if (!NOT_ASCII.test(value)) return value
  try {
    return utf8.decode(Buffer.from(value, 'latin1'))
  } catch {
    return value
  }
}

/** Host and Content-Length stay whatever a client writes into Connection: routing and the body were read by them. */
function namedByConnection(connection: string | null): Set<string> | null {
  if (connection === null) return null
  const names = connection.split(',').map((name) => name.trim().toLowerCase())
  return new Set(names.filter((name) => name !== 'host' && name !== 'content-length'))
}

export interface GuestRequestParts {
  readonly requestId: string
  readonly head: RequestHead
  readonly headers: Headers
  readonly body: Uint8Array<ArrayBuffer>
  /** Null when the client is gone already. */
  readonly peer: Peer | null
  readonly serverPort: number
  readonly route: Route
  readonly admittedMs: number
  readonly logMessagesMax: number
}

/** Bun does not say whether a request came by HTTP/2, so the protocol is always given as HTTP/1.1, which both speak for. */
export function guestRequest(parts: GuestRequestParts): GuestRequest {
  return {
    request_id: parts.requestId,
    method: parts.head.method,
    target: parts.head.target,
    headers: guestHeaders(parts.headers, parts.requestId, parts.body.byteLength),
    body: parts.body,
    remote_address: parts.peer?.address ?? '',
    remote_port: parts.peer?.port ?? 0,
    server_name: parts.head.host,
    server_port: parts.serverPort,
    scheme: 'http',
    protocol: 'HTTP/1.1',
    route_path: parts.route.path,
    route_type: parts.route.path_type,
    admitted_ms: parts.admittedMs,
    log_messages_max: parts.logMessagesMax,
  }
}
