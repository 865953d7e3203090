/** Versions to preview that are not in the table: asked of the agent once, while the requests for them wait. */

import { EdgefnError, isErrorCode } from '../../../errors.ts'
import { armKey, type IpcError } from '../../ipc.ts'

interface Asked {
  readonly function_id: string
  readonly version: number
}

export interface PreviewFlightsOptions {
  /** Sends `preview` to the agent; false when there is none. */
  readonly request: (arm: Asked, token: string) => boolean
  readonly waitMsMax: number
  /** Requests that may wait at once, whatever they wait for. */
  readonly waitersMax: number
  /** How long a failure is the answer for further requests, so that they do not each ask again. */
  readonly failureMsKept: number
}

export interface PreviewFlights {
  readonly waitMsMax: number
  /**
   * Resolves when the version is in the table. Throws what the control plane refused the token with or the module cannot be loaded
   * for, `function_unavailable` when it cannot be had now, `overloaded` when too many wait, or are previewed.
   */
  bring(arm: Asked, token: string): Promise<void>
  /** The agent's answer. */
  previewed(arm: Asked, error: IpcError | null): void
}

interface Flight {
  readonly brought: Promise<void>
  readonly settle: (error: EdgefnError | null) => void
}

export function createPreviewFlights(options: PreviewFlightsOptions): PreviewFlights {
  const flights = new Map<string, Flight>()
  let waiting = 0

  function start(arm: Asked, token: string): Flight {
    const key = armKey(arm)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const timer = setTimeout(() => settle(unavailable('no answer in time')), options.waitMsMax)

    function settle(error: EdgefnError | null): void {
      clearTimeout(timer)
      if (error === null) {
        forget()
        return resolve()
      }
      setTimeout(forget, options.failureMsKept).unref()
      reject(error)
    }

    /** A newer flight of the version, which may be there by now, stays. */
    function forget(): void {
      if (flights.get(key) === flight) flights.delete(key)
    }

    // Every waiter may have gone by the time it fails.
    promise.catch(() => undefined)
    const flight = { brought: promise, settle }
    flights.set(key, flight)
    if (!options.request(arm, token)) settle(unavailable('no agent'))
    return flight
  }

  return {
    waitMsMax: options.waitMsMax,
    async bring(arm, token) {
      if (waiting >= options.waitersMax) {
        throw new EdgefnError('overloaded', 'Too many requests wait for versions to preview.')
      }
      waiting += 1
      try {
        await (flights.get(armKey(arm)) ?? start(arm, token)).brought
      } finally {
        waiting -= 1
      }
    },
    previewed: (arm, error) =>
      flights.get(armKey(arm))?.settle(error === null ? null : errorOf(error)),
  }
}

/** What may be told to who holds a token; the rest may name internal addresses and is for the log (`cause`). */
const TOLD: ReadonlySet<string> = new Set([
  ...['forbidden', 'function_not_found', 'version_not_found', 'module_missing', 'overloaded'],
  ...['function_load_failed', 'function_trap', 'function_error', 'execution_timeout'],
  ...['stack_overflow', 'memory_limit', 'function_quarantined'],
])

function errorOf({ code, message }: IpcError): EdgefnError {
  if (isErrorCode(code) && TOLD.has(code)) return new EdgefnError(code, message)
  return unavailable(`${code}: ${message}`)
}

function unavailable(cause: string): EdgefnError {
  const message = 'The version cannot be had at the moment.'
  return new EdgefnError('function_unavailable', message, { cause })
}
