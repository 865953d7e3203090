/** Request bodies: read under a byte limit, from clients that keep sending. */

import { EdgefnError } from '../../../errors.ts'
import type { HeaderRecord } from './request.ts'

/**
 * Bun's idle timeout runs from the start of a request and is not renewed by what trickles in. It is renewed here for
 * each so many bytes: slower clients than this per idle timeout are cut off by Bun, faster ones may send for long.
 */
const progressBytes = 64 * 1024

/** Of a body that is not wanted, the bytes that are read at most, and the milliseconds spent on it. */
const unwantedBytesMax = 32 * 1024 * 1024
const unwantedMsMax = 2_000

interface BodyReader {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>
  cancel(): Promise<void>
}

export interface BodyOptions {
  readonly bytesMax: number
  /** Renews the connection's idle timeout. */
  readonly renew: () => void
}

const EMPTY = new Uint8Array(0)

/**
 * Whether there is a body to be read. Where the fields tell, Bun is not asked for its stream, which it would have to make; they
 * do not where Bun has read the body itself, of GET and HEAD, and over HTTP/2.
 */
export function hasBody(request: Request, record: HeaderRecord): boolean {
  if (record['content-length'] !== undefined && request.method === 'POST') return true
  return request.body !== null
}

/**
 * The whole body. Throws `body_too_large` once it is known to be over `bytesMax`, by what it announces or by what came,
 * and `bad_request` when the client goes away or breaks the framing. Never holds more than the limit and one chunk.
 */
export async function readBody(
  request: Request,
  record: HeaderRecord,
  options: BodyOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const announced = Number(record['content-length'] ?? Number.NaN)
  if (announced > options.bytesMax) throw tooLarge(options.bytesMax)
  try {
    if (announced <= progressBytes) return new Uint8Array(await request.arrayBuffer())
    if (request.body === null) return EMPTY
    return await readChunks(request, request.body.getReader(), options)
  } catch (thrown) {
    if (thrown instanceof EdgefnError) throw thrown
    throw new EdgefnError('bad_request', 'The request body ended too early.', { cause: thrown })
  }
}

async function readChunks(
  request: Request,
  reader: BodyReader,
  { bytesMax, renew }: BodyOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  let size = 0
  let renewedAt = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done || value === undefined) return joined(chunks, size)
    size += value.byteLength
    if (size > bytesMax) {
      await discard(request, reader)
      throw tooLarge(bytesMax)
    }
    chunks.push(value)
    if (size - renewedAt >= progressBytes) {
      renewedAt = size
      renew()
    }
  }
}

/**
 * Reads a body that nobody wants, if its end may be near. An answer over HTTP/2 that comes before that end resets the
 * stream, and some clients (curl 7) then lose the answer.
 */
export async function discardBody(request: Request): Promise<void> {
  if (request.bodyUsed || request.body === null) return
  await discard(request, request.body.getReader())
}

async function discard(request: Request, reader: BodyReader): Promise<void> {
  const late = Promise.withResolvers<null>()
  const timer = setTimeout(() => late.resolve(null), unwantedMsMax)
  try {
    for (let size = 0; endMayBeNear(request) && size < unwantedBytesMax;) {
      const part = await Promise.race([reader.read(), late.promise])
      if (part === null || part.done) break
      size += part.value?.byteLength ?? 0
    }
  } catch {
    // The client is gone, or broke the framing: there is nothing left to read.
  } finally {
    clearTimeout(timer)
    // Whether the stream can still be cancelled does not matter.
    reader.cancel().catch(() => undefined)
  }
}

/** Not if the length says otherwise, nor for chunks of HTTP/1.1, where an early answer does no harm. */
function endMayBeNear(request: Request): boolean {
  if (request.headers.has('transfer-encoding')) return false
  return Number(request.headers.get('content-length') ?? 0) <= unwantedBytesMax
}

function joined(chunks: readonly Uint8Array[], size: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    whole.set(chunk, at)
    at += chunk.byteLength
  }
  return whole
}

function tooLarge(bytesMax: number): EdgefnError {
  return new EdgefnError(
    'body_too_large',
    `The request body is over the limit of ${bytesMax} bytes.`,
    { details: { limit_bytes: bytesMax } },
  )
}
