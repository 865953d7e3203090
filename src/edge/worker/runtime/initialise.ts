/** What runs once per instance, before the first call of its entrypoint. */

import type { FunctionHandle } from '../../../../ffi/handles.ts'
import { ValueArray } from '../../../../ffi/values.ts'
import { EdgefnError } from '../../../errors.ts'
import { GuestExit } from './guest-call.ts'
import type { Guest, Invocation } from './invocation.ts'

/** Reactors run `_initialize` once per instance; toolchains without reactors export `_start` for the same purpose. */
export const REACTOR_INITIALISERS = ['_initialize', '_start']

/** Runs the first of `names` that the instance exports, with `parameters` zeros. Throws EdgefnError. */
export function initialise(
  invocation: Invocation,
  guest: Guest,
  names: readonly string[],
  parameters = 0,
): void {
  const { native, types } = invocation.engine
  let start: FunctionHandle | null = null
  for (const name of names) start ??= native.findFunction(guest.instance, name)
  if (start === null) return
  try {
    const zeros = new ValueArray(types, Array<'i32'>(parameters).fill('i32'))
    invocation.invoke(guest, start, zeros, invocation.engine.values.none)
  } catch (thrown) {
    if (!(thrown instanceof GuestExit)) throw thrown
    if (thrown.exitCode === 0) {
      // The exit ended the initialisation, not the call that it was part of.
      invocation.context.end = null
      return
    }
    const message = `The module's initialisation exited with code ${thrown.exitCode}.`
    throw new EdgefnError('function_load_failed', message)
  }
}
