/** Modules that are routed but not at hand: asked of the agent once, while the requests for them wait [R4.3 P6]. */

import { EdgefnError } from '../../../errors.ts'
import type { IpcError, WorkerFunction } from '../../ipc.ts'

export interface OnDemandOptions {
  /** Sends `fetch` to the agent; false when there is none. */
  readonly request: (fn: WorkerFunction, damaged: boolean) => boolean
  readonly waitMsMax: number
  /** Requests that may wait at once, whatever they wait for. */
  readonly waitersMax: number
  /** How long a failed fetch is the answer for further requests, so that they do not each ask again. */
  readonly failureMsKept: number
}

export interface OnDemand {
  readonly waitMsMax: number
  /**
   * The function with the path of its module. `damaged` says that the file at its present path is not what it should
   * be. Throws `function_unavailable` when the agent cannot get it in time, `overloaded` when too many wait already.
   */
  fetch(fn: WorkerFunction, damaged: boolean): Promise<WorkerFunction>
  /** The agent's answer; one that nobody waits for is kept as nothing. */
  fetched(functionId: string, version: number, path: string | null, error: IpcError | null): void
}

interface Flight {
  readonly module: Promise<string>
  readonly settle: (path: string | null, error: IpcError | null) => void
}

const keyOf = (functionId: string, version: number) => `${functionId}/${version}`

export function createOnDemand(options: OnDemandOptions): OnDemand {
  const flights = new Map<string, Flight>()
  let waiting = 0

  function start(fn: WorkerFunction, damaged: boolean): Flight {
    const key = keyOf(fn.function_id, fn.version)
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    const flight: Flight = { module: promise, settle }
    const timer = setTimeout(() => settle(null, null), options.waitMsMax)

    function settle(path: string | null, error: IpcError | null): void {
      clearTimeout(timer)
      if (path !== null) {
        flights.delete(key)
        return resolve(path)
      }
      setTimeout(() => flights.delete(key), options.failureMsKept).unref()
      const cause = error === null ? 'no answer in time' : `${error.code}: ${error.message}`
      reject(unavailable(cause))
    }

    // Every waiter may have given up by the time it fails.
    promise.catch(() => undefined)
    flights.set(key, flight)
    if (!options.request(fn, damaged)) settle(null, { code: 'internal', message: 'no agent' })
    return flight
  }

  async function fetch(fn: WorkerFunction, damaged: boolean): Promise<WorkerFunction> {
    if (waiting >= options.waitersMax) {
      throw new EdgefnError('overloaded', 'Too many requests wait for modules to be fetched.')
    }
    waiting += 1
    let timer: Timer | undefined
    try {
      const flight = flights.get(keyOf(fn.function_id, fn.version)) ?? start(fn, damaged)
      const late = new Promise<never>((_resolve, reject) => {
        timer = setTimeout(() => reject(unavailable('no answer in time')), options.waitMsMax)
      })
      return { ...fn, path: await Promise.race([flight.module, late]) }
    } finally {
      clearTimeout(timer)
      waiting -= 1
    }
  }

  function fetched(
    functionId: string,
    version: number,
    path: string | null,
    error: IpcError | null,
  ): void {
    flights.get(keyOf(functionId, version))?.settle(path, error)
  }

  return { waitMsMax: options.waitMsMax, fetch, fetched }
}

/** Why it failed is for the log (`cause`): it may name internal addresses. */
function unavailable(cause: string): EdgefnError {
  return new EdgefnError(
    'function_unavailable',
    'The module of the function cannot be had at the moment.',
    { cause },
  )
}
