/** The request, and what the host knows besides. */
import { at, copy, decode, encode, Headers } from './bytes'
import * as host from './host'

/** A request that the function is to answer. */
export class Request {
  constructor(
    /** As in the request line: `GET`. */
    public readonly method: string,
    /** Without the query, percent-escapes included. */
    public readonly path: string,
    /** Without `?`, not decoded; empty when there is none. */
    public readonly query: string,
    public readonly headers: Headers,
    public readonly body: ArrayBuffer,
  ) {}

  /** The body as text. */
  get text(): string {
    return decode(this.body)
  }

  /** A header, by its name in any case. */
  header(name: string): string | null {
    return this.headers.get(name)
  }

  /** A parameter of the query, decoded. */
  queryValue(name: string): string | null {
    const pairs = this.query.split('&')
    for (let i = 0; i < pairs.length; i++) {
      const equals = pairs[i].indexOf('=')
      const key = equals < 0 ? pairs[i] : pairs[i].substring(0, equals)
      if (decodeEscapes(key) != name) continue
      return equals < 0 ? '' : decodeEscapes(pairs[i].substring(equals + 1))
    }
    return null
  }
}

/** The id of the current request, as in its `x-request-id` header. */
export function requestId(): string {
  let buffer = new ArrayBuffer(64)
  const length = host.request_id(at(buffer), buffer.byteLength)
  if (length > buffer.byteLength) {
    buffer = new ArrayBuffer(length)
    host.request_id(at(buffer), length)
  }
  return String.UTF8.decodeUnsafe(at(buffer), length)
}

/** A header of the current request, for code that does not have the Request at hand. */
export function requestHeader(name: string): string | null {
  const bytes = encode(name)
  let buffer = new ArrayBuffer(256)
  let length = host.request_header(at(bytes), bytes.byteLength, at(buffer), buffer.byteLength)
  if (length > buffer.byteLength) {
    buffer = new ArrayBuffer(length)
    length = host.request_header(at(bytes), bytes.byteLength, at(buffer), length)
  }
  return length < 0 ? null : String.UTF8.decodeUnsafe(at(buffer), length)
}

/** A variable of the function's version. */
export function env(name: string): string | null {
  const bytes = encode(name)
  let buffer = new ArrayBuffer(256)
  let length = host.env_get(at(bytes), bytes.byteLength, at(buffer), buffer.byteLength)
  if (length > buffer.byteLength) {
    buffer = new ArrayBuffer(length)
    length = host.env_get(at(bytes), bytes.byteLength, at(buffer), length)
  }
  return length < 0 ? null : String.UTF8.decodeUnsafe(at(buffer), length)
}

/** The request as the host gives it. */
export function readRequest(
  method: usize,
  methodLength: i32,
  path: usize,
  pathLength: i32,
  headers: usize,
  headersLength: i32,
  body: usize,
  bodyLength: i32,
): Request {
  const target = String.UTF8.decodeUnsafe(path, pathLength)
  const mark = target.indexOf('?')
  return new Request(
    String.UTF8.decodeUnsafe(method, methodLength),
    mark < 0 ? target : target.substring(0, mark),
    mark < 0 ? '' : target.substring(mark + 1),
    Headers.parse(String.UTF8.decodeUnsafe(headers, headersLength)),
    copy(body, bodyLength),
  )
}

function hex(code: i32): i32 {
  if (code >= 0x30 && code <= 0x39) return code - 0x30
  const lower = code | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1
}

function decodeEscapes(text: string): string {
  const bytes = Uint8Array.wrap(encode(text))
  let length = 0
  for (let i = 0; i < bytes.length; i++) {
    let byte: u8 = bytes[i]
    if (byte == 0x25 && i + 2 < bytes.length) {
      const high = hex(bytes[i + 1])
      const low = hex(bytes[i + 2])
      if (high >= 0 && low >= 0) {
        byte = u8((high << 4) | low)
        i += 2
      }
    } else if (byte == 0x2b) {
      byte = 0x20
    }
    bytes[length++] = byte
  }
  return String.UTF8.decodeUnsafe(bytes.dataStart, length)
}
