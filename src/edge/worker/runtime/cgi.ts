/** Guests' responses in CGI form (RFC 3875 section 6): parsed, held to limits, cleaned of what only the host may say. */

import { EdgefnError } from '../../../errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { GuestResponse } from '../call.ts'
import { trimBlanks } from '../fetch/request.ts'
import { detectContentType } from './content-type.ts'

const LF = 10
const CR = 13
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
// Field values: visible characters, space, tab and bytes from 0x80; no control characters (RFC 9110 section 5.5).
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

/** Said by the host alone: connection handling, lengths and framing (RFC 9110 section 7.6.1). */
const HOST_ONLY = new Set([
  'connection',
  'content-length',
  'date',
  'keep-alive',
  'proxy-authenticate',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** Responses up to this size are copied. */
const copiedBytesMax = 1000
/** A head longer than this is parsed anew each time. */
const lastHeadBytesMax = 512
const NO_BODY = new Uint8Array(0)

/**
 * What the head of the last response came to: when the next one begins with the same bytes, status and headers, the same object,
 * are not made again.
 */
export class LastHead {
  /** With the empty line that ends it; empty when none is kept. */
  #bytes: Uint8Array = NO_BODY
  #status = 0
  #headers: GuestResponse['headers'] = []

  /** Bytes of the head that is kept, at most `lastHeadBytesMax`; 0 for none. */
  get length(): number {
    return this.#bytes.length
  }

  /** Whether a response that begins with `bytes` has the head that is kept. */
  begins(bytes: Uint8Array): boolean {
    const kept = this.#bytes
    for (let at = 0; at < kept.length; at += 1) if (bytes[at] !== kept[at]) return false
    return true
  }

  /** The response with the head that is kept and this body. */
  response(body: Uint8Array<ArrayBuffer>): GuestResponse {
    checkBodyBytes(body.length)
    return { status: this.#status, headers: this.#headers, body }
  }

  /** As `parseCgiResponse`, with the head that is kept where it begins with that. */
  read(bytes: Uint8Array<ArrayBuffer>): GuestResponse {
    const { length } = this.#bytes
    if (length > 0 && length <= bytes.length && this.begins(bytes)) {
      // A view of a small array costs more than a copy of it.
      const isSmall = bytes.length <= copiedBytesMax
      return this.response(isSmall ? bytes.slice(length) : bytes.subarray(length))
    }
    return this.parse(bytes)
  }

  /** As `parseCgiResponse`; keeps the head if it may. */
  parse(bytes: Uint8Array<ArrayBuffer>): GuestResponse {
    const end = requireHeaderEnd(bytes)
    const lines = bytes.subarray(0, end.header)
    const body = bytes.subarray(end.body)
    const bare = assembleResponse(null, lines, NO_BODY)
    // Without a content type the headers depend on the body too.
    if (!hasContentType(bare.headers)) return assembleResponse(null, lines, body)
    checkBodyBytes(body.length)
    if (end.body <= lastHeadBytesMax) {
      this.#bytes = bytes.slice(0, end.body)
      this.#status = bare.status
      this.#headers = bare.headers
    }
    return { ...bare, body }
  }
}

/** A whole CGI response: header lines, an empty line, the body. Throws `invalid_response` saying what is wrong. */
export function parseCgiResponse(bytes: Uint8Array<ArrayBuffer>): GuestResponse {
  const end = requireHeaderEnd(bytes)
  return assembleResponse(null, bytes.subarray(0, end.header), bytes.subarray(end.body))
}

function requireHeaderEnd(bytes: Uint8Array): { header: number; body: number } {
  const end = findHeaderEnd(bytes)
  if (end === null && bytes.length <= LIMITS.responseHeaderBytesMax) {
    throw invalid('The response has no empty line between its header and its body.')
  }
  if (end === null) throw headerTooLarge()
  checkFieldBytes(end.header)
  return end
}

/**
 * A response whose header lines and body are known apart. `givenStatus` is that of `response_head`, null where only a
 * `Status` line can tell; such a line goes first in either case. Throws `invalid_response`.
 */
export function assembleResponse(
  givenStatus: number | null,
  lines: Uint8Array<ArrayBuffer>,
  body: Uint8Array<ArrayBuffer>,
): GuestResponse {
  const fields = parseFields(lines)
  const status = readStatus(fields) ?? givenStatus
  return responseOf(
    status,
    fields.filter(([name]) => name !== 'status'),
    body,
  )
}

/**
 * A response of parsed fields, names in lower case and values as `parseField` gives them; without a status it is 200, or
 * 302 with a `Location`. What only the host may say is taken out. Throws `invalid_response`.
 */
export function responseOf(
  givenStatus: number | null,
  fields: readonly (readonly [string, string])[],
  body: Uint8Array<ArrayBuffer>,
): GuestResponse {
  checkBodyBytes(body.length)
  if (fields.length > LIMITS.responseHeadersMax) {
    throw invalid(`The response has more than ${LIMITS.responseHeadersMax} header fields.`)
  }
  const redirects = fields.some(([name]) => name === 'location')
  const status = givenStatus ?? (redirects ? 302 : 200)
  const named = namedByConnection(fields)
  const headers = fields.filter(
    ([name, value]) =>
      !HOST_ONLY.has(name) && !named.has(name) && (name !== 'content-type' || value !== ''),
  )
  if (body.length > 0 && !hasContentType(headers)) {
    headers.push(['content-type', detectContentType(body)])
  }
  return { status, headers, body }
}

function hasContentType(headers: GuestResponse['headers']): boolean {
  return headers.some(([name]) => name === 'content-type')
}

function checkBodyBytes(bytes: number): void {
  if (bytes <= LIMITS.responseBodyBytesMax) return
  throw invalid(`The response body is over ${LIMITS.responseBodyBytesMax} bytes.`)
}

/** Fields that the guest's own Connection calls hop-by-hop go with it (RFC 9110 section 7.6.1). */
function namedByConnection(fields: readonly (readonly [string, string])[]): ReadonlySet<string> {
  const values = fields.filter(([name]) => name === 'connection').map(([, value]) => value)
  return new Set(
    values
      .join(',')
      .split(',')
      .map((name) => name.trim().toLowerCase()),
  )
}

/** One field whose name and value are known apart, as bytes. Throws `invalid_response` for what a header may not have. */
export function fieldOf(name: Uint8Array, value: Uint8Array): [string, string] {
  const text = latin1(name)
  if (!TOKEN.test(text)) {
    const shown = JSON.stringify(text.slice(0, 80))
    throw invalid(`The response has a header field with a malformed name: ${shown}.`)
  }
  return parseField(`${text}:${latin1(value)}`)
}

/** The bytes of header fields together, as they are limited in every form that they come in. */
export function checkFieldBytes(bytes: number): void {
  if (bytes > LIMITS.responseHeaderBytesMax) throw headerTooLarge()
}

/** Where the header block ends and the body begins; the block may be empty. */
function findHeaderEnd(bytes: Uint8Array): { header: number; body: number } | null {
  let lineStart = 0
  for (;;) {
    const newline = bytes.indexOf(LF, lineStart)
    if (newline < 0) return null
    if (newline > LIMITS.responseHeaderBytesMax) return { header: newline, body: newline + 1 }
    const lineEnd = newline > lineStart && bytes[newline - 1] === CR ? newline - 1 : newline
    if (lineEnd === lineStart) return { header: lineStart, body: newline + 1 }
    lineStart = newline + 1
  }
}

function parseFields(lines: Uint8Array): [string, string][] {
  const fields: [string, string][] = []
  for (const line of latin1(lines).split('\n')) {
    const field = line.endsWith('\r') ? line.slice(0, -1) : line
    if (field !== '') fields.push(parseField(field))
  }
  return fields
}

/** One character per byte; the TextDecoder of this name decodes windows-1252. */
function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}

function parseField(line: string): [string, string] {
  const colon = line.indexOf(':')
  const name = line.slice(0, Math.max(colon, 0)).toLowerCase()
  // Not trim(), which takes 0xa0 for a space: it is the last byte of many characters in UTF-8.
  const value = trimBlanks(line.slice(colon + 1))
  if (colon < 1 || !TOKEN.test(name) || !VALUE.test(value)) {
    throw invalid(`The response header has a malformed line: ${JSON.stringify(line.slice(0, 80))}.`)
  }
  return [name, value]
}

function readStatus(fields: readonly [string, string][]): number | null {
  const field = fields.find(([name]) => name === 'status')
  if (field === undefined) return null
  const digits = /^([2-5]\d\d)(?: .*)?$/.exec(field[1])
  if (digits === null) {
    throw invalid(`The response has a malformed Status: ${JSON.stringify(field[1].slice(0, 80))}.`)
  }
  return Number(digits[1])
}

function headerTooLarge(): EdgefnError {
  return invalid(`The response header is over ${LIMITS.responseHeaderBytesMax} bytes.`)
}

/** The answer of a guest is not one. */
export function invalid(message: string): EdgefnError {
  return new EdgefnError('invalid_response', message)
}
