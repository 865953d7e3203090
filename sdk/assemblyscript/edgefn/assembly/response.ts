/** The response that a handler returns. */
import { at, encode, headerLine } from './bytes'
import * as host from './host'

/** What the function answers. Without a `content-type`, edgefn chooses one by the looks of the body. */
export class Response {
  private head: string = ''

  constructor(
    public body: ArrayBuffer = new ArrayBuffer(0),
    /** 200 to 599. */
    public status: i32 = 200,
  ) {}

  /** 200 with a text, or another status. */
  static text(text: string, status: i32 = 200): Response {
    return new Response(encode(text), status).header('content-type', 'text/plain; charset=utf-8')
  }

  /** 200 with JSON, given as text, or another status. */
  static json(json: string, status: i32 = 200): Response {
    return new Response(encode(json), status).header('content-type', 'application/json')
  }

  /** Adds a header. Line ends in it become blanks, or they would begin another. */
  header(name: string, value: string): Response {
    this.head += headerLine(name, value)
    return this
  }

  /** Answers through the response buffer, or through the host calls when it does not fit. Returns what `handle` returns. */
  send(response: usize, cap: i32): i32 {
    const head = encode('Status: ' + this.status.toString() + '\r\n' + this.head + '\r\n')
    const length = head.byteLength + this.body.byteLength
    if (length <= cap) {
      memory.copy(response, at(head), head.byteLength)
      memory.copy(response + head.byteLength, at(this.body), this.body.byteLength)
      return length
    }
    const lines = encode(this.head)
    const result = host.response_head(this.status, at(lines), lines.byteLength)
    return result < 0 ? result : host.response_write(at(this.body), this.body.byteLength)
  }
}
