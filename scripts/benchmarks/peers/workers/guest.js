/** Calls a module through the edgefn ABI: one instance that is kept, its two buffers asked for once. */

import guestModule from 'guest.wasm'

const responseCapacity = 65536
let requestCapacity = 65536

const guest = new WebAssembly.Instance(guestModule, {}).exports
guest._initialize?.()
let requestAt = guest.alloc(requestCapacity)
const responseAt = guest.alloc(responseCapacity)
const encoder = new TextEncoder()
const decoder = new TextDecoder()
const nothing = new Uint8Array(0)

export default {
  async fetch(request) {
    const { method, url } = request
    const path = url.slice(url.indexOf('/', 8))
    let headers = ''
    for (const [name, value] of request.headers) headers += `${name}: ${value}\r\n`
    const body = request.body === null ? nothing : new Uint8Array(await request.arrayBuffer())
    const size = method.length + (path.length + headers.length) * 3 + body.length
    if (size > requestCapacity) {
      requestCapacity = size * 2
      requestAt = guest.alloc(requestCapacity)
    }
    return respond(call(method, path, headers, body))
  },
}

function call(method, path, headers, body) {
  const memory = new Uint8Array(guest.memory.buffer)
  let at = requestAt
  const put = (text) => {
    const { written } = encoder.encodeInto(text, memory.subarray(at))
    at += written
    return written
  }
  const methodAt = at
  const methodLength = put(method)
  const pathAt = at
  const pathLength = put(path)
  const headersAt = at
  const headersLength = put(headers)
  memory.set(body, at)
  return guest.handle(
    methodAt,
    methodLength,
    pathAt,
    pathLength,
    headersAt,
    headersLength,
    at,
    body.length,
    responseAt,
    responseCapacity,
  )
}

/** A response in CGI form: header lines, an empty line, the body. */
function respond(length) {
  if (length <= 0) return new Response(`handle returned ${length}`, { status: 500 })
  const bytes = new Uint8Array(guest.memory.buffer, responseAt, length)
  let end = 0
  while (end < length && !(bytes[end] === 13 && bytes[end + 2] === 13)) end++
  const headers = []
  for (const line of decoder.decode(bytes.subarray(0, end)).split('\r\n')) {
    const colon = line.indexOf(':')
    headers.push([line.slice(0, colon), line.slice(colon + 1).trim()])
  }
  return new Response(bytes.slice(end + 4), { headers })
}
