/** An HTTP request as Bun hands it over → its checked parts, and the header fields that a guest gets. */

import { EdgefnError } from '../../../errors.ts'
import { HTTP_METHODS } from '../../../protocol/http-methods.ts'
import type { Method } from '../../../protocol/manifest.ts'
import type { HostNames } from './host.ts'

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

/** A request whose fields have been read. */
export interface Identified {
  readonly request: Request
  readonly connection: Connection
  readonly requestId: string
  readonly record: HeaderRecord
  readonly readMs: number
  /** Once it is routed. */
  functionId: string | undefined
}

/** What the server knows of a request's connection. */
export interface Connection {
  readonly serverPort: number
  /** Null when the client is gone already. */
  peer(): Peer | null
  /** Sets the connection's idle timeout; 0 is none. */
  patience(seconds: number): void
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

/** Header fields as Bun gives them all at once, names in lower case; several `Set-Cookie` are an array. */
export type HeaderRecord = Readonly<Record<string, string | readonly string[] | undefined>>

/** All at once costs no more than one field by its name. */
export function headerRecord(request: Request): HeaderRecord {
  return request.headers.toJSON()
}

/** A field that has one value, however many times it came; undefined when it did not. */
export function fieldIn(record: HeaderRecord, name: string): string | undefined {
  const value = record[name]
  return typeof value === 'object' ? value.join(', ') : value
}

/**
 * Checks method, Host and target. Throws `method_not_allowed` for methods that no route can take and `bad_request` for
 * the rest. Bun drops the authority of an absolute-form target and builds the URL from Host, so that one is what counts.
 */
export function readHead(request: Request, record: HeaderRecord, hosts: HostNames): RequestHead {
  const method = request.method
  if (!isMethod(method)) {
    throw new EdgefnError('method_not_allowed', `The method ${method} is not served here.`)
  }
  const host = hosts.of(fieldIn(record, 'host'))
  const url = request.url
  // With an authority that the URL parser refuses, Bun gives the bare target.
  const pathStart = url.startsWith('http://') ? url.indexOf('/', 7) : -1
  if (pathStart < 0) throw new EdgefnError('bad_request', 'The request target is not valid.')
  const target = url.slice(pathStart)
  if (target.includes('#')) {
    throw new EdgefnError('bad_request', 'The request target must not have a fragment.')
  }
  const length = fieldIn(record, 'content-length')
  if (length !== undefined && !/^\d{1,15}$/.test(length)) {
    throw new EdgefnError('bad_request', 'The request must have one Content-Length, a number.')
  }
  const query = target.indexOf('?')
  return { method, host, path: query < 0 ? target : target.slice(0, query), target }
}

function isMethod(method: string): method is Method {
  return METHODS.has(method)
}

/**
 * The fields a guest may see, as lines (`header-lines.ts`): hop-by-hop ones are gone, those named by Connection too; `x-request-id`
 * is the one in use, and a `content-length` that of the body the guest gets, since Bun reads bodies of GET and HEAD and hands
 * over none.
 */
export function guestHeaderLines(
  record: HeaderRecord,
  requestId: string,
  bodyBytes: number,
): string {
  const connection = fieldIn(record, 'connection')
  const named = connection === undefined ? null : namedByConnection(connection)
  let lines = ''
  for (const name in record) {
    if (HOP_BY_HOP.has(name) || named?.has(name) === true || name === 'x-request-id') continue
    const value = record[name]
    if (name === 'content-length') lines += `content-length: ${bodyBytes}\r\n`
    else if (typeof value === 'string') lines += `${name}: ${textOf(value)}\r\n`
    else for (const each of value ?? []) lines += `${name}: ${textOf(each)}\r\n`
  }
  return `${lines}x-request-id: ${requestId}\r\n`
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
function namedByConnection(connection: string): Set<string> {
  const names = connection.split(',').map((name) => name.trim().toLowerCase())
  return new Set(names.filter((name) => name !== 'host' && name !== 'content-length'))
}
