/** The content type of a body whose guest named none [S4]. */

const SIGNATURES: readonly (readonly [string, readonly number[]])[] = [
  ['image/png', [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]],
  ['image/jpeg', [0xff, 0xd8, 0xff]],
  ['image/gif', [0x47, 0x49, 0x46, 0x38]],
  ['application/pdf', [0x25, 0x50, 0x44, 0x46, 0x2d]],
  ['application/gzip', [0x1f, 0x8b]],
  ['application/zip', [0x50, 0x4b, 0x03, 0x04]],
  ['application/wasm', [0x00, 0x61, 0x73, 0x6d]],
]

/** Bodies up to this size are parsed to tell JSON from text; longer ones are judged by their first and last character. */
const jsonBytesMax = 65_536
const sniffBytes = 1024

/** By signature, then JSON, then HTML, then text if it is UTF-8 without control characters, else octets. */
export function detectContentType(body: Uint8Array): string {
  for (const [type, signature] of SIGNATURES) {
    if (signature.every((byte, index) => body[index] === byte)) return type
  }
  const text = decodeText(body)
  if (text === null) return 'application/octet-stream'
  const start = text.trimStart()
  if (/^<(?:!doctype html|html)[\s>]/i.test(start)) return 'text/html; charset=utf-8'
  return looksLikeJson(body, start) ? 'application/json' : 'text/plain; charset=utf-8'
}

/** The beginning of the body as text, or null when it is none. */
function decodeText(body: Uint8Array): string | null {
  try {
    // `stream` forgives a character cut at the end of the sample.
    const sample = body.subarray(0, sniffBytes)
    const text = new TextDecoder('utf-8', { fatal: true }).decode(sample, { stream: true })
    return /[\x00-\x08\x0e-\x1a\x1c-\x1f]/.test(text) ? null : text
  } catch {
    return null
  }
}

function looksLikeJson(body: Uint8Array, start: string): boolean {
  if (!start.startsWith('{') && !start.startsWith('[')) return false
  if (body.length > jsonBytesMax) return true
  try {
    JSON.parse(new TextDecoder().decode(body))
    return true
  } catch {
    return false
  }
}
