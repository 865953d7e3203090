/** Digests of modules. */

import { EdgefnError } from '../../errors.ts'
import type { Sha256 } from '../../protocol/ids.ts'
import { LIMITS } from '../../protocol/limits.ts'

/** Throws `artifact_mismatch` unless `bytes` have the digest they are to be kept under. */
export function assertDigest(sha256: Sha256, bytes: Uint8Array): void {
  const actual = new Bun.CryptoHasher('sha256').update(bytes).digest('hex')
  if (actual === sha256) return
  throw new EdgefnError('artifact_mismatch', `The bytes have SHA-256 ${actual}, not ${sha256}.`)
}

/** Throws `body_too_large` when an upload has more bytes than a module may. */
export function assertUploadSize(bytes: number): void {
  if (bytes <= LIMITS.moduleBytesMax) return
  throw new EdgefnError(
    'body_too_large',
    `The module has ${bytes} bytes; at most ${LIMITS.moduleBytesMax} are allowed.`,
    { details: { limit_bytes: LIMITS.moduleBytesMax } },
  )
}
