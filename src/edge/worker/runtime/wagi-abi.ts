/** The WAGI ABI (DESIGN section 6.2): a WASI command, a fresh instance for every request from the kept module. */

import { ValueArray } from '../../../../ffi/values.ts'
import { EdgefnError } from '../../../errors.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { GuestResponse } from '../call.ts'
import { poolKey } from '../call.ts'
import { parseCgiResponse } from './cgi.ts'
import { exitError, GuestExit } from './guest-call.ts'
import type { Guest, Invocation } from './invocation.ts'

/** Runs the command once. Throws EdgefnError: a trap, an exit code above 0, the time limit, a malformed response. */
export function runWagi(invocation: Invocation, fn: WorkerFunction): GuestResponse {
  const { context } = invocation
  context.stdin = context.request.body
  runCommand(invocation, fn, fn.entrypoint === 'handle' ? '_start' : fn.entrypoint)
  return parseCgiResponse(context.takeOutput())
}

/**
 * Runs a WASI command whose stdout is its response from `entrypoint` to its end, in an instance of its own. Throws EdgefnError, for an exit
 * code above 0 too.
 */
export function runCommand(invocation: Invocation, fn: WorkerFunction, entrypoint: string): void {
  invocation.context.answersOnStdout = true
  const exitCode = startCommand(invocation, fn, entrypoint)
  if (exitCode !== 0) throw exitError(new GuestExit(exitCode))
  invocation.engine.host.memory.detach()
}

function startCommand(invocation: Invocation, fn: WorkerFunction, entrypoint: string): number {
  const { engine } = invocation
  let guest: Guest | null = null
  try {
    guest = invocation.instantiate(poolKey(fn))
    const start = engine.native.findFunction(guest.instance, entrypoint)
    if (start === null) {
      throw new EdgefnError('function_load_failed', `The module does not export ${entrypoint}.`)
    }
    const nothing = new ValueArray(engine.types, [])
    invocation.invoke(guest, start, nothing, nothing)
    return 0
  } catch (thrown) {
    if (thrown instanceof GuestExit) return thrown.exitCode
    throw thrown
  } finally {
    if (guest !== null) invocation.discard(guest.instance)
  }
}
