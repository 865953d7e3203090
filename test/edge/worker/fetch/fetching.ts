/** Fetching in the test's own process: the fetcher with addresses and names as the test wants them, its response collected. */

import { createAddressPolicy, parseRange } from '../../../../src/edge/worker/fetch/address.ts'
import type { ConnectDeps } from '../../../../src/edge/worker/fetch/connect.ts'
import { runFetch } from '../../../../src/edge/worker/fetch/fetcher.ts'
import type { FetchDeps } from '../../../../src/edge/worker/fetch/fetcher.ts'
import { IdleConnections } from '../../../../src/edge/worker/fetch/idle-connections.ts'
import type { OwnConnections } from '../../../../src/edge/worker/fetch/idle-connections.ts'
import { failureOf, FetchError } from '../../../../src/edge/worker/fetch/outcome.ts'
import type { FetchFailure } from '../../../../src/edge/worker/fetch/outcome.ts'
import { parseFetchRequest } from '../../../../src/edge/worker/fetch/request.ts'
import type { ResponseHead } from '../../../../src/edge/worker/fetch/response-parser.ts'

export interface Fetched {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

export interface FetchingOptions {
  readonly allow?: readonly string[]
  /** Names and their addresses; others are not found. */
  readonly names?: Readonly<Record<string, readonly string[]>>
  readonly resolve?: ConnectDeps['resolve']
  /** Ranges that may be reached besides public addresses. */
  readonly open?: readonly string[]
  readonly authorities?: string
  readonly limitMs?: number
  /** Where connections wait for the next fetch; the next one has others when this is not given. */
  readonly connections?: OwnConnections
}

/** `METHOD URL`, header lines and body as a guest writes them. */
export function guestRequest(line: string, fields = '', body = ''): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(`${line}\r\n${fields}\r\n${body}`, 'utf8'))
}

/** The response, or the name of the failure; a failure that is none of `http_fetch` is thrown. */
export async function fetching(
  request: Uint8Array<ArrayBuffer>,
  options: FetchingOptions = {},
): Promise<Fetched | FetchFailure> {
  const { names = {}, open = ['127.0.0.1/32'], limitMs = 5000 } = options
  const resolve = options.resolve ?? (async (host) => names[host] ?? [])
  const head = Promise.withResolvers<ResponseHead>()
  head.promise.catch(() => {})
  const pieces: Buffer[] = []
  const sink = {
    onHead: (each: ResponseHead) => head.resolve(each),
    onBody: (bytes: Uint8Array) => pieces.push(Buffer.from(bytes)) > 0,
    onRoom: () => {},
  }
  const abort = new AbortController()
  const timer = setTimeout(() => abort.abort(new FetchError('timeout', 'over')), limitMs)
  const endsAt = performance.now() + limitMs
  const deps: FetchDeps = {
    resolve,
    forbidden: createAddressPolicy(open.map(parseRange), () => []),
    authorities: options.authorities ?? null,
    connections: options.connections ?? new IdleConnections().of('test'),
  }
  try {
    const parsed = parseFetchRequest(request)
    const allow = options.allow ?? []
    await runFetch(parsed, allow, sink, deps, () => endsAt - performance.now(), abort.signal)
    const { status, headers } = await head.promise
    return { status, headers: new Map(headers), body: Buffer.concat(pieces).toString('latin1') }
  } catch (thrown) {
    if (thrown instanceof Error) return failureOf(thrown)
    throw thrown
  } finally {
    clearTimeout(timer)
  }
}

/** The same for one that must succeed. */
export async function fetched(
  request: Uint8Array<ArrayBuffer>,
  options: FetchingOptions = {},
): Promise<Fetched> {
  const result = await fetching(request, options)
  if (typeof result === 'string') throw new Error(`The fetch failed: ${result}.`)
  return result
}
