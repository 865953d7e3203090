/** Request bodies: read under a byte limit, from clients that keep sending. */

import { EdgefnError } from '../../../errors.ts'

/**
 * Bun's idle timeout runs from the start of a request and is not renewed by what trickles in. It is renewed here for
 * each so many bytes: slower clients than this per idle timeout are cut off by Bun, faster ones may send for long.
 */
const progressBytes = 64 * 1024

export interface BodyOptions {
  readonly bytesMax: number
  /** Renews the connection's idle timeout. */
  readonly renew: () => void
}

const EMPTY = new Uint8Array(0)

/**
 * The whole body. Throws `body_too_large` once it is known to be over `bytesMax`, by what it announces or by what came,
 * and `bad_request` when the client goes away or breaks the framing. Never holds more than the limit and one chunk.
 */
export async function readBody(
  request: Request,
  options: BodyOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const announced = Number(request.headers.get('content-length') ?? Number.NaN)
  if (announced > options.bytesMax) throw tooLarge(options.bytesMax)
  if (request.body === null) return EMPTY
  try {
    if (announced <= progressBytes) return new Uint8Array(await request.arrayBuffer())
    return await readChunks(request.body, options)
  } catch (thrown) {
    if (thrown instanceof EdgefnError) throw thrown
    throw new EdgefnError('bad_request', 'The request body ended too early.', { cause: thrown })
  }
}

async function readChunks(
  body: ReadableStream<Uint8Array>,
  { bytesMax, renew }: BodyOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  let size = 0
  let renewedAt = 0
  const reader = body.getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return joined(chunks, size)
    size += value.byteLength
    if (size > bytesMax) {
      // The connection is closed with the answer; whether the stream can still be cancelled does not matter.
      reader.cancel().catch(() => undefined)
      throw tooLarge(bytesMax)
    }
    chunks.push(value)
    if (size - renewedAt >= progressBytes) {
      renewedAt = size
      renew()
    }
  }
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
