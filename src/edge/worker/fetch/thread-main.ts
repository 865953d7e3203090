/** Entry of the fetch thread: the service with the machine's own name resolution, addresses and certificate authorities. */

import { networkInterfaces } from 'node:os'
import { parentPort } from 'node:worker_threads'

import type { FetchOutcome } from '../../stats.ts'
import type { FetchConnection, FromFetchThread } from '../lanes/messages.ts'
import { createAddressPolicy, parseRange } from './address.ts'
import { lookUp } from './lookups.ts'
import type { ToFetchThread } from './messages.ts'
import { createFetchService } from './service.ts'

/** Serves the ports it is given. `allowPrivate` are the ranges that the operator opens besides public addresses. */
export function runFetchThread(allowPrivate: readonly string[]): void {
  const port = parentPort
  if (port === null) throw new Error('The fetch service runs only as a thread.')
  const service = createFetchService({
    resolve: lookUp,
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
