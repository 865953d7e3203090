/** Running one invocation under its deadline, and naming what went wrong when it does not end well. */

import { NativeError, RESULT } from '../../../../ffi/handles.ts'
import { EdgefnError } from '../../../errors.ts'
import { LIMITS, PAGE_BYTES } from '../../../protocol/limits.ts'
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

/** A guest that ended itself where it should have answered. */
export function exitError(exit: GuestExit): EdgefnError {
  return new EdgefnError('function_error', exit.message.replace('guest', 'function'), {
    details: { exit_code: exit.exitCode },
  })
}

/**
 * Turns a result code of the library into what to throw; null when the invocation succeeded. `memoryBytes` is the size of
 * the guest's memory now: a trap with not one page left to grow is reported as the memory limit [R6.5].
 */
export function failureOf(
  code: number,
  libraryMessage: string,
  context: CallContext,
  memoryBytes: number,
): Error | null {
  if (code === RESULT.success) return null
  if (code === RESULT.interrupted || context.end === 'deadline') return timeout(context)
  if (context.end === 'response_too_large') {
    const message = `The response is over ${LIMITS.responseBodyBytesMax} bytes.`
    return new EdgefnError('invalid_response', message)
  }
  if (code === RESULT.terminated) return new GuestExit(context.exitCode)
  const limit = context.fn.memory_pages
  if (memoryBytes >= limit * PAGE_BYTES && code === RESULT.unreachable) {
    return memoryLimit(limit)
  }
  return new EdgefnError('function_trap', `The function trapped: ${libraryMessage}.`, {
    details: { trap: libraryMessage },
  })
}

/** The same for what instantiation throws: the start function's trap, or the engine's refusal. */
export function instantiationFailure(
  thrown: unknown,
  context: CallContext,
  memoryBytes: number,
): unknown {
  if (!(thrown instanceof NativeError)) return thrown
  const isRefusal = thrown.code >= 0x100 && thrown.code < 0x400
  if (isRefusal || thrown.code === 0) {
    const message = `The engine refuses the module: ${thrown.message}.`
    return new EdgefnError('function_load_failed', message, { cause: thrown })
  }
  return failureOf(thrown.code, thrown.message, context, memoryBytes) ?? thrown
}

export function timeout(context: CallContext): EdgefnError {
  const limit = context.fn.max_execution_ms
  const message = `Function execution exceeded max_execution_ms (${limit}ms).`
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
