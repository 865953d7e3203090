/** The WAGI ABI (DESIGN section 6.2): a WASI command, a fresh instance for every request from the kept module. */

import { EdgefnError } from '../../../errors.ts'
import type { WorkerFunction } from '../../ipc.ts'
import type { GuestResponse } from '../call.ts'
import { LastHead } from './cgi.ts'
import { exitError, GuestExit } from './guest-call.ts'
import type { Guest, Invocation } from './invocation.ts'
import { declaredRoute, ROUTES_EXPORT } from './wagi-routes.ts'

/** Runs the command once. Throws EdgefnError: a trap, an exit code above 0, the time limit, a malformed response. */
export function runWagi(invocation: Invocation, fn: WorkerFunction): GuestResponse {
  const { context } = invocation
  context.stdin = context.request.body
  const entrypoint = fn.entrypoint === 'handle' ? '_start' : fn.entrypoint
  runCommand(invocation, entrypoint, entrypoint === '_start')
  let head = lastHeads.get(fn)
  if (head === undefined) {
    head = new LastHead()
    lastHeads.set(fn, head)
  }
  return head.read(context.takeOutput())
}

/** A function tends to answer with the same header lines again and again. */
const lastHeads = new WeakMap<WorkerFunction, LastHead>()

/**
 * Runs a WASI command whose stdout is its response from `entrypoint` to its end, in an instance of its own; with `routes`
 * from what the module declares for the request, if it declares routes. Throws EdgefnError, for an exit code above 0 too.
 */
export function runCommand(invocation: Invocation, entrypoint: string, routes = false): void {
  const { context, engine } = invocation
  context.answersOnStdout = true
  let again: string | null = null
  withInstance(invocation, (guest) => {
    if (!routes || invocation.find(guest, ROUTES_EXPORT) === null) {
      return runExport(invocation, guest, entrypoint)
    }
    runExport(invocation, guest, ROUTES_EXPORT)
    const declared = declaredRoute(context.takeOutput(), context.request)
    context.beginAgain(declared?.request ?? context.request)
    again = declared?.entrypoint ?? entrypoint
  })
  const name: string | null = again
  if (name !== null) withInstance(invocation, (guest) => runExport(invocation, guest, name))
  engine.host.memory.detach()
}

/** Runs in a clean instance. One whose start function has exited with 0 has done what it does. */
function withInstance(invocation: Invocation, run: (guest: Guest) => void): void {
  let guest: Guest | null = null
  let isWell = false
  try {
    guest = invocation.cleanInstance()
    run(guest)
    isWell = true
  } catch (thrown) {
    if (!(thrown instanceof GuestExit)) throw thrown
    if (thrown.exitCode !== 0) throw exitError(thrown)
  } finally {
    if (guest !== null && isWell) invocation.giveBack(guest)
    else if (guest !== null) invocation.discard(guest.instance)
  }
}

function runExport(invocation: Invocation, guest: Guest, name: string): void {
  const start = invocation.find(guest, name)
  if (start === null) {
    throw new EdgefnError('function_load_failed', `The module does not export ${name}.`)
  }
  invocation.run(guest, start)
}
