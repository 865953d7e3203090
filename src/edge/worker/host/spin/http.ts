/** Requests of guests through lowered interfaces: Spin's `wasi-outbound-http`, and `http` of Wasm Workers Server. */

import type { HostCall } from '../../../../../ffi/host-module.ts'
import { LIMITS } from '../../../../protocol/limits.ts'
import { FETCH_CODES } from '../../fetch/outcome.ts'
import type { Host } from '../host.ts'
import { fetchWhole } from '../whole-fetch.ts'
import type { WholeRequest } from '../whole-fetch.ts'
import type { Answer } from './answer.ts'
import { OK, pairList, readPairs, refusal, refusalWithText } from './answer.ts'
import { record } from './result.ts'

/** The enumeration of methods in each interface. */
const SPIN_METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS']
const WWS_METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'HEAD']

/** Where the parts of a request are among a function's parameters. */
interface Places {
  readonly method: number
  readonly uri: number
  readonly headers: number
  readonly body: number
}
const SPIN_PLACES: Places = { method: 0, uri: 1, headers: 3, body: 7 }
const WWS_PLACES: Places = { method: 5, uri: 8, headers: 3, body: 0 }

/** Spin's `http-error` by code of a fetch; another code is `request-error`. */
const SPIN_ERRORS: ReadonlyMap<number, number> = new Map([
  [FETCH_CODES.not_allowed, 1],
  [FETCH_CODES.forbidden_address, 1],
  [FETCH_CODES.invalid, 2],
  [FETCH_CODES.unavailable, 4],
  [FETCH_CODES.too_many_fetches, 5],
])
const SPIN_REQUEST_ERROR = 3

/** The other's; another code is `internal-error`. */
const WWS_ERRORS: ReadonlyMap<number, number> = new Map([
  [FETCH_CODES.invalid, 0],
  [FETCH_CODES.not_allowed, 3],
  [FETCH_CODES.forbidden_address, 3],
  [FETCH_CODES.timeout, 5],
  [FETCH_CODES.too_many_redirects, 6],
])
const WWS_INTERNAL_ERROR = 4

/** The request in the guest's memory, or the code that refuses it. */
function readRequest(
  call: HostCall,
  host: Host,
  methods: readonly string[],
  { method, uri, headers, body }: Places,
): WholeRequest | number {
  const name = methods[call.u32(method)]
  if (name === undefined) return FETCH_CODES.invalid
  const [uriBytes, bodyBytes] = [call.u32(uri + 1), call.u32(body + 2)]
  const hasBody = call.u32(body) === 1
  if (uriBytes > LIMITS.fetchUrlBytesMax) return FETCH_CODES.too_large
  if (hasBody && bodyBytes > LIMITS.fetchRequestBodyBytesMax) return FETCH_CODES.too_large
  const fields = readPairs(host, call.u32(headers), call.u32(headers + 1))
  if (fields === null) return FETCH_CODES.too_large
  return {
    method: name,
    url: Buffer.from(host.memory.readBytes(call.u32(uri), uriBytes)).toString('latin1'),
    headers: fields,
    body: hasBody ? host.memory.readBytes(call.u32(body + 1), bodyBytes) : new Uint8Array(0),
  }
}

/** `expected<response, http-error>`: status, then options of headers and body. */
export const spinRequest: Answer = (call, context, host) => {
  const request = readRequest(call, host, SPIN_METHODS, SPIN_PLACES)
  const response = typeof request === 'number' ? request : fetchWhole(request, context, host)
  if (response === null) return null
  if (typeof response === 'number') {
    return refusal(SPIN_ERRORS.get(response) ?? SPIN_REQUEST_ERROR, 4)
  }
  const { status, headers, body } = response
  return record(32)
    .u8(0, OK)
    .u16(4, status)
    .u8(8, 1)
    .list(12, pairList(headers), headers.length)
    .u8(20, 1)
    .data(24, body)
}

/** `expected<http-response, http-request-error>`: option of body, headers, status. */
export const wwsRequest: Answer = (call, context, host) => {
  const request = readRequest(call, host, WWS_METHODS, WWS_PLACES)
  const response = typeof request === 'number' ? request : fetchWhole(request, context, host)
  if (response === null) return null
  if (typeof response === 'number') {
    const [name = ''] = Object.entries(FETCH_CODES).find(([, code]) => code === response) ?? []
    const error = WWS_ERRORS.get(response) ?? WWS_INTERNAL_ERROR
    return refusalWithText(error, 4, `http_fetch: ${name.replaceAll('_', ' ')}`)
  }
  const { status, headers, body } = response
  return record(28)
    .u8(0, OK)
    .u8(4, 1)
    .data(8, body)
    .list(16, pairList(headers), headers.length)
    .u16(24, status)
}
