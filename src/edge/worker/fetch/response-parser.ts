/**
 * HTTP/1.1 responses, read strictly (RFC 9112): one response at a time, from a server that may be hostile. Nothing that
 * it sends makes the parser keep more than its limits.
 */

import { LIMITS } from '../../../protocol/limits.ts'
import { FetchError } from './outcome.ts'
import { trimBlanks } from './request.ts'

export interface ResponseHead {
  readonly status: number
  /** Names in lower case; values are bytes, one to a character. */
  readonly headers: readonly (readonly [string, string])[]
}

export interface ResponseHandlers {
  onHead(head: ResponseHead): void
  /** `bytes` are only good during the call. */
  onBody(bytes: Uint8Array): void
}

type State =
  | { readonly at: 'status' | 'fields' | 'chunk_size' | 'chunk_end' | 'trailers' | 'ended' }
  /** So many bytes of a body, or of a chunk of one; a body up to the end of the connection has no number. */
  | { readonly at: 'body'; left: number; readonly chunked: boolean }

const LF = 10
const chunkLineBytesMax = 1024
const trailerBytesMax = 8 * 1024
/** How much sooner a connection is given up than its server says that it will. */
const marginMs = 1000
const NAME = /^[!#$%&'*+.^_`|~\w-]+$/
// oxlint-disable-next-line no-control-regex -- the control characters are the point
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f]/

export class ResponseParser {
  readonly #handlers: ResponseHandlers
  /** A HEAD request: whatever the head says, no body comes. */
  readonly #bodiless: boolean
  #state: State = { at: 'status' }
  /** A line that has begun in an earlier piece. */
  #partial = ''
  /** Bytes that lines may still have, before the next body byte. */
  #lineBytesLeft: number = LIMITS.fetchResponseHeadBytesMax
  #status = 0
  #headers: (readonly [string, string])[] = []
  #version = ''
  /** Whether the response said itself where it ends, and nothing came behind it. */
  #isFramed = false

  constructor(method: string, handlers: ResponseHandlers) {
    this.#bodiless = method === 'HEAD'
    this.#handlers = handlers
  }

  get ended(): boolean {
    return this.#state.at === 'ended'
  }

  /**
   * Milliseconds that the connection may wait for another request, by what the server says of it, Infinity when it says nothing; 0 when there
   * may be no other (RFC 9112 9.3). Only when the response has ended.
   */
  get idleMs(): number {
    if (!this.#isFramed || this.#version !== '1.1') return 0
    const values = (wanted: string) =>
      this.#headers.filter(([name]) => name === wanted).map(([, value]) => value.toLowerCase())
    const options = values('connection').flatMap((value) => value.split(','))
    if (options.some((option) => option.trim() === 'close')) return 0
    const timeout = /(?:^|[,\s])timeout=(\d{1,6})(?:[,\s]|$)/.exec(values('keep-alive').join(','))
    // What is sent takes time to arrive.
    return timeout === null ? Infinity : Math.max(Number(timeout[1]) * 1000 - marginMs, 0)
  }

  /** Takes the next bytes of the connection; what comes after the response is dropped. Throws FetchError. */
  push(bytes: Buffer): void {
    let at = 0
    while (at < bytes.length && this.#state.at !== 'ended') {
      const state = this.#state
      at = state.at === 'body' ? this.#takeBody(bytes, at, state) : this.#takeLine(bytes, at)
    }
    if (at < bytes.length) this.#isFramed = false
  }

  /** The server has closed the connection. Throws FetchError when that comes too early. */
  finish(): void {
    const state = this.#state
    if (state.at === 'ended') return
    const untilClose = state.at === 'body' && state.left === Infinity
    if (!untilClose) throw malformed('The connection ended before the response.')
    this.#end()
    this.#isFramed = false
  }

  #takeBody(bytes: Buffer, at: number, state: State & { at: 'body' }): number {
    const piece = bytes.subarray(at, Math.min(bytes.length, at + state.left))
    state.left -= piece.length
    this.#handlers.onBody(piece)
    if (state.left === 0) {
      if (state.chunked) this.#expectLines('chunk_end', chunkLineBytesMax)
      else this.#end()
    }
    return at + piece.length
  }

  #takeLine(bytes: Buffer, at: number): number {
    const found = bytes.indexOf(LF, at)
    const end = found < 0 ? bytes.length : found
    this.#lineBytesLeft -= end - at + (found < 0 ? 0 : 1)
    if (this.#lineBytesLeft < 0) {
      throw new FetchError('too_large', 'The lines around the response body are over their limit.')
    }
    this.#partial += bytes.toString('latin1', at, end)
    if (found < 0) return end
    const line = this.#partial.endsWith('\r') ? this.#partial.slice(0, -1) : this.#partial
    this.#partial = ''
    this.#line(line)
    return end + 1
  }

  #line(line: string): void {
    switch (this.#state.at) {
      case 'status':
        return this.#statusLine(line)
      case 'fields':
        if (line === '') return this.#headEnded()
        this.#headers.push(parseField(line))
        return
      case 'chunk_size':
        return this.#chunkSize(line)
      case 'chunk_end':
        if (line !== '') throw malformed('A chunk is longer than it says.')
        return this.#expectLines('chunk_size', chunkLineBytesMax)
      case 'trailers':
        if (line === '') this.#end()
        return
      default:
        throw malformed('A line came where none belongs.')
    }
  }

  #statusLine(line: string): void {
    const match = /^HTTP\/(1\.[01]) ([1-5]\d\d)(?: [^\r]*)?$/.exec(line)
    this.#version = match?.[1] ?? ''
    this.#status = Number(match?.[2])
    if (match === null || this.#status === 101)
      throw malformed('The status line is no status line.')
    this.#headers = []
    this.#state = { at: 'fields' }
  }

  #headEnded(): void {
    // Interim responses are not for the guest; all of them and the real one share the limit of one head.
    if (this.#status < 200) {
      this.#state = { at: 'status' }
      return
    }
    const framing = framingOf(this.#headers)
    this.#handlers.onHead({ status: this.#status, headers: this.#headers })
    const empty = this.#bodiless || this.#status === 204 || this.#status === 304 || framing === 0
    if (empty) {
      this.#end()
      // A server that announces a body where none may be (RFC 9110 8.6, RFC 9112 6.1) may send it as well.
      const announced = framing !== 0 && framing !== Infinity
      if (this.#status === 204 && announced) this.#isFramed = false
    } else if (framing === 'chunked') this.#expectLines('chunk_size', chunkLineBytesMax)
    else this.#state = { at: 'body', left: framing, chunked: false }
  }

  #chunkSize(line: string): void {
    const match = /^([\da-f]{1,8})[ \t]*(?:;[^\r]*)?$/i.exec(line)
    if (match === null) throw malformed('A chunk does not begin with its size.')
    const left = Number.parseInt(match[1] ?? '', 16)
    if (left === 0) this.#expectLines('trailers', trailerBytesMax)
    else this.#state = { at: 'body', left, chunked: true }
  }

  #expectLines(at: 'chunk_size' | 'chunk_end' | 'trailers', bytesMax: number): void {
    this.#lineBytesLeft = bytesMax
    this.#state = { at }
  }

  #end(): void {
    this.#state = { at: 'ended' }
    this.#isFramed = true
  }
}

/** Bytes of the body, `Infinity` for up to the end of the connection. What could be read in two ways is refused. */
function framingOf(headers: ResponseHead['headers']): number | 'chunked' {
  const values = (wanted: string) =>
    headers.filter(([name]) => name === wanted).map(([, value]) => value)
  const codings = values('transfer-encoding')
  const lengths = new Set(values('content-length'))
  if (codings.length > 0) {
    const chunked = codings.length === 1 && codings[0]?.toLowerCase() === 'chunked'
    if (!chunked || lengths.size > 0) throw malformed('The transfer coding is not plain chunked.')
    return 'chunked'
  }
  if (lengths.size === 0) return Infinity
  const [length = ''] = lengths
  if (lengths.size > 1 || !/^\d{1,15}$/.test(length)) {
    throw malformed('The content-length is not one number.')
  }
  return Number(length)
}

function parseField(line: string): readonly [string, string] {
  const colon = line.indexOf(':')
  const name = line.slice(0, Math.max(colon, 0))
  const value = trimBlanks(line.slice(colon + 1))
  if (!NAME.test(name) || CONTROL.test(value)) throw malformed('A header line is not well-formed.')
  return [name.toLowerCase(), value]
}

function malformed(message: string): FetchError {
  return new FetchError('network', message)
}
