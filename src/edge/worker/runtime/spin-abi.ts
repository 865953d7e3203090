/**
 * The ABI of Spin 1.x modules: `handle-http-request` as wit-bindgen 0.2 lowers it, in a fresh instance for every request.
 * Strings and lists of the request are allocated by the guest before the call; what it allocates goes with its instance.
 */

import type { FunctionHandle } from '../../../../ffi/handles.ts'
import { MemoryFault } from '../../../../ffi/memory.ts'
import type { GuestMemory } from '../../../../ffi/memory.ts'
import { ValueArray } from '../../../../ffi/values.ts'
import { EdgefnError } from '../../../errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import { SPIN_ENTRYPOINT } from '../../../wasm/abi.ts'
import { REALLOC_EXPORT } from '../../../wasm/rewrite/result-memory.ts'
import type { GuestRequest, GuestResponse } from '../call.ts'
import { headerField, headerFields } from '../header-lines.ts'
import { PAIR_BYTES } from '../host/spin/answer.ts'
import { matchedRoute, splitPath, splitTarget } from '../host/wasi/program.ts'
import { checkFieldBytes, fieldOf, invalid, responseOf } from './cgi.ts'
import { memoryLimit } from './guest-call.ts'
import { initialise, REACTOR_INITIALISERS } from './initialise.ts'
import type { Guest, Invocation } from './invocation.ts'

/** The interface's enumeration of methods. */
const METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS']

/** Where the parts of a response stand in its record. */
const RESPONSE = { status: 0, headers: 4, body: 16 } as const

const encoder = new TextEncoder()

/** Runs one request. Throws EdgefnError: the guest's fault, the time limit, a malformed response. */
export function runSpin(invocation: Invocation): GuestResponse {
  const { engine, context } = invocation
  const guest = invocation.cleanInstance()
  let isWell = false
  try {
    initialise(invocation, guest, REACTOR_INITIALISERS)
    const entry = invocation.find(guest, SPIN_ENTRYPOINT)
    const realloc = invocation.find(guest, REALLOC_EXPORT)
    if (entry === null || realloc === null) {
      const missing = entry === null ? SPIN_ENTRYPOINT : REALLOC_EXPORT
      throw new EdgefnError('function_load_failed', `The module does not export ${missing}.`)
    }
    const allocator = new Allocator(invocation, guest, realloc)
    const parameters = lowerRequest(allocator, context.request)
    const result = new ValueArray(engine.types, ['i32'])
    invocation.invoke(guest, entry, parameters, result)
    const response = liftResponse(engine.host.memory, result.getI32(0) >>> 0)
    isWell = true
    return response
  } finally {
    if (isWell) invocation.giveBack(guest)
    else invocation.discard(guest.instance)
  }
}

/** Puts things into memory that the guest's own allocator has given. */
class Allocator {
  readonly invocation: Invocation
  readonly #guest: Guest
  readonly #realloc: FunctionHandle
  readonly #parameters: ValueArray
  readonly #result: ValueArray

  constructor(invocation: Invocation, guest: Guest, realloc: FunctionHandle) {
    const { types } = invocation.engine
    this.invocation = invocation
    this.#guest = guest
    this.#realloc = realloc
    this.#parameters = new ValueArray(types, ['i32', 'i32', 'i32', 'i32'])
    this.#result = new ValueArray(types, ['i32'])
  }

  /** Throws `memory_limit` when there is no room. Empty things are allocated too, since the guest will free them. */
  allocate(bytes: number, align: number): number {
    const { context, engine } = this.invocation
    this.#parameters.setI32(2, align)
    this.#parameters.setI32(3, bytes)
    this.invocation.invoke(this.#guest, this.#realloc, this.#parameters, this.#result)
    const address = this.#result.getI32(0) >>> 0
    if (address === 0 || address + bytes > engine.host.memory.bytes) {
      throw memoryLimit(context.fn.memory_pages)
    }
    return address
  }

  bytes(bytes: Uint8Array): { at: number; length: number } {
    const at = this.allocate(bytes.length, 1)
    this.invocation.engine.host.memory.writeBytes(at, bytes)
    return { at, length: bytes.length }
  }

  pairs(pairs: readonly (readonly [string, string])[]): { at: number; length: number } {
    const { memory } = this.invocation.engine.host
    const at = this.allocate(pairs.length * PAIR_BYTES, 4)
    for (const [index, pair] of pairs.entries()) {
      for (const [side, text] of pair.entries()) {
        const { at: text_at, length } = this.bytes(encoder.encode(text))
        memory.writeU32(at + index * PAIR_BYTES + side * 8, text_at)
        memory.writeU32(at + index * PAIR_BYTES + side * 8 + 4, length)
      }
    }
    return { at, length: pairs.length }
  }
}

function lowerRequest(allocator: Allocator, request: GuestRequest): ValueArray {
  const method = METHODS.indexOf(request.method)
  if (method < 0) throw new EdgefnError('method_not_allowed', 'Spin has no such method.')
  const uri = allocator.bytes(encoder.encode(request.target))
  const own = spinHeaders(request)
  // A client may send fields of these names too; they must not be taken for what the host says.
  const sent = headerFields(request.header_lines).filter(
    ([name]) => !own.some(([each]) => each === name),
  )
  const headers = allocator.pairs([...sent, ...own])
  // Query parameters were given here once; Spin 1 passes none.
  const params = allocator.pairs([])
  const body = allocator.bytes(request.body)
  const parameters = new ValueArray(allocator.invocation.engine.types, Array(10).fill('i32'))
  const values = [method, uri, headers, params, 1, body].flatMap((value) =>
    typeof value === 'number' ? [value] : [value.at, value.length],
  )
  values.forEach((value, index) => parameters.setI32(index, value))
  return parameters
}

/** What Spin tells of the route and the client, in headers of its own. */
function spinHeaders(request: GuestRequest): [string, string][] {
  const { path } = splitTarget(request.target)
  const { script, info } = splitPath(request, path)
  const host = headerField(request.header_lines, 'host') ?? request.server_name
  const address = request.remote_address
  const client = address.includes(':') ? `[${address}]` : address
  return [
    ['spin-path-info', info],
    ['spin-full-url', `${request.scheme}://${host}${request.target}`],
    ['spin-matched-route', matchedRoute(request)],
    ['spin-base-path', '/'],
    ['spin-raw-component-route', matchedRoute(request)],
    ['spin-component-route', script],
    ['spin-client-addr', `${client}:${request.remote_port}`],
  ]
}

/** Reads the record of a response; nothing that it says is taken for granted. Throws `invalid_response`. */
function liftResponse(memory: GuestMemory, at: number): GuestResponse {
  try {
    const status = memory.readU16(at + RESPONSE.status)
    if (status < 200 || status > 599) throw invalid(`The response has the status ${status}.`)
    const fields = isSome(memory, at + RESPONSE.headers)
      ? liftFields(memory, at + RESPONSE.headers + 4)
      : []
    const body = isSome(memory, at + RESPONSE.body)
      ? liftBytes(memory, at + RESPONSE.body + 4, LIMITS.responseBodyBytesMax, 'body')
      : new Uint8Array(0)
    return responseOf(status, fields, body)
  } catch (thrown) {
    if (!(thrown instanceof MemoryFault)) throw thrown
    throw invalid(`The response lies outside of the memory: ${thrown.message}`)
  }
}

function isSome(memory: GuestMemory, at: number): boolean {
  const tag = memory.readU8(at)
  if (tag > 1)
    throw invalid(`The response has an option that is neither there nor absent (${tag}).`)
  return tag === 1
}

function liftFields(memory: GuestMemory, at: number): [string, string][] {
  const list = memory.readU32(at)
  const length = memory.readU32(at + 4)
  if (length > LIMITS.responseHeadersMax) {
    throw invalid(`The response has more than ${LIMITS.responseHeadersMax} header fields.`)
  }
  let bytes = 0
  return Array.from({ length }, (_, index) => {
    const [name, value] = [0, 8].map((side) => {
      const part = list + index * PAIR_BYTES + side
      return liftBytes(memory, part, LIMITS.responseHeaderBytesMax, 'header')
    }) as [Uint8Array, Uint8Array]
    bytes += name.length + value.length
    checkFieldBytes(bytes)
    const field = fieldOf(name, value)
    return [field[0], field[1]]
  })
}

/** A copy of the bytes that an address and a length name. */
function liftBytes(
  memory: GuestMemory,
  at: number,
  bytesMax: number,
  what: string,
): Uint8Array<ArrayBuffer> {
  const length = memory.readU32(at + 4)
  if (length > bytesMax) throw invalid(`The response ${what} is over ${bytesMax} bytes.`)
  return memory.readBytes(memory.readU32(at), length)
}
