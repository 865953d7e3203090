/** HTTP requests to elsewhere, to the hosts that the function's version is allowed. */
import { at, concat, decode, encode, headerLine, Headers, oneLine } from './bytes'
import * as host from './host'
import { Result } from './result'

const PIECE_BYTES: i32 = 32768

/** The answer to a request. */
export class Fetched {
  headers: Headers = new Headers()
  body: ArrayBuffer = new ArrayBuffer(0)

  /** `status` is that of the answer, or below zero when there is none. */
  constructor(public status: i32) {}

  /** The body as text. */
  get text(): string {
    return decode(this.body)
  }

  /** A header, by its name in any case. */
  header(name: string): string | null {
    return this.headers.get(name)
  }
}

/** A request to be sent. */
export class Fetch {
  body: ArrayBuffer = new ArrayBuffer(0)
  private head: string

  constructor(method: string, url: string) {
    this.head = oneLine(method) + ' ' + oneLine(url) + '\r\n'
  }

  /** Adds a header. Line ends in it become blanks, or they would begin another. */
  header(name: string, value: string): Fetch {
    this.head += headerLine(name, value)
    return this
  }

  /** Sends the request and takes the whole answer. */
  send(): Fetched {
    const request = concat([encode(this.head + '\r\n'), this.body])
    const handle = host.http_fetch(at(request), request.byteLength)
    if (handle < 0) return new Fetched(handle)
    const fetched = receive(handle)
    host.http_response_close(handle)
    return fetched
  }
}

/** A `GET` of a URL. */
export function get(url: string): Fetched {
  return new Fetch('GET', url).send()
}

function receive(handle: i32): Fetched {
  let head = new ArrayBuffer(4096)
  let length = host.http_response_head(handle, at(head), head.byteLength)
  if (length > head.byteLength) {
    head = new ArrayBuffer(length)
    length = host.http_response_head(handle, at(head), length)
  }
  if (length < 0) return new Fetched(length)
  const headers = Headers.parse(String.UTF8.decodeUnsafe(at(head), length))
  const status = headers.get('status')
  const fetched = new Fetched(status === null ? Result.Invalid : i32(parseInt(status)))
  fetched.headers = headers
  const pieces: ArrayBuffer[] = []
  const piece = new ArrayBuffer(PIECE_BYTES)
  for (;;) {
    const result = host.http_response_body(handle, at(piece), PIECE_BYTES)
    if (result < 0) return new Fetched(result)
    if (result == 0) break
    pieces.push(piece.slice(0, result))
  }
  fetched.body = concat(pieces)
  return fetched
}
