/** The smallest edgefn guest in AssemblyScript. */
import { respond } from './edgefn'

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
  return respond('content-type: text/plain\r\n', 'Hello, edge!\n', response, responseCap)
}
