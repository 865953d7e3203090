/**
 * Looking names up, so many at a time. A look-up cannot be cancelled: one that nobody waits for any more goes on until the
 * name servers answer or are given up, and a guest may ask for names whose servers never do.
 */

import { LIMITS } from '../../../protocol/limits.ts'
import type { Resolve } from './connect.ts'
import { FetchError } from './outcome.ts'

/** Pending look-ups of one function version: enough for the fetches it may have open. */
const perOwnerMax = LIMITS.fetchesPerFunctionMax
/** Pending look-ups of a worker: so that it takes many such functions to be in anybody's way. */
const perWorkerMax = 1024

/** `localhost` and every name below it mean this machine, and no name server is asked (RFC 6761 section 6.3). */
const LOCAL = /(?:^|\.)localhost$/
const LOOPBACK = ['127.0.0.1', '::1']

/** Names as the machine has them: /etc/hosts, then the name servers of /etc/resolv.conf. */
export async function lookUp(host: string): Promise<readonly string[]> {
  if (LOCAL.test(host)) return LOOPBACK
  // c-ares asks without threads. getaddrinfo, which node:dns takes, blocks one of a few for seconds where no server answers,
  // and after a handful of such names nobody in the process looks up anything.
  const found = await Bun.dns.lookup(host, { backend: 'c-ares' })
  return found.map(({ address }) => address)
}

/** Gives each owner its `Resolve`. */
export function createLookups(resolve: Resolve): (owner: string) => Resolve {
  const pending = new Map<string, number>()
  let total = 0

  return (owner) =>
    async function limited(host) {
      const own = pending.get(owner) ?? 0
      if (own >= perOwnerMax) {
        throw new FetchError(
          'too_many_fetches',
          'Too many names of the function are being looked up.',
        )
      }
      if (total >= perWorkerMax) {
        throw new FetchError('unavailable', 'Too many names are being looked up.')
      }
      pending.set(owner, own + 1)
      total += 1
      try {
        return await resolve(host)
      } finally {
        total -= 1
        const left = (pending.get(owner) ?? 1) - 1
        if (left === 0) pending.delete(owner)
        else pending.set(owner, left)
      }
    }
}
