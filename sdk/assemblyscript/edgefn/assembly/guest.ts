/** What the module exports: memory for the host's buffers, and the way from those to the handler and back. */
import { readRequest, Request } from './request'
import { Response } from './response'

type Handler = (request: Request) => Response

let handler: Handler | null = null

/** Sets the handler of the module. To be called once, at its top. */
export function onRequest(handle: Handler): void {
  handler = handle
}

/** Memory for the host's buffers, which the garbage collector leaves alone. */
export function alloc(size: i32): usize {
  return heap.alloc(size)
}

export function handle(
  method: usize,
  methodLength: i32,
  path: usize,
  pathLength: i32,
  headers: usize,
  headersLength: i32,
  body: usize,
  bodyLength: i32,
  response: usize,
  responseCap: i32,
): i32 {
  const answer = handler
  if (answer === null) return -1
  return answer(
    readRequest(method, methodLength, path, pathLength, headers, headersLength, body, bodyLength),
  ).send(response, responseCap)
}
