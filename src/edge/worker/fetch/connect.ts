/**
 * Opens the connection of a fetch: look the name up once, check every address of the answer, connect to one of them by
 * number. No second look-up happens anywhere, so a name that changes its mind changes nothing (DNS rebinding).
 */

import { isIP, connect as connectTcp } from 'node:net'
import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

import { errorMessage } from '../../../errors.ts'
import type { AddressPolicy } from './address.ts'
import { FetchError } from './outcome.ts'
import type { FetchTarget } from './target.ts'

/** All addresses of a name. Rejects when it has none. */
export type Resolve = (host: string) => Promise<readonly string[]>

export interface ConnectDeps {
  readonly resolve: Resolve
  readonly forbidden: AddressPolicy
  /** Certificate authorities instead of the usual ones, in PEM; null takes the usual ones. */
  readonly authorities: string | null
}

/** Addresses of one name that are tried, each for its share of the time. */
const attemptsMax = 4

/**
 * A connection to the target, with TLS and the certificate checked for the host's name where the scheme asks for it.
 * `leftMs` is the time there is; `signal` gives everything up. Throws FetchError.
 */
export async function openConnection(
  target: FetchTarget,
  deps: ConnectDeps,
  leftMs: () => number,
  signal: AbortSignal,
): Promise<Socket> {
  const addresses = await checkedAddresses(target, deps, signal)
  const attempts = addresses.slice(0, attemptsMax)
  let failure: unknown
  for (const [index, address] of attempts.entries()) {
    try {
      // The last one has all the time that is left, and the signal says when that is over.
      const attemptsLeft = attempts.length - index
      const shareMs = attemptsLeft === 1 ? null : leftMs() / attemptsLeft
      return await connectTo(address, target, deps.authorities, shareMs, signal)
    } catch (thrown) {
      signal.throwIfAborted()
      failure = thrown
    }
  }
  throw new FetchError('network', `No connection: ${errorMessage(failure)}.`, { cause: failure })
}

async function checkedAddresses(
  target: FetchTarget,
  { resolve, forbidden }: ConnectDeps,
  signal: AbortSignal,
): Promise<readonly string[]> {
  signal.throwIfAborted()
  const addresses = target.literal
    ? [target.host]
    : await orAborted(lookedUp(target.host, resolve), signal)
  for (const address of addresses) {
    const reason = forbidden(address)
    // One bad address spoils the answer: which of them would be used is not the name's owner's to play with.
    if (reason !== null) {
      throw new FetchError('forbidden_address', `${target.host} is at ${address} (${reason}).`)
    }
  }
  return addresses
}

async function lookedUp(host: string, resolve: Resolve): Promise<readonly string[]> {
  let addresses: readonly string[]
  try {
    addresses = await resolve(host)
  } catch (thrown) {
    if (thrown instanceof FetchError) throw thrown
    const message = `${host} cannot be looked up: ${errorMessage(thrown)}.`
    throw new FetchError('network', message, { cause: thrown })
  }
  if (addresses.length === 0) throw new FetchError('network', `${host} has no address.`)
  return addresses
}

/** Settles as `work` does, or rejects with the signal's reason. The work itself goes on: look-ups cannot be cancelled. */
function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}

function connectTo(
  address: string,
  target: FetchTarget,
  authorities: string | null,
  timeoutMs: number | null,
  signal: AbortSignal,
): Promise<Socket> {
  const socket =
    target.scheme === 'https' ? tls(address, target, authorities) : tcp(address, target)
  // A late error of a socket that nobody listens to any more must not end the thread.
  socket.on('error', () => {})
  return new Promise((resolve, reject) => {
    const timer =
      timeoutMs === null
        ? undefined
        : setTimeout(() => fail(new Error('it took too long')), timeoutMs)
    const abort = () => fail(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    socket.once(target.scheme === 'https' ? 'secureConnect' : 'connect', () => {
      if (socket.remoteAddress !== address && !sameAddress(socket.remoteAddress, address)) {
        return fail(new Error(`it leads to ${socket.remoteAddress} instead of ${address}`))
      }
      settle()
      resolve(socket)
    })
    socket.once('error', fail)
    socket.once('close', closed)

    function closed(): void {
      fail(new Error('it was closed'))
    }

    function settle(): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
      socket.off('close', closed)
      socket.off('error', fail)
    }

    function fail(reason: unknown): void {
      settle()
      socket.destroy()
      reject(reason)
    }
  })
}

function tcp(address: string, target: FetchTarget): Socket {
  return connectTcp({ host: address, port: target.port })
}

function tls(address: string, target: FetchTarget, authorities: string | null): Socket {
  return connectTls({
    host: address,
    port: target.port,
    // An address is no server name (RFC 6066 section 3); the certificate is then checked for the address itself.
    ...(target.literal ? {} : { servername: target.host }),
    ...(authorities === null ? {} : { ca: authorities }),
    ALPNProtocols: ['http/1.1'],
    minVersion: 'TLSv1.2',
    rejectUnauthorized: true,
  })
}

function sameAddress(one: string | undefined, other: string): boolean {
  if (one === undefined || isIP(one) !== 6 || isIP(other) !== 6) return false
  return URL.parse(`http://[${one}]/`)?.hostname === URL.parse(`http://[${other}]/`)?.hostname
}
