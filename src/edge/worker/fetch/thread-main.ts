/** Entry of the fetch thread: the service with the machine's own name resolution, addresses and certificate authorities. */

import { networkInterfaces } from 'node:os'
import { parentPort } from 'node:worker_threads'
import type { MessagePort } from 'node:worker_threads'

import type { FetchOutcome } from '../../stats.ts'
import type { FromFetchThread, ToFetches } from '../lanes/messages.ts'
import { createAddressPolicy, parseRange } from './address.ts'
import { lookUp } from './lookups.ts'
import type { ToFetchThread } from './messages.ts'
import { createFetchService } from './service.ts'
import type { FetchServiceDeps } from './service.ts'

/** Counts of so many milliseconds go to the main thread at once: it has requests to answer, and guests may fetch in a loop. */
const countMs = 100

/** Serves the ports it is given, until it is told to end. `allowPrivate` are the ranges that the operator opens besides public addresses. */
export function runFetchThread(allowPrivate: readonly string[]): void {
  const port = parentPort
  if (port === null) throw new Error('The fetch service runs only as a thread.')
  const service = createFetchService({
    resolve: lookUp,
    forbidden: createAddressPolicy(allowPrivate.map(parseRange), ownAddresses),
    authorities: null,
    count: createCounter((counted) => port.postMessage(counted satisfies FromFetchThread)),
  })
  const lines = new Set<MessagePort>()
  port.on('message', (message: ToFetches) => {
    if (message.type === 'end') {
      // Of each, what is open is cancelled.
      for (const line of lines) line.close()
      return port.close()
    }
    const line = message.port
    const client = service.connect()
    lines.add(line)
    line.on('message', (each: ToFetchThread) => client.take(each))
    line.on('close', () => {
      lines.delete(line)
      client.close()
    })
  })
}

/** Gathers counts and tells them together. */
function createCounter(tell: (counted: FromFetchThread) => void): FetchServiceDeps['count'] {
  const counts = new Map<FetchOutcome, number>()
  function flush(): void {
    tell({ counts })
    counts.clear()
  }
  return (outcome, times) => {
    if (counts.size === 0) setTimeout(flush, countMs)
    counts.set(outcome, (counts.get(outcome) ?? 0) + times)
  }
}

function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((each) => each?.map((own) => own.address) ?? [])
}
