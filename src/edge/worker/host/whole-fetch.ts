/** Fetching for the ABIs whose guests know only whole requests and whole responses. */

import { FETCH_CODES } from '../fetch/outcome.ts'
import { isReservedField } from '../fetch/request.ts'
import type { CallContext } from './context.ts'
import type { Host } from './host.ts'
import { beginFetch, readFetched } from './http-fetch.ts'

/** Bytes of a body that are taken out of the ring at once. */
const pieceBytes = 65_536

/** A request as those guests make it; names and values have one character per byte. */
export interface WholeRequest {
  readonly method: string
  readonly url: string
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Uint8Array
}

/** Names of fields are in lower case. */
export interface ResponseStart {
  readonly status: number
  readonly headers: readonly (readonly [string, string])[]
}

export interface WholeResponse extends ResponseStart {
  readonly body: Uint8Array<ArrayBuffer>
}

/**
 * Fetches, redirects included. A code of `FETCH_CODES` when it fails, null when the deadline ended the wait, and the call
 * is to be ended there. Fields that are edgefn's to set are left out: these guests' libraries set some of them.
 */
export function fetchWhole(
  request: WholeRequest,
  context: CallContext,
  host: Host,
): WholeResponse | number | null {
  const handle = startFetch(request, context, host)
  if (handle === null || handle < 0) return handle
  try {
    const start = fetchedStart(context, handle)
    const body = readWhole(context, host, handle)
    return body === null || typeof body === 'number' ? body : { ...start, body }
  } finally {
    context.fetches?.close(handle)
  }
}

/** As `fetchWhole` up to the head: a handle of `context.fetches`, a code, or null. */
export function startFetch(request: WholeRequest, context: CallContext, host: Host): number | null {
  const lines = [`${request.method} ${request.url}`]
  for (const [name, value] of request.headers) {
    if (!isReservedField(name.toLowerCase())) lines.push(`${name}: ${value}`)
  }
  // A line end inside of one would begin another.
  if (lines.some((line) => /[\r\n]/.test(line))) return FETCH_CODES.invalid
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
  return beginFetch(context, host, head.length + request.body.length, () => {
    const text = new Uint8Array(head.length + request.body.length)
    text.set(head)
    text.set(request.body, head.length)
    return text
  })
}

/** Status and fields of a fetch whose head has come. */
export function fetchedStart(context: CallContext, handle: number): ResponseStart {
  const fetch = context.fetches?.get(handle)
  if (fetch === undefined) throw new Error(`There is no fetch ${handle}.`)
  fetch.head ??= fetch.reader.readHead()
  const text = Buffer.from(fetch.head).toString('latin1')
  const fields = text.split('\r\n').flatMap((line): [string, string][] => {
    const colon = line.indexOf(': ')
    return colon < 0 ? [] : [[line.slice(0, colon), line.slice(colon + 2)]]
  })
  // The first line is `Status: 200`; the server's fields are in lower case.
  const [[, status] = ['', ''], ...headers] = fields
  return { status: Number(status), headers }
}

function readWhole(
  context: CallContext,
  host: Host,
  handle: number,
): Uint8Array<ArrayBuffer> | number | null {
  const fetch = context.fetches?.get(handle)
  if (fetch === undefined) throw new Error(`There is no fetch ${handle}.`)
  const pieces: Uint8Array[] = []
  for (;;) {
    const piece = readFetched(context, host, fetch, pieceBytes)
    if (piece === 0) return new Uint8Array(Buffer.concat(pieces))
    if (piece === null || typeof piece === 'number') return piece
    pieces.push(piece)
  }
}
