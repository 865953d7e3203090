// asc --path sdk/assemblyscript examples/hello.ts -O -o hello.wasm
import { onRequest, Request, Response } from 'edgefn'
export { alloc, handle } from 'edgefn'

onRequest((request: Request) =>
  Response.text(`Hello from AssemblyScript: ${request.method} ${request.path}\n`),
)
