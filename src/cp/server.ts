/** The listener of the API: opened so that nobody else's port is shared, closed so that running requests are answered. */

import type { Server } from 'bun'
import type { Hono } from 'hono'

import type { Address } from '../config/modes.ts'
import { EdgefnError, errorMessage } from '../errors.ts'

/** Seconds that a connection may stand idle before it is closed; uploads of large modules take their time. */
const idleSecondsMax = 60
/** Milliseconds that running requests get when the control plane closes. */
const drainMsMax = 2_000

/** Throws `invalid_config` when the address cannot be had. */
export function listen({ host, port }: Address, app: Hono): Server<undefined> {
  try {
    return Bun.serve({
      hostname: host,
      port,
      development: false,
      // No server is ever taken over in place: an address that is in use is an error.
      id: null,
      // Said aloud: with `development: false` Bun shares the port with whoever listens on it already.
      reusePort: false,
      idleTimeout: idleSecondsMax,
      // Each reader has its own limit and says so; what nobody reads is dropped as it comes. Bun's refusal has no body.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      fetch: (request, server) =>
        app.fetch(request, { ip: server.requestIP(request)?.address ?? '' }),
    })
  } catch (cause) {
    throw new EdgefnError(
      'invalid_config',
      `listen ${host}:${port} cannot be listened on: ${errorMessage(cause)}.`,
      { cause },
    )
  }
}

/** Lets requests that run come to their answer, for a while. */
export async function stopServing(server: Server<undefined>): Promise<void> {
  await Promise.race([server.stop(), Bun.sleep(drainMsMax)])
  await server.stop(true)
}

/** Where the listener is reached from this machine: a host that means every address is reached by the loopback one. */
export function urlOf({ host }: Address, port: number): string {
  const reachable = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`
}
