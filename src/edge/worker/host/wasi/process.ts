/** WASI: arguments, environment, exit, random numbers, yielding. */

import { END_CALL } from '../../../../../ffi/host-module.ts'
import type { CallContext } from '../context.ts'
import type { Host, HostFunctionBody, HostFunctionTable } from '../host.ts'
import { ERRNO } from './errno.ts'
import { programArguments, programEnvironment } from './program.ts'

const encoder = new TextEncoder()

/** crypto.getRandomValues gives at most this many bytes at once. */
const randomBytesAtOnce = 65_536

/** Strings of a program, each with the zero byte that ends it. */
type ListOf = (context: CallContext) => readonly Uint8Array[]

const argumentsOf: ListOf = (context) =>
  (context.argumentStrings ??= programArguments(context).map((text) => encoder.encode(`${text}\0`)))

const environmentOf: ListOf = (context) =>
  (context.environmentStrings ??= programEnvironment(context).map(([name, value]) =>
    encoder.encode(`${name}=${value}\0`),
  ))

function bytesOf(strings: readonly Uint8Array[]): number {
  let bytes = 0
  for (const { length } of strings) bytes += length
  return bytes
}

/** `*_sizes_get(count, bytes)`: how many strings, and how long they are with their zeros. */
function sizes(list: ListOf): HostFunctionBody {
  return (call, context, host) => {
    const strings = list(context)
    host.memory.writeU32(call.i32(0), strings.length)
    host.memory.writeU32(call.i32(1), bytesOf(strings))
    return ERRNO.success
  }
}

/** `*_get(pointers, buffer)`: the strings one after the other, zero-terminated, and where each begins. */
function strings(list: ListOf): HostFunctionBody {
  return (call, context, host) => {
    const all = list(context)
    const buffer = call.u32(1)
    const pointers = new Uint32Array(all.length)
    const bytes = new Uint8Array(bytesOf(all))
    let at = 0
    for (const [index, each] of all.entries()) {
      pointers[index] = buffer + at
      bytes.set(each, at)
      at += each.length
    }
    host.memory.writeBytes(call.u32(0), new Uint8Array(pointers.buffer))
    host.memory.writeBytes(buffer, bytes)
    return ERRNO.success
  }
}

const procExit: HostFunctionBody = (call, context) => {
  context.end = 'exit'
  context.exitCode = call.i32(0)
  return END_CALL
}

const randomGet: HostFunctionBody = (call, _context, host: Host) => {
  const from = call.u32(0)
  const length = call.u32(1)
  if (from + length > host.memory.bytes) return ERRNO.fault
  for (let done = 0; done < length; done += randomBytesAtOnce) {
    const bytes = new Uint8Array(Math.min(randomBytesAtOnce, length - done))
    host.memory.writeBytes(from + done, crypto.getRandomValues(bytes))
  }
  return ERRNO.success
}

export const PROCESS_FUNCTIONS: HostFunctionTable = {
  args_sizes_get: sizes(argumentsOf),
  args_get: strings(argumentsOf),
  environ_sizes_get: sizes(environmentOf),
  environ_get: strings(environmentOf),
  proc_exit: procExit,
  random_get: randomGet,
  sched_yield: () => ERRNO.success,
}
