/** WASI: arguments, environment, exit, random numbers, yielding. */

import { END_CALL } from '../../../../../ffi/host-module.ts'
import type { CallContext } from '../context.ts'
import type { Host, HostFunctionBody, HostFunctionTable } from '../host.ts'
import { ERRNO } from './errno.ts'
import { programArguments, programEnvironment } from './program.ts'

const encoder = new TextEncoder()

/** crypto.getRandomValues gives at most this many bytes at once. */
const randomBytesAtOnce = 65_536

type ListOf = (context: CallContext) => readonly string[]

const environment: ListOf = (context) =>
  programEnvironment(context).map(([name, value]) => `${name}=${value}`)

/** `*_sizes_get(count, bytes)`: how many strings, and how long they are with their zeros. */
function sizes(list: ListOf): HostFunctionBody {
  return (call, context, host) => {
    const strings = list(context).map((text) => encoder.encode(text))
    host.memory.writeU32(call.i32(0), strings.length)
    host.memory.writeU32(
      call.i32(1),
      strings.reduce((sum, bytes) => sum + bytes.length + 1, 0),
    )
    return ERRNO.success
  }
}

/** `*_get(pointers, buffer)`: the strings one after the other, zero-terminated, and where each begins. */
function strings(list: ListOf): HostFunctionBody {
  return (call, context, host) => {
    let pointer = call.u32(0)
    let at = call.u32(1)
    for (const text of list(context)) {
      const bytes = encoder.encode(`${text}\0`)
      host.memory.writeU32(pointer, at)
      host.memory.writeBytes(at, bytes)
      pointer += 4
      at += bytes.length
    }
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
  args_sizes_get: sizes(programArguments),
  args_get: strings(programArguments),
  environ_sizes_get: sizes(environment),
  environ_get: strings(environment),
  proc_exit: procExit,
  random_get: randomGet,
  sched_yield: () => ERRNO.success,
}
