/** What a guest asks `http_fetch` for: one text of request line, header lines and body, held to its limits. */

import { LIMITS } from '../../../protocol/limits.ts'
import { HTTP_METHODS } from '../../../protocol/http-methods.ts'
import { LOOP_FIELD } from './loop.ts'
import { FetchError } from './outcome.ts'
import { parseTarget } from './target.ts'
import type { FetchTarget } from './target.ts'

/** Plain data: it is cloned to the fetch thread. */
export interface FetchRequest {
  readonly method: string
  readonly target: FetchTarget
  /** Names in lower case; values are bytes, one to a character. */
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Uint8Array<ArrayBuffer>
}

/** Fields that belong to the connection, to its framing or to the host, and so to edgefn. */
const RESERVED = new Set([
  LOOP_FIELD,
  'connection',
  'content-length',
  'expect',
  'host',
  'http2-settings',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** Whether a field is edgefn's to set, by its name in lower case. */
export function isReservedField(name: string): boolean {
  return RESERVED.has(name) || name.startsWith('proxy-')
}

const FIELD = /^([!#$%&'*+.^_`|~\w-]{1,256}):(.*)$/
/** What no field value holds: CR, LF and NUL would end it, the others have no business there. */
// oxlint-disable-next-line no-control-regex -- the control characters are the point
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f]/

const HEAD_END = Buffer.from('\r\n\r\n')

/** Bytes that a whole request may have. */
export const fetchRequestBytesMax =
  LIMITS.fetchRequestHeadBytesMax + HEAD_END.length + LIMITS.fetchRequestBodyBytesMax

/** Reads a request. Throws FetchError `invalid`, or `too_large` where only a limit is in the way. */
export function parseFetchRequest(bytes: Uint8Array<ArrayBuffer>): FetchRequest {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const end = text.indexOf(HEAD_END)
  const headBytes = end < 0 ? bytes.length : end
  if (headBytes > LIMITS.fetchRequestHeadBytesMax) {
    throw tooLarge('fetchRequestHeadBytesMax', LIMITS.fetchRequestHeadBytesMax)
  }
  if (end < 0) throw invalid('The request has no empty line after its head.')
  const body = bytes.slice(end + HEAD_END.length)
  if (body.length > LIMITS.fetchRequestBodyBytesMax) {
    throw tooLarge('fetchRequestBodyBytesMax', LIMITS.fetchRequestBodyBytesMax)
  }
  const [line = '', ...fields] = text.toString('latin1', 0, end).split('\r\n')
  if (fields.length > LIMITS.fetchHeadersMax) {
    throw tooLarge('fetchHeadersMax', LIMITS.fetchHeadersMax)
  }
  return { ...parseRequestLine(line), headers: fields.map(parseField), body }
}

function parseRequestLine(line: string): { method: string; target: FetchTarget } {
  const space = line.indexOf(' ')
  const method = line.slice(0, Math.max(space, 0))
  const url = line.slice(space + 1)
  if (!HTTP_METHODS.some((known) => known === method)) {
    throw invalid(`The method must be one of ${HTTP_METHODS.join(', ')}.`)
  }
  if (url.length > LIMITS.fetchUrlBytesMax) {
    throw tooLarge('fetchUrlBytesMax', LIMITS.fetchUrlBytesMax)
  }
  const target = parseTarget(url)
  if (target === null) throw invalid('The URL is not one that may be fetched.')
  return { method, target }
}

function parseField(line: string): readonly [string, string] {
  const match = FIELD.exec(line)
  const name = match?.[1]?.toLowerCase() ?? ''
  const value = trimBlanks(match?.[2] ?? '')
  if (match === null || CONTROL.test(value)) throw invalid('A header line is not well-formed.')
  if (isReservedField(name)) {
    throw invalid(`A guest cannot set the header ${name}.`)
  }
  return [name, value]
}

/** Without the blanks around a value; a regular expression would take quadratic time for what a stranger sends. */
export function trimBlanks(text: string): string {
  const isBlank = (at: number) => text[at] === ' ' || text[at] === '\t'
  let from = 0
  let to = text.length
  while (from < to && isBlank(from)) from += 1
  while (to > from && isBlank(to - 1)) to -= 1
  return text.slice(from, to)
}

function invalid(message: string): FetchError {
  return new FetchError('invalid', message)
}

function tooLarge(limit: string, value: number): FetchError {
  return new FetchError('too_large', `The request is over ${limit} (${value}).`)
}
