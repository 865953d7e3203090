/** Entry of the fetch thread: the service with the machine's own name resolution, addresses and certificate authorities. */

import { lookup } from 'node:dns/promises'
import { networkInterfaces } from 'node:os'
import { parentPort } from 'node:worker_threads'

import { LIMITS } from '../../../protocol/limits.ts'
import type { FetchOutcome } from '../../stats.ts'
import type { FetchConnection, FromFetchThread } from '../lanes/messages.ts'
import { createAddressPolicy, parseRange } from './address.ts'
import type { ToFetchThread } from './messages.ts'
import { FetchError } from './outcome.ts'
import { createFetchService } from './service.ts'

/** Serves the ports it is given. `allowPrivate` are the ranges that the operator opens besides public addresses. */
export function runFetchThread(allowPrivate: readonly string[]): void {
  const port = parentPort
  if (port === null) throw new Error('The fetch service runs only as a thread.')
  const service = createFetchService({
    resolve: createResolver(),
    forbidden: createAddressPolicy(allowPrivate.map(parseRange), ownAddresses),
    authorities: null,
    count: (outcome: FetchOutcome) => port.postMessage({ outcome } satisfies FromFetchThread),
  })
  port.on('message', (message: FetchConnection) => {
    const client = service.connect()
    message.port.on('message', (each: ToFetchThread) => client.take(each))
    message.port.on('close', () => client.close())
  })
}

function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((each) => each?.map((own) => own.address) ?? [])
}

/**
 * Names as the machine resolves them, /etc/hosts included. A look-up cannot be cancelled: of those that hang, with nobody
 * waiting any more, there are no more than of fetches.
 */
function createResolver(): (host: string) => Promise<readonly string[]> {
  let pending = 0
  return async function resolve(host) {
    if (pending >= LIMITS.fetchesPerWorkerMax) {
      throw new FetchError('unavailable', 'Too many names are being looked up.')
    }
    pending += 1
    try {
      return (await lookup(host, { all: true })).map((found) => found.address)
    } finally {
      pending -= 1
    }
  }
}
