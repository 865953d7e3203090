/** What AssemblyScript programs import from `env` (their standard library's host side). */

import { END_CALL } from '../../../../ffi/host-module.ts'
import type { Host, HostFunctionBody, HostFunctionTable } from './host.ts'

const stringBytesMax = 4096
const decoder = new TextDecoder('utf-16le')
const encoder = new TextEncoder()

/** An AssemblyScript string: UTF-16 at `address`, its byte length in the four bytes before. */
function readString(host: Host, address: number): string {
  if (address === 0) return ''
  const length = Math.min(host.memory.readU32(address - 4), stringBytesMax)
  return decoder.decode(host.memory.readBytes(address, length & ~1))
}

const abort: HostFunctionBody = (call, context, host) => {
  const message = readString(host, call.i32(0))
  const file = readString(host, call.i32(1))
  const where = `${file}:${call.u32(2)}:${call.u32(3)}`
  context.log('error', encoder.encode(`abort: ${message} at ${where}`))
  context.end = 'exit'
  context.exitCode = 255
  return END_CALL
}

const trace: HostFunctionBody = (call, context, host) => {
  const count = Math.min(Math.max(call.i32(1), 0), 5)
  const numbers = Array.from({ length: count }, (_, index) => call.f64(2 + index))
  const message = [readString(host, call.i32(0)), ...numbers].join(' ')
  context.log('debug', encoder.encode(message))
  return undefined
}

const consoleLog: HostFunctionBody = (call, context, host) => {
  context.log('info', encoder.encode(readString(host, call.i32(0))))
  return undefined
}

export const ASSEMBLYSCRIPT_FUNCTIONS: HostFunctionTable = {
  abort,
  trace,
  seed: () => crypto.getRandomValues(new Uint32Array(1))[0] ?? 0,
  'console.log': consoleLog,
  'Date.now': () => Date.now(),
}
