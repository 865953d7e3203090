/** Running one invocation under its deadline, and naming what went wrong when it does not end well. */

import { NativeError, RESULT } from '../../../../ffi/handles.ts'
import { EdgefnError } from '../../../errors.ts'
import { LIMITS } from '../../../protocol/limits.ts'
import type { CallContext } from '../host/context.ts'

/** The guest ended itself, in a way that may be a success (`proc_exit(0)`). */
export class GuestExit extends Error {
  override readonly name = 'GuestExit'
  readonly exitCode: number

  constructor(exitCode: number) {
    super(`The guest exited with code ${exitCode}.`)
    this.exitCode = exitCode
  }
}

/**
 * An instance that has served requests has no room for the next one: the buffers that it was asked for before are its own to free, and
 * many never do. Nothing of the request has been seen; a new instance may have room.
 */
export class WornInstance extends Error {
  override readonly name = 'WornInstance'
}

/** A guest that ended itself where it should have answered. */
export function exitError(exit: GuestExit): EdgefnError {
  return new EdgefnError('function_error', exit.message.replace('guest', 'function'), {
    details: { exit_code: exit.exitCode },
  })
}

/** Traps that a guest runs into when it goes on without the memory that it did not get. */
const TRAPS_WITHOUT_MEMORY: readonly number[] = [RESULT.unreachable, RESULT.out_of_bounds]

/**
 * Turns a result code of the library, of an invocation that did not succeed, into what to throw. A trap, or an exit that is no
 * success, is reported as the memory limit when `lacksMemory` says that the guest last asked for memory in vain [R6.5].
 */
export function failureOf(
  code: number,
  libraryMessage: string,
  context: CallContext,
  lacksMemory: () => boolean,
): Error {
  if (code === RESULT.interrupted || context.end === 'deadline') return timeout(context)
  if (context.end === 'sleep') {
    return new EdgefnError('overloaded', 'The function would sleep on a thread that may not.')
  }
  if (context.end === 'response_too_large') {
    const message = `The response is over ${LIMITS.responseBodyBytesMax} bytes.`
    return new EdgefnError('invalid_response', message)
  }
  const gaveUp = code === RESULT.terminated && context.exitCode !== 0
  if ((gaveUp || TRAPS_WITHOUT_MEMORY.includes(code)) && lacksMemory()) {
    return memoryLimit(context.fn.memory_pages)
  }
  if (code === RESULT.terminated) return new GuestExit(context.exitCode)
  return new EdgefnError('function_trap', `The function trapped: ${libraryMessage}.`, {
    details: { trap: libraryMessage },
  })
}

/** The same for what instantiation throws: the start function's trap, or the engine's refusal. */
export function instantiationFailure(thrown: unknown, context: CallContext): unknown {
  if (!(thrown instanceof NativeError)) return thrown
  const isRefusal = thrown.code >= 0x100 && thrown.code < 0x400
  if (isRefusal || thrown.code === 0) {
    const message = `The engine refuses the module: ${thrown.message}.`
    return new EdgefnError('function_load_failed', message, { cause: thrown })
  }
  return failureOf(thrown.code, thrown.message, context, () => false)
}

export function timeout(context: CallContext): EdgefnError {
  const limit = context.fn.max_execution_ms
  const hadMs = Math.round(context.deadlineMs - context.startedMs)
  const message =
    hadMs === limit
      ? `Function execution exceeded max_execution_ms (${limit}ms).`
      : `The function was not initialised within ${hadMs} ms.`
  return new EdgefnError('execution_timeout', message, { details: { max_execution_ms: limit } })
}

export function stackOverflow(): EdgefnError {
  const message = 'The function recursed deeper than its stack allows.'
  return new EdgefnError('stack_overflow', message, {
    details: { stack_bytes: LIMITS.stackBytesMax },
  })
}

export function memoryLimit(pages: number): EdgefnError {
  const message = `The function needed more memory than its limit of ${pages} pages.`
  return new EdgefnError('memory_limit', message, { details: { memory_pages: pages } })
}
