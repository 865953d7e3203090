/** The nonce of a registration under way: on disk before the first try, so that a node killed meanwhile asks with the same. */

import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'

/** Takes the nonce at `path`, or makes one there. 256 random bits, base64url. */
export function takeNonce(path: string): string {
  const kept = existsSync(path) ? readFileSync(path, 'utf8').trim() : ''
  if (/^[\w-]{43}$/.test(kept)) return kept
  const nonce = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64url')
  const file = openSync(path, 'w', 0o600)
  try {
    writeSync(file, nonce)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  return nonce
}
