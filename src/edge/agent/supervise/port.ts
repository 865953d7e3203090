/** Whether the workers' port is free: they share it with whoever listens on it already, and nobody would be told. */

import type { Address } from '../../../config/modes.ts'
import { EdgefnError } from '../../../errors.ts'

/**
 * Throws `invalid_config` when another program listens on the address. Workers listen with SO_REUSEPORT, by which the
 * kernel would deal requests out to a second node or another program on the same port at random.
 */
export function assertPortFree({ host, port }: Address): void {
  if (port === 0) return
  try {
    Bun.listen({ hostname: host, port, exclusive: true, socket: { data: () => undefined } }).stop(
      true,
    )
  } catch (cause) {
    // What else is wrong with an address, the worker says when it listens.
    if (!(cause instanceof Error && 'code' in cause && cause.code === 'EADDRINUSE')) return
    throw new EdgefnError(
      'invalid_config',
      `listen ${host}:${port} is in use by another program.`,
      {
        cause,
      },
    )
  }
}
