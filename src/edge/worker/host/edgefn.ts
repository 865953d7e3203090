/** Host functions of the import module `edgefn` (DESIGN section 6, docs/GUEST-ABI.md). */

import type { HostCall } from '../../../../ffi/host-module.ts'
import { END_CALL } from '../../../../ffi/host-module.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { GuestLogLevel } from '../call.ts'
import { headerField } from '../header-lines.ts'
import { metricsIncrement } from './guest-metrics.ts'
import { FETCH_FUNCTIONS } from './http-fetch.ts'
import type { Host, HostFunctionBody, HostFunctionTable } from './host.ts'
import { KV_FUNCTIONS } from './kv/functions.ts'
import { fill, RESULTS } from './result.ts'
import { SQL_FUNCTIONS } from './sql/functions.ts'

const LEVELS: readonly GuestLogLevel[] = ['debug', 'info', 'warn', 'error']

/** Bytes of a name that is looked up; longer ones name nothing, and decoding them would hold up the deadline. */
const nameBytesMax = 65_536

const encoder = new TextEncoder()
const decoder = new TextDecoder()

const log: HostFunctionBody = (call, context, host) => {
  const level = LEVELS[call.i32(0)] ?? 'info'
  const length = Math.min(call.u32(2), LIMITS.logMessageBytesMax)
  context.log(level, host.memory.readBytes(call.i32(1), length))
  return undefined
}

const requestId: HostFunctionBody = (call, context, host) =>
  fill(host, call.i32(0), call.i32(1), encoder.encode(context.request.request_id))

/** Looks up `name` given by the guest in arguments 0 and 1 and fills its buffer in arguments 2 and 3. */
function lookup(call: HostCall, host: Host, find: (name: string) => string | undefined): number {
  const name = host.memory.readBytes(call.i32(0), call.i32(1))
  const value = name.length > nameBytesMax ? undefined : find(decoder.decode(name))
  if (value === undefined) return RESULTS.notFound
  return fill(host, call.i32(2), call.i32(3), encoder.encode(value))
}

const requestHeader: HostFunctionBody = (call, context, host) =>
  lookup(call, host, (name) => {
    const wanted = name.toLowerCase()
    return headerField(context.request.header_lines, wanted)
  })

const envGet: HostFunctionBody = (call, context, host) =>
  lookup(call, host, (name) =>
    Object.hasOwn(context.fn.env, name) ? context.fn.env[name] : undefined,
  )

/** Sets status and header lines of a response that `response_write` fills; only once, and before the first write. */
const responseHead: HostFunctionBody = (call, context, host) => {
  const status = call.i32(0)
  const length = call.u32(2)
  if (context.head !== null || context.hasOutput || status < 200 || status > 599)
    return RESULTS.invalid
  if (length > LIMITS.responseHeaderBytesMax) return RESULTS.invalid
  context.head = { status, lines: host.memory.readBytes(call.i32(1), length) }
  return 0
}

const responseWrite: HostFunctionBody = (call, context, host) =>
  context.write(host.memory.readBytes(call.i32(0), call.i32(1))) ? 0 : END_CALL

export const EDGEFN_FUNCTIONS: HostFunctionTable = {
  log,
  request_id: requestId,
  request_header: requestHeader,
  env_get: envGet,
  response_head: responseHead,
  response_write: responseWrite,
  ...KV_FUNCTIONS,
  metrics_increment: metricsIncrement,
  ...FETCH_FUNCTIONS,
  ...SQL_FUNCTIONS,
}
