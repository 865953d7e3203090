/** The host functions of `http_fetch` (docs/GUEST-ABI.md): the guest's thread waits, the fetch thread works. */

import type { HostCall, HostResult } from '../../../../ffi/host-module.ts'
import { END_CALL } from '../../../../ffi/host-module.ts'
import { CallFetches } from '../fetch/line.ts'
import type { OpenFetch } from '../fetch/line.ts'
import { FETCH_CODES } from '../fetch/outcome.ts'
import type { FetchFailure } from '../fetch/outcome.ts'
import { fetchRequestBytesMax } from '../fetch/request.ts'
import type { CallContext } from './context.ts'
import type { Host, HostFunctionBody, HostFunctionTable } from './host.ts'
import { fill, RESULTS } from './result.ts'

const leftMs = (context: CallContext, host: Host) => () =>
  context.deadlineMs - host.libc.monotonicMs()

/**
 * Begins a fetch of the request text that `read` gives and waits for its head: a handle, or a code below zero; null when
 * the call's deadline ended the wait, and the call is to be ended there. `length` is the text's, looked at before it is read.
 */
export function beginFetch(
  context: CallContext,
  host: Host,
  length: number,
  read: () => Uint8Array<ArrayBuffer>,
): number | null {
  if (context.fn.http_allow.length === 0) return FETCH_CODES.not_allowed
  const line = host.fetchLine
  if (line === null) return FETCH_CODES.unavailable
  context.fetches ??= new CallFetches()
  const refuse = (failure: FetchFailure): number => {
    line.refused(failure)
    return FETCH_CODES[failure]
  }
  if (context.fetches.full) return refuse('too_many_fetches')
  if (length > fetchRequestBytesMax) return refuse('too_large')
  const left = leftMs(context, host)
  const fetch = line.start(read(), context.fn, context.request, left())
  const handle = context.fetches.add(fetch)
  const head = host.sleeping(left, () => fetch.reader.waitHead(left))
  if (head === null) {
    context.end = 'deadline'
    return null
  }
  if (head === 1) return handle
  context.fetches.close(handle)
  return head
}

/** The next bytes of the body that a handle is open for, at most `bytesMax`; else as `ResponseReader.readBody` says. */
export function readFetched(
  context: CallContext,
  host: Host,
  fetch: OpenFetch,
  bytesMax: number,
): Uint8Array<ArrayBuffer> | number | null {
  const left = leftMs(context, host)
  const read = () => fetch.reader.readBody(bytesMax, left, fetch.resume)
  const bytes = fetch.reader.hasBody ? read() : host.sleeping(left, read)
  if (bytes === null) context.end = 'deadline'
  return bytes
}

const httpFetch: HostFunctionBody = (call, context, host) => {
  const length = call.u32(1)
  const read = () => host.memory.readBytes(call.i32(0), length)
  return beginFetch(context, host, length, read) ?? END_CALL
}

const responseHead: HostFunctionBody = (call, context, host) => {
  const fetch = context.fetches?.get(call.i32(0))
  if (fetch === undefined) return RESULTS.notFound
  fetch.head ??= fetch.reader.readHead()
  return fill(host, call.i32(1), call.i32(2), fetch.head)
}

function responseBody(call: HostCall, context: CallContext, host: Host): HostResult {
  const fetch = context.fetches?.get(call.i32(0))
  if (fetch === undefined) return RESULTS.notFound
  const capacity = call.u32(2)
  if (capacity === 0) return RESULTS.invalid
  const bytes = readFetched(context, host, fetch, capacity)
  if (bytes === null) return END_CALL
  if (typeof bytes === 'number') return bytes
  host.memory.writeBytes(call.i32(1), bytes)
  return bytes.length
}

const responseClose: HostFunctionBody = (call, context) =>
  context.fetches?.close(call.i32(0)) === true ? 0 : RESULTS.notFound

export const FETCH_FUNCTIONS: HostFunctionTable = {
  http_fetch: httpFetch,
  http_response_head: responseHead,
  http_response_body: responseBody,
  http_response_close: responseClose,
}
