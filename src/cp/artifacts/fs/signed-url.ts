/** The control plane's own presigned URLs: method, path and expiry under an HMAC [C3]. */

import { timingSafeEqual } from 'node:crypto'

import { EdgefnError } from '../../../errors.ts'
import type { PresignedUrl } from '../store.ts'

const keyBytes = 32

/** A new key as text, for a file. */
export function newUrlKey(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(keyBytes))).toString('base64url')
}

export type SignedMethod = 'GET' | 'PUT'

export interface SignedUrls {
  /** `path` starts with a slash and is below the public URL. */
  sign(method: SignedMethod, path: string, seconds: number): PresignedUrl
  /** Throws `forbidden` for a URL that was not signed here as it is, `gone` for one that has expired. */
  verify(method: SignedMethod, path: string, query: URLSearchParams): void
}

/** `publicUrl` is asked each time: with port 0 it is known only once the server listens. */
export function createSignedUrls(key: string, publicUrl: () => string): SignedUrls {
  function signatureOf(method: string, path: string, expires: string): Buffer {
    const statement = `edgefn-url-v1\n${method}\n${path}\n${expires}`
    return new Bun.CryptoHasher('sha256', key).update(statement).digest()
  }
  return {
    sign(method, path, seconds) {
      const expires = Math.floor(Date.now() / 1000) + seconds
      const signature = signatureOf(method, path, `${expires}`).toString('base64url')
      return {
        url: `${publicUrl()}${path}?expires=${expires}&signature=${signature}`,
        expires_at: new Date(expires * 1000).toISOString(),
      }
    },
    verify(method, path, query) {
      const expires = query.get('expires') ?? ''
      const given = Buffer.from(query.get('signature') ?? '', 'base64url')
      const expected = signatureOf(method, path, expires)
      if (given.byteLength !== expected.byteLength || !timingSafeEqual(given, expected)) {
        throw new EdgefnError('forbidden', 'The signature of the URL is not valid.')
      }
      if (Number(expires) * 1000 <= Date.now()) {
        throw new EdgefnError('gone', 'The URL has expired; ask for a new one.')
      }
    },
  }
}
