/** Where modules rest: normalised ones by digest for ever, uploads until they are checked [C3 C13.2]. */

import type { Sha256 } from '../../protocol/ids.ts'

/** An upload belongs to one version of one function. */
export interface UploadKey {
  readonly function_id: string
  readonly version: number
}

export interface PresignedUrl {
  readonly url: string
  readonly expires_at: string
}

/** Implemented by `fs/` and `s3/`. Every method throws `artifact_store_unavailable` when the store does not answer. */
export interface ArtifactStore {
  /** Creates the directory or the bucket when it is missing; called once before anything else. */
  ensure(): Promise<void>
  /** Resolves when modules can be read and written, for `/ready`. */
  check(): Promise<void>

  /** Keeps a module. Throws `artifact_mismatch` when the bytes have another digest. Idempotent. */
  put(sha256: Sha256, bytes: Uint8Array<ArrayBuffer>): Promise<void>
  /** The bytes of a module, or null. */
  open(sha256: Sha256): Promise<ReadableStream<Uint8Array> | null>
  head(sha256: Sha256): Promise<{ readonly size_bytes: number } | null>
  /** Removing what is not there is no error. */
  delete(sha256: Sha256): Promise<void>
  /** The address of a module without a signature, as shown on the version [R1.3]. */
  location(sha256: Sha256): string
  /** A URL from which anyone may GET the module for so many seconds. */
  presignDownload(sha256: Sha256, seconds: number): Promise<PresignedUrl>

  /** A URL to which anyone may PUT a module for so many seconds. */
  presignUpload(key: UploadKey, seconds: number): Promise<PresignedUrl>
  /** What was PUT, or null. Throws `body_too_large` when it is over `LIMITS.moduleBytesMax`. It stays until deleted. */
  takeUpload(key: UploadKey): Promise<Uint8Array<ArrayBuffer> | null>
  deleteUpload(key: UploadKey): Promise<void>
}
