// asc hello.ts -O -o hello.wasm
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
  const name = String.UTF8.decodeUnsafe(method, methodLength)
  const target = String.UTF8.decodeUnsafe(path, pathLength)
  const answer = `Content-Type: text/plain\r\n\r\nHello from AssemblyScript: ${name} ${target}\n`
  const bytes = String.UTF8.encode(answer)
  if (bytes.byteLength > responseCap) return -1
  memory.copy(response, changetype<usize>(bytes), bytes.byteLength)
  return bytes.byteLength
}
