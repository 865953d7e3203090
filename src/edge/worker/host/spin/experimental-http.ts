/** `wasi_experimental_http`: how WAGI modules sent requests. Results are numbers, buffers the guest's own. */

import type { HostCall, HostResult } from '../../../../../ffi/host-module.ts'
import { END_CALL } from '../../../../../ffi/host-module.ts'
import { LIMITS } from '../../../../protocol/limits.ts'
import { HTTP_METHODS } from '../../../../protocol/http-methods.ts'
import { FETCH_CODES } from '../../fetch/outcome.ts'
import type { OpenFetch } from '../../fetch/line.ts'
import type { CallContext } from '../context.ts'
import type { Host, HostFunctionBody, HostFunctionTable } from '../host.ts'
import { readFetched } from '../http-fetch.ts'
import { fetchedStart, startFetch } from '../whole-fetch.ts'

const ERRORS = {
  success: 0,
  invalidHandle: 1,
  bufferTooSmall: 4,
  headerNotFound: 5,
  destinationNotAllowed: 7,
  invalidMethod: 8,
  invalidUrl: 10,
  requestError: 11,
  runtimeError: 12,
  tooManySessions: 13,
} as const

/** By code of a fetch; another code is a request error. */
const FETCH_ERRORS: ReadonlyMap<number, number> = new Map([
  [FETCH_CODES.not_allowed, ERRORS.destinationNotAllowed],
  [FETCH_CODES.forbidden_address, ERRORS.destinationNotAllowed],
  [FETCH_CODES.invalid, ERRORS.invalidUrl],
  [FETCH_CODES.unavailable, ERRORS.runtimeError],
  [FETCH_CODES.too_many_fetches, ERRORS.tooManySessions],
])

function errorOf(code: number): number {
  return FETCH_ERRORS.get(code) ?? ERRORS.requestError
}

/** The text that parameters `index` and the next give address and length of; null when it is too long to be good. */
function textAt(call: HostCall, host: Host, index: number, bytesMax: number): string | null {
  const length = call.u32(index + 1)
  if (length > bytesMax) return null
  return Buffer.from(host.memory.readBytes(call.u32(index), length)).toString('latin1')
}

const req: HostFunctionBody = (call, context, host) => {
  const url = textAt(call, host, 0, LIMITS.fetchUrlBytesMax)
  const method = textAt(call, host, 2, 64)
  const fields = textAt(call, host, 4, LIMITS.fetchRequestHeadBytesMax)
  const bodyBytes = call.u32(7)
  if (url === null) return ERRORS.invalidUrl
  if (!HTTP_METHODS.some((known) => known === method)) return ERRORS.invalidMethod
  if (fields === null || bodyBytes > LIMITS.fetchRequestBodyBytesMax) return ERRORS.requestError
  const headers = fields
    .split('\n')
    .filter((line) => line.includes(':'))
    .map((line): [string, string] => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon), line.slice(colon + 1).trim()]
    })
  const body = host.memory.readBytes(call.u32(6), bodyBytes)
  const handle = startFetch({ method: method ?? '', url, headers, body }, context, host)
  if (handle === null) return END_CALL
  if (handle < 0) return errorOf(handle)
  host.memory.writeU16(call.u32(8), fetchedStart(context, handle).status)
  host.memory.writeU32(call.u32(9), handle)
  return ERRORS.success
}

const close: HostFunctionBody = (call, context) =>
  context.fetches?.close(call.i32(0)) === true ? ERRORS.success : ERRORS.invalidHandle

type Opened = (fetch: OpenFetch, call: HostCall, context: CallContext, host: Host) => HostResult

function opened(run: Opened): HostFunctionBody {
  return (call, context, host) => {
    const fetch = context.fetches?.get(call.i32(0))
    return fetch === undefined ? ERRORS.invalidHandle : run(fetch, call, context, host)
  }
}

/** Writes all of the text or nothing: address, size and place for the length are parameters from `index` on. */
function give(host: Host, call: HostCall, index: number, text: string): number {
  const bytes = Buffer.from(text, 'latin1')
  if (bytes.length > call.u32(index + 1)) return ERRORS.bufferTooSmall
  host.memory.writeBytes(call.u32(index), bytes)
  host.memory.writeU32(call.u32(index + 2), bytes.length)
  return ERRORS.success
}

const headerGet = opened((_fetch, call, context, host) => {
  const name = textAt(call, host, 1, LIMITS.fetchResponseHeadBytesMax)?.toLowerCase()
  const { headers } = fetchedStart(context, call.i32(0))
  const found = headers.find(([each]) => each === name)
  return found === undefined ? ERRORS.headerNotFound : give(host, call, 3, found[1])
})

const headersGetAll = opened((_fetch, call, context, host) => {
  const { headers } = fetchedStart(context, call.i32(0))
  return give(host, call, 1, headers.map(([name, value]) => `${name}:${value}\n`).join(''))
})

const bodyRead = opened((fetch, call, context, host) => {
  const capacity = call.u32(2)
  const piece = capacity === 0 ? 0 : readFetched(context, host, fetch, capacity)
  if (piece === null) return END_CALL
  if (typeof piece === 'number' && piece < 0) return errorOf(piece)
  const bytes = typeof piece === 'number' ? new Uint8Array(0) : piece
  host.memory.writeBytes(call.u32(1), bytes)
  host.memory.writeU32(call.u32(3), bytes.length)
  return ERRORS.success
})

export const EXPERIMENTAL_HTTP_FUNCTIONS: HostFunctionTable = {
  req,
  close,
  header_get: headerGet,
  headers_get_all: headersGetAll,
  header_get_all: headersGetAll,
  body_read: bodyRead,
}
