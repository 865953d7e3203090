/** Host functions of Extism plug-ins: the kernel's, and what it offers of the host (docs/GUEST-ABI.md). */

import type { HostCall, HostResult } from '../../../../../ffi/host-module.ts'
import { END_CALL } from '../../../../../ffi/host-module.ts'
import { LIMITS } from '../../../../protocol/limits.ts'
import { EXTISM_OLD_PREFIX } from '../../../../wasm/extism-imports.ts'
import type { GuestLogLevel } from '../../call.ts'
import { FETCH_CODES } from '../../fetch/outcome.ts'
import { isTextRecord, membersOf, parseGuestJson } from '../../guest-json.ts'
import type { CallContext } from '../context.ts'
import type { Host, HostFunctionBody, HostFunctionTable } from '../host.ts'
import { fetchWhole } from '../whole-fetch.ts'
import type { WholeRequest } from '../whole-fetch.ts'
import type { PluginCall } from './plugin-call.ts'
import { requestConfig } from './plugin-call.ts'

/** Log levels by the number that plug-ins are told: all is logged from trace on. */
const LOG_LEVEL_TRACE = 0
const nameBytesMax = 65_536
/** Bytes of a request without its body, in JSON, where a character may take six; nothing stops the thread while it is parsed. */
const requestJsonBytesMax = 6 * LIMITS.fetchRequestHeadBytesMax

const encoder = new TextEncoder()
const decoder = new TextDecoder()

type KernelFunction = (
  plugin: PluginCall,
  call: HostCall,
  context: CallContext,
  host: Host,
) => HostResult

/** Only plug-ins have a kernel; what others import of it, or call before their first call, traps. */
function withKernel(run: KernelFunction): HostFunctionBody {
  return (call, context, host) => {
    const { plugin } = context
    if (plugin === null) throw new Error('There is no kernel outside of a plug-in.')
    return run(plugin, call, context, host)
  }
}

/** An address, length or offset as a number; those that no number can hold are beyond every memory. */
function at(call: HostCall, index: number): number {
  return Number(BigInt.asUintN(64, call.i64(index)))
}

/** The name in the block that argument `index` is the address of; null when it is too long to name anything. */
function nameAt(plugin: PluginCall, call: HostCall, index: number): string | null {
  const address = at(call, index)
  if (plugin.kernel.length(address) > nameBytesMax) return null
  return decoder.decode(plugin.kernel.block(address))
}

const KERNEL_FUNCTIONS: Readonly<Record<string, KernelFunction>> = {
  alloc: ({ kernel }, call) => kernel.alloc(at(call, 0)),
  free({ kernel }, call) {
    kernel.free(at(call, 0))
    return undefined
  },
  length: ({ kernel }, call) => kernel.length(at(call, 0)),
  length_unsafe: ({ kernel }, call) => kernel.length(at(call, 0)),
  load_u8: ({ kernel }, call) => kernel.loadU8(at(call, 0)),
  load_u64: ({ kernel }, call) => kernel.loadU64(at(call, 0)),
  store_u8({ kernel }, call) {
    kernel.storeU8(at(call, 0), call.u32(1) & 0xff)
    return undefined
  },
  store_u64({ kernel }, call) {
    kernel.storeU64(at(call, 0), BigInt.asUintN(64, call.i64(1)))
    return undefined
  },
  input_offset: ({ kernel }) => kernel.inputAddress,
  input_length: ({ kernel }) => kernel.inputLength,
  input_load_u8: ({ kernel }, call) => kernel.inputU8(at(call, 0)),
  input_load_u64: ({ kernel }, call) => kernel.inputU64(at(call, 0)),
  output_set(plugin, call) {
    const output = { address: at(call, 0), length: at(call, 1) }
    // An empty output may be anywhere; of another it is said at once that it is not there.
    if (output.length > 0) plugin.kernel.checkRange(output.address, output.length)
    plugin.output = output
    return undefined
  },
  error_set(plugin, call) {
    plugin.error = at(call, 0)
    return undefined
  },
  error_get: (plugin) => plugin.error,
  get_log_level: () => LOG_LEVEL_TRACE,
}

const configGet: KernelFunction = (plugin, call, context) => {
  const name = nameAt(plugin, call, 0)
  if (name === null) return 0
  const { env } = context.fn
  const value = Object.hasOwn(env, name) ? env[name] : requestConfig(context.request, name)
  return value === undefined ? 0 : plugin.kernel.store(encoder.encode(value))
}

const varGet: KernelFunction = (plugin, call) => {
  const name = nameAt(plugin, call, 0)
  const value = name === null ? null : plugin.variables.get(name)
  return value === null ? 0 : plugin.kernel.store(value)
}

const varSet: KernelFunction = (plugin, call, context) => {
  const name = nameAt(plugin, call, 0)
  const address = at(call, 1)
  if (name !== null && address === 0) plugin.variables.take(name)
  else if (name === null || !plugin.variables.set(name, plugin.kernel.block(address))) {
    endCall(context, 'var_set: the variables of the plug-in are full')
  }
  return undefined
}

function log(level: GuestLogLevel): KernelFunction {
  return ({ kernel }, call, context) => {
    context.log(level, kernel.block(at(call, 0)))
    return undefined
  }
}

/** Sends the request in the block of parameter 0 with the body in that of 1. As in the Extism runtime, failure ends the call. */
const httpRequest: KernelFunction = (plugin, call, context, host) => {
  if (plugin.kernel.length(at(call, 0)) > requestJsonBytesMax) {
    return endCall(context, `http_request: the request is over ${requestJsonBytesMax} bytes`)
  }
  const request = readHttpRequest(plugin, at(call, 0))
  const bodyAddress = at(call, 1)
  const body = bodyAddress === 0 ? new Uint8Array(0) : plugin.kernel.block(bodyAddress)
  plugin.http = { status: 0, headers: [] }
  const response = fetchWhole({ ...request, body }, context, host)
  if (response === null) return END_CALL
  if (typeof response === 'number') {
    const [name] = Object.entries(FETCH_CODES).find(([, code]) => code === response) ?? []
    return endCall(context, `http_request to ${request.url}: ${name?.replaceAll('_', ' ')}`)
  }
  plugin.http = response
  if (response.body.length === 0) return 0
  const address = plugin.kernel.store(response.body)
  return address === 0 ? endCall(context, 'http_request: no memory for the response') : address
}

function readHttpRequest(plugin: PluginCall, address: number): Omit<WholeRequest, 'body'> {
  const { url, method, headers } = membersOf(parseGuestJson(plugin.kernel.block(address)))
  if (typeof url !== 'string') throw new Error('The url must be text.')
  if (!isAbsent(method) && typeof method !== 'string') throw new Error('The method must be text.')
  if (!isAbsent(headers) && !isTextRecord(headers)) throw new Error('Headers must be text.')
  const latin1 = (text: string) => Buffer.from(text, 'utf8').toString('latin1')
  return {
    url: latin1(url),
    method: latin1((method ?? 'GET').toUpperCase()),
    headers: Object.entries(headers ?? {}).map(([name, value]) => [latin1(name), latin1(value)]),
  }
}

function isAbsent(value: unknown): value is null | undefined {
  return value === null || value === undefined
}

/** Ends the call as a trap does, with its reason in the log. */
function endCall(context: CallContext, reason: string): never {
  context.log('error', encoder.encode(reason))
  throw new Error(reason)
}

const httpHeaders: KernelFunction = ({ http, kernel }) => {
  if (http.headers.length === 0) return 0
  return kernel.store(encoder.encode(JSON.stringify(Object.fromEntries(http.headers))))
}

const FUNCTIONS: Readonly<Record<string, KernelFunction>> = {
  ...KERNEL_FUNCTIONS,
  config_get: configGet,
  var_get: varGet,
  var_set: varSet,
  http_request: httpRequest,
  http_status_code: ({ http }) => http.status,
  http_headers: httpHeaders,
  log_trace: log('debug'),
  log_debug: log('debug'),
  log_info: log('info'),
  log_warn: log('warn'),
  log_error: log('error'),
}

export const EXTISM_HOST_FUNCTIONS: HostFunctionTable = Object.fromEntries(
  Object.entries(FUNCTIONS).map(([name, run]) => [name, withKernel(run)]),
)

/** The same under the names that plug-ins of before 1.0 import from `env`. */
export const EXTISM_OLD_FUNCTIONS: HostFunctionTable = Object.fromEntries(
  Object.entries(EXTISM_HOST_FUNCTIONS).map(([name, body]) => [EXTISM_OLD_PREFIX + name, body]),
)
