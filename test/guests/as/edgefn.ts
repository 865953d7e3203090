/** The edgefn ABI as an AssemblyScript guest sees it. docs/GUEST-ABI.md is the reference. */

@external('edgefn', 'log')
export declare function log(level: i32, text: usize, length: i32): void
@external('edgefn', 'response_head')
export declare function responseHead(status: i32, headers: usize, length: i32): i32
@external('edgefn', 'response_write')
export declare function responseWrite(bytes: usize, length: i32): i32

/** Copies a string out of a buffer of the host's. */
export function text(pointer: usize, length: i32): string {
  return String.UTF8.decodeUnsafe(pointer, length)
}

/** Answers through the response buffer, or through the host calls when it does not fit. Returns what `handle` returns. */
export function respond(head: string, body: string, response: usize, cap: i32): i32 {
  const headBytes = String.UTF8.encode(head)
  const bodyBytes = String.UTF8.encode(body)
  const length = headBytes.byteLength + 2 + bodyBytes.byteLength
  if (length > cap) {
    const result = responseHead(200, changetype<usize>(headBytes), headBytes.byteLength)
    return result < 0 ? result : responseWrite(changetype<usize>(bodyBytes), bodyBytes.byteLength)
  }
  memory.copy(response, changetype<usize>(headBytes), headBytes.byteLength)
  store<u16>(response + headBytes.byteLength, 0x0a0d)
  memory.copy(
    response + headBytes.byteLength + 2,
    changetype<usize>(bodyBytes),
    bodyBytes.byteLength,
  )
  return length
}
