/** Request bodies, read under a byte limit while they arrive. */

import { EdgefnError } from '../errors.ts'

/**
 * The whole body. Throws `body_too_large` as soon as it is known to be over `bytesMax`, by its announced length or by
 * what came, without holding more than the limit, and `bad_request` when the client goes away or breaks the framing.
 */
export async function readBody(
  request: Request,
  bytesMax: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const announced = request.headers.get('content-length')
  if (announced !== null && Number(announced) > bytesMax) throw tooLarge(bytesMax)
  if (request.body === null) return new Uint8Array(0)
  const chunks: Uint8Array[] = []
  let size = 0
  const reader = request.body.getReader()
  for (;;) {
    const { done, value } = await reader.read().catch((cause: unknown) => {
      throw new EdgefnError('bad_request', 'The body ended too early.', { cause })
    })
    if (done) break
    size += value.byteLength
    if (size > bytesMax) {
      // The rest is not wanted; a failure to say so changes nothing.
      reader.cancel().catch(() => undefined)
      throw tooLarge(bytesMax)
    }
    chunks.push(value)
  }
  return join(chunks, size)
}

/** The body parsed as JSON, any value. Throws `bad_request` naming what is wrong, `body_too_large` over `bytesMax`. */
export async function readJsonBody(request: Request, bytesMax: number): Promise<unknown> {
  const type = request.headers.get('content-type')
  if (type !== null && !/^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i.test(type)) {
    throw new EdgefnError('bad_request', `The body must be application/json, not ${type}.`)
  }
  const bytes = await readBody(request, bytesMax)
  if (bytes.byteLength === 0) {
    throw new EdgefnError('bad_request', 'The body is empty; it must be a JSON object.')
  }
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new EdgefnError('bad_request', 'The body is not UTF-8.', { cause })
  }
  try {
    return JSON.parse(text)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'it cannot be parsed'
    throw new EdgefnError('bad_request', `The body is not JSON: ${reason}.`, { cause })
  }
}

function tooLarge(bytesMax: number): EdgefnError {
  return new EdgefnError('body_too_large', `The body must have at most ${bytesMax} bytes.`, {
    details: { limit_bytes: bytesMax },
  })
}

function join(chunks: readonly Uint8Array[], size: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(size)
  let offset = 0
  for (const chunk of chunks) {
    whole.set(chunk, offset)
    offset += chunk.byteLength
  }
  return whole
}
